// From what was picked to the typed filter tree of the service, and to words. No nodes, no requests.

import { DATES, NUMBERS, value as valueWords } from "./words.js";
import { bounded, picked } from "./state.js";

const EACH_NEEDED = ["tags", "classes", "colours"];
const DAY = 86_400_000;

const nextDay = (date) => new Date(Date.parse(`${date}T00:00:00Z`) + DAY).toISOString();
const isDay = (text) => /^\d{4}-\d\d-\d\d$/.test(text) && Number.isFinite(Date.parse(`${text}T00:00:00Z`));

function year(text) {
  const from = Number(text);
  const at = (one) => `${String(one).padStart(4, "0")}-01-01T00:00:00Z`;
  return { field: "taken", gte: at(from), lt: at(from + 1) };
}

/** The conditions of one field whose values are wanted, or unwanted. */
function conditions(field, values, without) {
  if (!values.length) return [];
  if (field === "has") return values.map((value) => ({ field, value }));
  if (field === "year") {
    const years = values.filter((text) => /^\d{1,4}$/.test(text)).map(year);
    return years.length > 1 && !without ? [{ should: years }] : years;
  }
  return [{ field, [EACH_NEEDED.includes(field) && !without ? "all" : "any"]: values }];
}

function ranges(question) {
  return Object.entries(question.ranges).flatMap(([field, { from, to }]) => {
    const bound = { field };
    if (from !== "" && Number.isFinite(Number(from))) bound.gte = Number(from);
    if (to !== "" && Number.isFinite(Number(to))) bound.lte = Number(to);
    return "gte" in bound || "lte" in bound ? [bound] : [];
  });
}

function dates(question) {
  return Object.entries(question.dates).flatMap(([field, { from, to }]) => {
    const bound = { field };
    if (isDay(from)) bound.gte = `${from}T00:00:00Z`;
    if (isDay(to)) bound.lt = nextDay(to);
    return bound.gte || bound.lt ? [bound] : [];
  });
}

/** The filter of a question, or null when it has none. */
export function filterOf(question) {
  const fields = [...new Set(question.picks.map((pick) => pick.field))];
  const chosen = (without) => fields.flatMap((field) =>
    conditions(field, question.picks.filter((pick) => pick.field === field && pick.without === without).map((pick) => pick.value), without));
  const path = question.path ? [{ field: "path", prefix: question.path }] : [];
  const must = [...chosen(false), ...ranges(question), ...dates(question), ...path];
  const unwanted = chosen(true);
  if (!must.length && !unwanted.length) return null;
  return { ...(must.length ? { must } : {}), ...(unwanted.length ? { must_not: unwanted } : {}) };
}

function between({ from, to }, said) {
  if (from && to) return `${said(from)} – ${said(to)}`;
  return from ? `from ${said(from)}` : `up to ${said(to)}`;
}

/** Every active filter in words: {field, words, without, swatch, rest: the question that lacks it}. */
export function chips(question) {
  const some = question.picks.map(({ field, value, without }) => ({
    field, without, words: field === "has" ? `has ${valueWords(field, value)}` : valueWords(field, value),
    swatch: field === "colours" ? value : null, rest: picked(question, field, value, without),
  }));
  for (const [field, bound] of Object.entries(question.ranges)) {
    const { name, unit, scale } = NUMBERS[field];
    const said = (text) => `${Math.round(Number(text) / scale).toLocaleString("en")} ${unit}`;
    some.push({ field, without: false, swatch: null, words: `${name} ${between(bound, said)}`, rest: bounded(question, "ranges", field, "", "") });
  }
  for (const [field, bound] of Object.entries(question.dates)) {
    some.push({ field, without: false, swatch: null, words: `${DATES[field]} ${between(bound, (text) => text)}`, rest: bounded(question, "dates", field, "", "") });
  }
  if (question.path) some.push({ field: "path", without: false, swatch: null, words: `in ${question.path}`, rest: { ...question, path: "" } });
  return some;
}
