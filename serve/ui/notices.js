// What the page says besides hits: failures with a countdown, what did not take part, nothing found, the start.

import { $, button, clear, make, marked, plural, sentences } from "./dom.js";
import { lost } from "./words.js";

const TRIES = 3;
let ticking = 0;

/** Takes every notice away and stops every countdown. */
export function quiet() {
  clearInterval(ticking);
  clear($("notices"));
}

function notice(tone, words, ...more) {
  const made = make("div", { class: `notice ${tone}` }, make("p", {}, words), ...more);
  $("notices").append(made);
  return made;
}

const TITLES = {
  0: "Out of reach", 401: "This service needs a key", 403: "Not for this key", 429: "Too much at once", 503: "Not available just now", 504: "Too slow",
};

/** A failure. `again` tries once more; where the service says to wait, that happens by itself, `tried` counts how often.
 * `acts` are {words, act} that help besides. */
export function showProblem(problem, again, { tried = 0, askKey = null, acts: more = [] } = {}) {
  quiet();
  const title = TITLES[problem.status];
  const made = notice("bad", "");
  made.setAttribute("role", "alert");
  made.firstChild.append(title ? make("b", {}, `${title}. `) : "", ...marked(sentences(problem.message, problem.hint)));
  if (problem.request) made.title = `request ${problem.request}`;
  const acts = make("div", { class: "acts" });
  if (askKey && (problem.status === 401 || problem.status === 403)) acts.append(button({ class: "small", onclick: askKey }, "Use another key"));
  more.forEach(({ words, act }) => acts.append(button({ class: "small", onclick: act }, words)));
  const stale = problem.status === 409;
  if (again && (problem.passes || problem.status === 0 || problem.status >= 500 || stale)) {
    acts.append(button({ class: "small", onclick: () => { clearInterval(ticking); again(tried + 1); } }, stale ? "Start again" : "Try now"));
  }
  if (again && problem.passes && problem.wait && tried < TRIES) acts.append(countdown(problem.wait, () => again(tried + 1)));
  if (acts.children.length) made.append(acts);
}

function countdown(seconds, then) {
  let left = Math.ceil(seconds);
  const said = () => `Trying again in ${left} s`;
  const shown = make("span", { class: "countdown", "aria-live": "off" }, said());
  ticking = setInterval(() => {
    left -= 1;
    shown.textContent = said();
    if (left > 0) return;
    clearInterval(ticking);
    then();
  }, 1000);
  return shown;
}

/** What did not take part in an answer, and whether it is whole. */
export function showDegraded(answer, again) {
  if (answer.partial) {
    const made = notice("warn", "This answer is incomplete: parts of the search ran out of time.");
    made.append(make("div", { class: "acts" }, button({ class: "small", onclick: again }, "Ask again")));
  }
  // What is not counted is said where the counts stand.
  for (const one of (answer.degraded || []).filter((other) => other.step !== "facets")) {
    const { said, reason } = lost(one);
    notice("warn", said).title = reason || "";
  }
}

/** Something worth knowing that is no failure. */
export const tell = (words) => notice("", words);

/** The start, or nothing found. `chips` are {words, act}. */
export function showEmpty(title, text, chips = []) {
  $("empty").hidden = false;
  $("empty-title").textContent = title;
  $("empty-text").textContent = text;
  $("examples").replaceChildren(...chips.map(({ words, act }) => make("li", {}, button({ onclick: act }, words))));
  $("samples").hidden = true;
}

/** Suggestions where nothing was found; `change` asks another question. */
export function showNothing(question, answer, active, change) {
  const chips = [];
  const cut = answer.ranking?.cut || 0;
  if (cut && !question.weak) chips.push({ words: `Show ${plural(cut, "weaker hit")}`, act: () => change({ ...question, weak: true }) });
  active.slice(0, 4).forEach((chip) => chips.push({ words: `Without the filter “${chip.words}”`, act: () => change(chip.rest) }));
  const words = question.text.split(/\s+/).filter((word) => word.length > 3 && !word.startsWith("-"));
  if (words.length > 1) words.slice(0, 3).forEach((word) => chips.push({ words: `Only “${word.replaceAll('"', "")}”`, act: () => change({ ...question, text: word.replaceAll('"', "") }) }));
  const text = cut && !question.weak
    ? "No image answers that well enough. Some come near."
    : active.length ? "No image passes all these filters and answers that." : "No image of this snapshot answers that. Try other words, or a picture.";
  showEmpty("Nothing found", text, chips);
}
