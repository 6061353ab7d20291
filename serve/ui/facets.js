// The side panel of filters: counted values of the answer, dates, sizes, places. Draws; what a press asks is told.

import { $, button, count, icon, make, marked } from "./dom.js";
import { DATES, FACETS, NUMBERS, value as valueWords } from "./words.js";
import { DATED, RANGED, bounded, filtered, picked, unfiltered } from "./state.js";

const FIRST = 8;
const TALL = ["tags", "classes"];
const WHEEL = ["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "brown", "black", "grey", "white"];
const opened = new Set(["tags", "colours", "orientation"]);
const whole = new Set();

/** Draws all filters of a question; `change` takes the question that a press makes, `uncounted` is said at the end. */
export function drawFilters(question, counted, change, uncounted = []) {
  const host = $("filters");
  const focused = host.contains(document.activeElement) ? document.activeElement.dataset.name : null;
  const parts = Object.keys(FACETS).map((field) => facet(field, question, counted, change, uncounted)).filter(Boolean);
  host.replaceChildren(
    make("div", { class: "filters-head" }, make("h2", {}, "Filters"),
      filtered(question) > 0 && button({ class: "link", "data-name": "none", onclick: () => change(unfiltered(question)) }, "Clear all")),
    ...parts, dates(question, change), sizes(question, change), places(question, change),
    ...uncounted.map((words) => make("p", { class: "soft uncounted" }, ...marked(words))));
  if (focused) host.querySelector(`[data-name="${CSS.escape(focused)}"]`)?.focus();
}

function section(name, title, number, ...children) {
  const made = make("details", { class: "facet", open: opened.has(name) || number > 0 },
    make("summary", {}, title, number > 0 && make("span", { class: "on" }, number)), ...children);
  made.addEventListener("toggle", () => (made.open ? opened.add(name) : opened.delete(name)));
  return made;
}

function facet(field, question, counts, change, uncounted) {
  const chosen = question.picks.filter((pick) => pick.field === field);
  const counted = new Map((counts?.[field] || []).map((one) => [one.value, one.count]));
  // What is chosen stands first and stays, whether or not this answer counts it.
  const values = [...new Set([...chosen.map((pick) => pick.value), ...counted.keys()])];
  if (!values.length) return null;
  if (field === "colours") return section(field, FACETS[field], chosen.length, swatches(question, values, counted, change));
  const shown = whole.has(field) ? values : values.slice(0, Math.max(FIRST, chosen.length));
  const rows = make("ul", { class: "values" }, shown.map((value) => row(field, value, question, counted, change)));
  const made = section(field, FACETS[field], chosen.length, rows);
  if (values.length > shown.length) {
    made.append(button({ class: "link", "data-name": `all ${field}`, onclick: () => { whole.add(field); drawFilters(question, counts, change, uncounted); } }, `${values.length - shown.length} more`));
  }
  if (TALL.includes(field) && values.length > FIRST && whole.has(field)) rows.classList.add("tall");
  return made;
}

function row(field, value, question, counted, change) {
  const pick = question.picks.find((one) => one.field === field && one.value === value);
  const words = valueWords(field, value);
  const number = counted.get(value);
  return make("li", { class: pick ? (pick.without ? "value off" : "value on") : "value" },
    button({ class: "pick", "data-name": `${field} ${value}`, "aria-pressed": String(Boolean(pick && !pick.without)), onclick: () => change(picked(question, field, value)) },
      make("span", { class: "words" }, words), make("span", { class: "count" }, number === undefined ? "" : count(number))),
    button({ class: "not", "data-name": `${field} not ${value}`, title: `Without: ${words}`, "aria-label": `Without ${words}`, "aria-pressed": String(Boolean(pick?.without)), onclick: () => change(picked(question, field, value, true)) }, icon("not")));
}

function swatches(question, values, counted, change) {
  // In the order of the wheel, whatever the counts: a colour stays where it was.
  const ordered = [...values].sort((one, other) => WHEEL.indexOf(one) - WHEEL.indexOf(other));
  return make("ul", { class: "swatches" }, ordered.map((value) => {
    const pick = question.picks.find((one) => one.field === "colours" && one.value === value);
    const number = counted.get(value);
    const said = number === undefined ? value : `${value}, ${count(number)}`;
    return make("li", {}, button({ class: `swatch ${pick ? "on" : ""}`, "data-name": `colours ${value}`, title: said, "aria-label": `Colour ${said}`, "aria-pressed": String(Boolean(pick)), onclick: () => change(picked(question, "colours", value)) },
      make("i", { class: `colour c-${value}` }), make("span", { class: "count" }, number === undefined ? "" : count(number))));
  }));
}

function entry(settings, change) {
  const field = make("input", settings);
  field.addEventListener("change", () => change(field.value));
  return field;
}

function dates(question, change) {
  const rows = DATED.map((name) => {
    const bound = question.dates[name] || { from: "", to: "" };
    const one = (end, label) => entry({ type: "date", value: bound[end], "data-name": `${name} ${end}`, "aria-label": `${DATES[name]} ${label}` },
      (text) => { const next = { ...bound, [end]: text }; change(bounded(question, "dates", name, next.from, next.to)); });
    return make("fieldset", { class: "range" }, make("legend", {}, DATES[name]), one("from", "from"), make("span", {}, "–"), one("to", "to"));
  });
  return section("dates", "Dates", Object.keys(question.dates).length, ...rows);
}

function sizes(question, change) {
  const rows = RANGED.map((name) => {
    const { name: label, unit, scale } = NUMBERS[name];
    const bound = question.ranges[name] || { from: "", to: "" };
    const shown = (text) => (text === "" ? "" : String(Math.round(Number(text) / scale)));
    const stored = (text) => (text === "" || !Number.isFinite(Number(text)) ? "" : String(Number((Number(text) * scale).toFixed(4))));
    const one = (end, words) => entry({ type: "number", min: 0, max: name === "confidence" ? 100 : null, inputMode: "numeric", value: shown(bound[end]), placeholder: end === "from" ? "min" : "max", "data-name": `${name} ${end}`, "aria-label": `${label} ${words}, ${unit}` },
      (text) => { const next = { ...bound, [end]: stored(text) }; change(bounded(question, "ranges", name, next.from, next.to)); });
    return make("fieldset", { class: "range" }, make("legend", {}, `${label}, ${unit}`), one("from", "at least"), make("span", {}, "–"), one("to", "at most"));
  });
  return section("sizes", "Size and sureness", Object.keys(question.ranges).length, ...rows);
}

function places(question, change) {
  const field = entry({ type: "text", value: question.path, placeholder: "/photos/2024/", maxLength: 4096, "data-name": "path", "aria-label": "Path or address begins with", spellcheck: false },
    (text) => change({ ...question, path: text.trim() }));
  return section("path", "Place", question.path ? 1 : 0, make("fieldset", { class: "range one" }, make("legend", {}, "Path begins with"), field));
}
