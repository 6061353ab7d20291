// Nodes and how values read. Text only ever becomes a text node: nothing here reads markup.

export const $ = (id) => document.getElementById(id);

/** A node. `on…` are listeners, `class` its classes, what the node has as a property is set as one,
 * everything else is an attribute; null and undefined are left out. Children are nodes or text. */
export function make(tag, settings = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(settings)) {
    if (value === null || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (name in node && !name.startsWith("aria-")) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** A button that sends no form. */
export const button = (settings, ...children) => make("button", { type: "button", ...settings }, ...children);

/** A drawing of the sprite in index.html. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export const clear = (...nodes) => nodes.forEach((node) => node.replaceChildren());

/** Per cent of a width, from 0 to 100. */
export function widen(node, share) {
  node.style.width = `${Math.max(0, Math.min(100, 100 * share))}%`;
  return node;
}

export const count = (number) => Number(number).toLocaleString("en");
export const plural = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;
export const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;

/** Bytes as people say them. */
export function bytes(size) {
  if (size < 1000) return `${size} B`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = size;
  let unit = -1;
  do { value /= 1000; unit += 1; } while (value >= 999.5 && unit < units.length - 1);
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** A day, or a moment, from Unix seconds. */
export const day = (seconds) => new Date(seconds * 1000).toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
export const moment = (seconds) => new Date(seconds * 1000).toLocaleString("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });

/** Seconds as people say them. */
export function span(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/** A URI without what only programs need. */
export function readable(uri) {
  try { return decodeURIComponent(uri.replace(/^file:\/\//, "")); } catch { return uri; }
}

/** The last part of the first place of a hit. */
export const fileName = (hit) => readable(hit.uris?.[0] || "").split("/").pop();

/** Text whose parts between backticks are code, as nodes. */
export const marked = (text) => text.split("`").map((part, at) => (at % 2 ? make("code", {}, part) : part));

/** Two sayings as one text: a full stop stands between them. */
export const sentences = (...said) => said.filter(Boolean).map((one) => one.trim().replace(/([^.!?])$/, "$1.")).join(" ");

/** Copies text; says so on the button that was pressed. */
export async function copy(text, pressed) {
  const before = pressed.textContent;
  try {
    await navigator.clipboard.writeText(text);
    pressed.textContent = "Copied";
  } catch {
    pressed.textContent = "Not allowed";
  }
  setTimeout(() => { pressed.textContent = before; }, 1500);
}
