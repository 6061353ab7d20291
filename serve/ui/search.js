// Asking: from the question in the address to the hits on the page, page by page. Knows the order of things.

import { search as ask } from "./api.js";
import { $, button, clear, count, icon, make, plural, sentences } from "./dom.js";
import { drawFilters } from "./facets.js";
import { chips as chipsOf, filterOf } from "./filters.js";
import { card, skeletons } from "./hits.js";
import { quiet, showDegraded, showNothing, showProblem, tell } from "./notices.js";
import { drawShown, examplesOf } from "./shown.js";
import { asks, blank, filtered } from "./state.js";
import { AXES, SORTS, layout, stage } from "./words.js";

const PAGE = 30;
const SLOW = 5000;
const FACETS = ["tags", "classes", "format", "orientation", "colours", "year", "has"];

const now = { question: blank(), cursor: null, best: 1, turn: 0, stop: null, answer: null, body: null, busy: false };

/** The question that is on the page, and its last answer. */
export const current = () => now.question;
export const lastAnswer = () => now.answer;

const end = new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) more(false); }, { rootMargin: "1400px" });

let wiring = { navigate: () => {}, acts: {}, start: () => {}, askKey: () => {} };

/** `navigate(question)` puts a question into the address; `acts` are those of cards; `start` shows the empty page. */
export function wire(given) {
  wiring = given;
  $("sort").replaceChildren(...Object.entries(SORTS).map(([value, words]) => make("option", { value }, words)));
  $("sort").addEventListener("change", () => wiring.navigate({ ...now.question, sort: $("sort").value }));
  $("weak").addEventListener("change", () => wiring.navigate({ ...now.question, weak: $("weak").checked }));
  $("more").addEventListener("click", () => more(true));
}

async function bodyOf(question) {
  const { examples, missing } = await examplesOf(question);
  const body = { limit: question.page || PAGE, facets: FACETS, profile: true, sort: SORTS[question.sort] ? question.sort : "relevance" };
  const filter = filterOf(question);
  if (question.text.trim()) body.text = question.text.trim();
  if (examples.length) body.examples = examples;
  if (filter) body.filter = filter;
  // Words may have no answer; to a picture the nearest are one, however far they are.
  if (!question.weak && body.text) body.min_relevance = "auto";
  return { body, missing };
}

/** Shows a question: its words and pictures in the field at once, its hits when they come. */
export async function show(question, tried = 0) {
  const turn = ++now.turn;
  now.stop?.abort();
  now.stop = new AbortController();
  Object.assign(now, { question, cursor: null, answer: null, busy: false });
  drawQuestion(question);
  quiet();
  if (!asks(question) && !filtered(question)) {
    drawFilters(question, null, wiring.navigate);
    forget();
    if (question.examples.length) tell("Say what you look for as well: “less like this” narrows a search down.");
    wiring.start();
    return;
  }
  const patience = begin(turn);
  try {
    const { body, missing } = await bodyOf(question);
    if (missing && !body.text && !body.examples?.some((one) => one.weight > 0)) { lose(turn); return; }
    const answer = await ask(body, now.stop.signal);
    if (turn !== now.turn) return;
    now.body = body;
    forget();
    if (missing) tell("A picture of this question was never part of its address. It is left out: drop it here again.");
    first(answer);
  } catch (problem) {
    if (turn === now.turn && problem.name !== "AbortError") fail(problem, tried);
  } finally {
    clearTimeout(patience);
    if (turn === now.turn) $("hits").classList.remove("busy");
  }
}

/** From here until the answer: the old hits fade, or shapes of hits to come; the timer of patience. */
function begin(turn) {
  $("empty").hidden = true;
  $("more").hidden = true;
  $("hits").classList.add("busy");
  if (!$("hits").children.length) $("hits").append(...skeletons(12));
  clear($("understood"));
  $("status").replaceChildren(make("span", {}, "Searching…"));
  return setTimeout(() => {
    if (turn !== now.turn) return;
    $("status").replaceChildren(make("span", {}, "Still searching… this takes longer than it should."),
      button({ class: "link", onclick: () => { now.stop.abort(); now.turn += 1; forget(); $("status").append("Stopped."); } }, "Stop"));
  }, SLOW);
}

function lose(turn) {
  if (turn !== now.turn) return;
  forget();
  tell("The picture of this question was never part of its address. Drop it here again.");
  wiring.start();
}

function fail(problem, tried) {
  forget();
  $("empty").hidden = true;
  drawFilters(now.question, null, wiring.navigate);
  // A filter that cannot be answered, on a snapshot of before, say, is the person's to take away.
  const active = chipsOf(now.question);
  const named = active.filter((chip) => problem.message.includes(`\`${chip.field}\``));
  const acts = (named.length ? named : active).map((chip) => ({ words: `Without “${chip.words}”`, act: () => wiring.navigate(chip.rest) }));
  showProblem(problem, (times) => show(now.question, times), { tried, askKey: wiring.askKey, acts: problem.status === 422 ? acts : [] });
}

/** Takes everything away that belongs to an answer. */
function forget() {
  clear($("hits"), $("understood"), $("status"));
  $("hits").classList.remove("busy");
  $("more").hidden = true;
  $("loading").hidden = true;
}

function first(answer) {
  now.answer = answer;
  now.best = Math.max(...answer.hits.map((hit) => hit.score), 0) || 1;
  showDegraded(answer, () => show(now.question));
  drawUnderstood(answer);
  drawFilters(now.question, answer.facets, wiring.navigate, answer.degraded.filter((one) => one.step === "facets").map((one) => sentences("Not everything is counted", one.reason)));
  drawStatus(answer);
  append(answer);
  if (!answer.hits.length) showNothing(now.question, answer, chipsOf(now.question), wiring.navigate);
  $("snapshot").textContent = `snapshot ${answer.snapshot_id} · ranking ${answer.ranking_profile}`;
}

function append(answer) {
  now.cursor = answer.cursor;
  const before = $("hits").children.length;
  for (const hit of answer.hits) {
    const made = card(hit, now.best, wiring.acts);
    made.query = answer.request_id;
    $("hits").append(made);
  }
  if (!before) $("hits").querySelector(".picture")?.setAttribute("tabindex", "0");
  $("more").hidden = !answer.cursor;
  // Watched anew, so that a page too short to fill the window is followed by the next.
  end.disconnect();
  if (answer.cursor) end.observe($("end"));
}

/** The next page, when there is one; `focus` goes to its first hit where a person asked for it. */
async function more(focus) {
  if (!now.cursor || now.busy) return;
  const turn = now.turn;
  now.busy = true;
  $("loading").hidden = false;
  try {
    const answer = await ask({ ...now.body, cursor: now.cursor }, now.stop.signal);
    if (turn !== now.turn) return;
    const before = $("hits").children.length;
    append(answer);
    if (focus) $("hits").children[before]?.querySelector(".picture").focus();
  } catch (problem) {
    if (turn !== now.turn || problem.name === "AbortError") return;
    now.cursor = null;
    $("more").hidden = true;
    showProblem(problem, () => show(now.question), { askKey: wiring.askKey });
  } finally {
    if (turn === now.turn) { now.busy = false; $("loading").hidden = true; }
  }
}

function drawQuestion(question) {
  $("text").value = question.text;
  drawShown(question, wiring.navigate);
  $("sort").value = SORTS[question.sort] ? question.sort : "relevance";
  $("weak").checked = question.weak;
  $("weak").parentElement.hidden = !question.text;
  document.title = question.text ? `${question.text} · ecm search` : "ecm search";
  const active = chipsOf(question);
  $("filters-label").textContent = active.length ? `Filters (${active.length})` : "Filters";
  $("chips").replaceChildren(...active.map((chip) => make("span", { class: chip.without ? "chip off" : "chip" },
    chip.swatch && make("i", { class: `colour c-${chip.swatch}` }), chip.without ? `without ${chip.words}` : chip.words,
    button({ "aria-label": `Remove the filter ${chip.words}`, onclick: () => wiring.navigate(chip.rest) }, icon("close")))));
}

function drawStatus(answer) {
  const shown = answer.hits.length;
  const matched = Math.max(answer.matched ?? 0, shown);
  const parts = [make("b", {}, plural(matched, "hit")), timings(answer)];
  const cut = answer.ranking?.cut || 0;
  if (cut) parts.push(make("span", {}, `${count(cut)} weaker left out`));
  $("status").replaceChildren(...parts);
}

/** How long it took; opened, how long each stage did. */
function timings(answer) {
  const took = `${Math.round(answer.took_ms)} ms`;
  const stages = Object.entries(answer.profile || {}).filter(([, ms]) => Number.isFinite(ms));
  if (!stages.length) return make("span", {}, took);
  return make("details", { class: "timings" }, make("summary", { title: "how long each stage took" }, took),
    make("dl", {}, stages.map(([name, ms]) => [make("dt", {}, stage(name)), make("dd", {}, `${ms.toFixed(1)} ms`)])));
}

/** What the service made of the words. */
function drawUnderstood(answer) {
  const { understood } = answer;
  const chip = (kind, words, title = "") => make("span", { class: `heard ${kind}`, title }, words);
  const weights = Object.entries(answer.ranking?.weights || {}).filter(([, weight]) => weight > 0)
    .map(([axis, weight]) => `${AXES[axis]?.name || axis} ${weight.toFixed(2)}`).join(", ");
  const made = [chip("type", `${answer.query_type} query`, weights && `weights: ${weights}`)];
  if (understood) {
    understood.phrases?.forEach((phrase) => made.push(chip("", `“${phrase}”`, "these words in this order")));
    understood.names?.forEach((name) => made.push(chip("", `file name ${name}`)));
    understood.layout?.forEach((one) => made.push(make("span", { class: "heard", title: `from the words “${one.said}”` }, one.colour && make("i", { class: `colour c-${one.colour}` }), layout(one))));
    understood.unwanted?.forEach((words) => made.push(chip("off", `without: ${words}`)));
  }
  $("understood").replaceChildren(...made);
}
