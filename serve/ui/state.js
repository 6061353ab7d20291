// The question and its address: everything asked is in the query string, so that it can be shared and gone back to.
// Pictures given by their bytes cannot be: they live in this tab, the address has their number.

export const PICKED = ["tags", "classes", "colours", "format", "orientation", "year", "has"];
export const RANGED = ["width", "height", "bytes", "confidence"];
export const DATED = ["taken", "modified", "added"];
const ASSET = /^[0-9a-f]{64}$/;

/** A question that asks nothing. `examples` are {asset | image, weight}, `picks` {field, value,
 * without}, `page` is how many hits come at a time, 0: as many as the page likes. */
export const blank = () => ({ text: "", examples: [], picks: [], ranges: {}, dates: {}, path: "", sort: "relevance", weak: false, page: 0 });

const pictures = new Map();

/** Keeps a picture for this tab; its number. */
export function keep(file) {
  const number = `p${pictures.size + 1}`;
  pictures.set(number, { file, url: URL.createObjectURL(file) });
  return number;
}

export const pictureOf = (number) => pictures.get(number) || null;

/** Whether there is something to look for: words, or an example that is wanted. */
export const asks = (question) => Boolean(question.text.trim()) || question.examples.some((one) => one.weight > 0);

export const filtered = (question) =>
  question.picks.length + Object.keys(question.ranges).length + Object.keys(question.dates).length + (question.path ? 1 : 0);

/** The question without its filters. */
export const unfiltered = (question) => ({ ...question, picks: [], ranges: {}, dates: {}, path: "" });

function bounds(text) {
  const [from, to] = text.split("..");
  return { from: from || "", to: to || "" };
}

/** The question that an address (a query string) asks. What makes no sense there is left out. */
export function fromAddress(search) {
  const place = new URLSearchParams(search);
  const question = blank();
  question.text = (place.get("q") || "").slice(0, 2000);
  question.path = place.get("path") || "";
  question.sort = place.get("sort") || "relevance";
  question.weak = place.get("weak") === "1";
  question.page = Math.min(200, Math.max(0, Math.round(Number(place.get("page")) || 0)));
  for (const [name, value] of place) {
    if (name === "like" || name === "unlike") {
      const shown = ASSET.test(value) ? { asset: value } : { image: value };
      if (question.examples.length < 8) question.examples.push({ ...shown, weight: name === "like" ? 1 : -0.5 });
    }
    const field = name.replace(/^-/, "");
    if (PICKED.includes(field) && value) question.picks.push({ field, value, without: name !== field });
    if (RANGED.includes(name) && value.includes("..")) question.ranges[name] = bounds(value);
    if (DATED.includes(name) && value.includes("..")) question.dates[name] = bounds(value);
  }
  return question;
}

/** The query string of a question, with its question mark, or nothing. */
export function toAddress(question) {
  const place = new URLSearchParams();
  if (question.text) place.set("q", question.text);
  for (const one of question.examples) place.append(one.weight > 0 ? "like" : "unlike", one.asset || one.image);
  for (const pick of question.picks) place.append(pick.without ? `-${pick.field}` : pick.field, pick.value);
  for (const [name, { from, to }] of [...Object.entries(question.ranges), ...Object.entries(question.dates)]) {
    place.set(name, `${from}..${to}`);
  }
  if (question.path) place.set("path", question.path);
  if (question.sort !== "relevance") place.set("sort", question.sort);
  if (question.weak) place.set("weak", "1");
  if (question.page) place.set("page", question.page);
  const text = place.toString();
  return text ? `?${text}` : "";
}

/** The question with a pick added, turned round or, where it was just so, taken away. */
export function picked(question, field, value, without = false) {
  const same = (pick) => pick.field === field && pick.value === value;
  const had = question.picks.find(same);
  const others = question.picks.filter((pick) => !same(pick));
  return { ...question, picks: had && had.without === without ? others : [...others, { field, value, without }] };
}

/** The question with other bounds of a number or a date; empty ones take the condition away. */
export function bounded(question, part, name, from, to) {
  const kept = { ...question[part] };
  if (from || to) kept[name] = { from, to };
  else delete kept[name];
  return { ...question, [part]: kept };
}
