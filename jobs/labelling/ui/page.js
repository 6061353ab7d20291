// The labelling page: one pair at a time, by keys, by mouse, by thumb. Text only ever becomes a text node.

import { pictureOf } from "./api.js";
import { Work } from "./work.js";

const $ = (id) => document.getElementById(id);
const NAMES = { 0: "No", 1: "In part", 2: "Yes" };
const nameOf = (relevance) => NAMES[relevance] ?? "Cannot say";
const HINTS = {
  known_item: "One particular picture is looked for, by its name or by words that are in it",
  class: "Pictures that show this",
  caption: "The picture that this sentence describes",
  image: "Pictures like the one shown",
  layout: "Pictures that look like this: colours, places, proportions",
  mixed: "Pictures for which all of this holds",
  log: "Somebody has searched for this",
};
const clock = { spent: 0, since: null };
const ahead = new Map();
let before = null;

const work = new Work(draw, notice);

function make(tag, settings = {}, ...children) {
  const node = Object.assign(document.createElement(tag), settings);
  node.append(...children);
  return node;
}

/** A failure, and what to do about it. */
function notice(problem, again) {
  const said = make("p", {}, problem.message);
  const line = make("div", { className: "notice" }, said);
  const close = () => line.remove();
  if (again) line.append(make("button", { type: "button", className: "small", onclick: () => { close(); again(); } }, "Try again"));
  else line.append(make("button", { type: "button", className: "small", onclick: close }, "Close"));
  $("notices").replaceChildren(line);
  $("loading").hidden = true;
}

/** Seconds that the current pair has been looked at: a page in the background does not count. */
function looked() {
  const now = clock.since === null ? 0 : performance.now() - clock.since;
  return Math.min(86400, (clock.spent + now) / 1000);
}

function restart() {
  clock.spent = 0;
  clock.since = document.hidden ? null : performance.now();
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden && clock.since !== null) {
    clock.spent += performance.now() - clock.since;
    clock.since = null;
  } else if (!document.hidden) clock.since = performance.now();
});

function draw() {
  const pair = work.current;
  drawProgress();
  $("loading").hidden = work.loaded;
  $("task").hidden = !pair;
  $("done").hidden = Boolean(pair) || !work.ended;
  for (const id of ["undo", "done-undo"]) $(id).disabled = work.back >= work.earlier.length;
  const mark = pair ? `${work.part} ${work.back} ${pair.query_id} ${pair.asset_id}` : `${work.part} ${work.ended}`;
  if (mark !== before) {
    before = mark;
    if (pair) drawPair(pair);
    else if (work.ended) drawDone();
  }
  for (const next of work.waiting.slice(0, 4)) fetchAhead(next.asset_id);
}

function drawProgress() {
  const { progress } = work;
  $("tab-judge").setAttribute("aria-pressed", String(work.part === "judge"));
  $("tab-settle").setAttribute("aria-pressed", String(work.part === "settle"));
  if (!progress) return;
  $("set").textContent = work.set;
  $("who").textContent = work.labeler;
  document.title = `${work.set}: labels`;
  $("left-judge").textContent = progress.to_judge || "";
  $("left-settle").textContent = progress.to_settle || "";
  const [done, left, verb] = work.part === "judge"
    ? [progress.judged, progress.to_judge, "judged"] : [progress.settled, progress.to_settle, "settled"];
  const share = done + left ? (100 * done) / (done + left) : 0;
  $("meter").setAttribute("aria-valuenow", share.toFixed(0));
  $("meter-bar").style.width = `${share}%`;
  const under = work.unsent.length ? `, ${work.unsent.length} on the way` : "";
  $("progress").textContent = `${done} of ${done + left} ${verb}${under}`;
  const { pace } = work;
  $("pace").textContent = pace && left ? `${spanOf(pace * left)} left at your pace` : "";
}

const spanOf = (seconds) => (seconds < 90 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`);

function drawPair(pair) {
  $("hint").textContent = pair.text ? HINTS[pair.kind] || "" : "";
  $("question").textContent = pair.text || "Pictures like this one";
  $("question").classList.toggle("long", (pair.text || "").length > 60);
  $("shown").hidden = !pair.shown;
  if (pair.shown) $("shown").firstElementChild.src = pictureOf(pair.shown, "small");
  const settles = work.part === "settle";
  $("asked").textContent = settles ? "They differ. What holds?" : "Does the picture answer?";
  $("votes").replaceChildren(...(settles ? pair.votes : []).map((vote) => make(
    "li", { className: `vote v${vote.relevance}` }, make("b", {}, vote.labeler), ` ${nameOf(vote.relevance)}`,
  )));
  drawPicture(pair);
  for (const choice of document.querySelectorAll(".choice")) {
    choice.setAttribute("aria-pressed", String(pair.said?.relevance === Number(choice.dataset.relevance)));
  }
  $("skip").setAttribute("aria-pressed", String(Boolean(pair.said) && pair.said.relevance === null));
  $("places").replaceChildren(...pair.uris.map((uri) => make("li", {}, readable(uri))));
  openPlaces(pair.kind === "known_item");
  restart();
}

function drawPicture(pair) {
  const image = $("picture").firstElementChild;
  image.classList.remove("loaded");
  const ratio = pair.width && pair.height ? pair.width / pair.height : 4 / 3;
  $("picture").style.setProperty("--ratio", String(Math.min(3, Math.max(0.4, ratio))));
  const small = pictureOf(pair.asset_id, "small");
  image.src = small;
  image.onload = () => {
    image.classList.add("loaded");
    fetchAhead(pair.asset_id).then((large) => {
      if (large && work.current === pair && image.src.endsWith(small)) image.src = large;
    });
  };
}

/** The large picture in the browser's cache before it is needed; null where it cannot be read any more. */
function fetchAhead(asset) {
  if (!ahead.has(asset)) {
    const url = pictureOf(asset, "large");
    ahead.set(asset, fetch(url).then((answer) => (answer.ok ? answer.blob().then(() => url) : null)).catch(() => null));
  }
  return ahead.get(asset);
}

function readable(uri) {
  try { return decodeURIComponent(uri.replace(/^file:\/\//, "")); } catch { return uri; }
}

function openPlaces(open) {
  $("places").hidden = !open;
  $("details").setAttribute("aria-expanded", String(open));
}

function drawDone() {
  const { progress } = work;
  const [title, text, next] = work.part === "judge" ? doneJudging(progress) : doneSettling(progress);
  $("done-title").textContent = title;
  $("done-text").textContent = text;
  $("done-next").hidden = !next;
  if (next) {
    $("done-next").textContent = next.label;
    $("done-next").onclick = () => begin(next.part);
  }
  $("done-title").focus();
}

function doneJudging(progress) {
  const title = progress.judged ? "All judged. Thank you!" : "Nothing waits for you.";
  if (progress.to_settle) {
    const said = `Others differ over ${progress.to_settle} ${progress.to_settle === 1 ? "pair" : "pairs"} that you have not judged: you may settle them.`;
    return [title, said, { label: "Settle them", part: "settle" }];
  }
  return [title, "New pairs come with the next batch: ecm evaluate labels batch", null];
}

function doneSettling(progress) {
  const title = progress.settled ? "All settled. Thank you!" : "There is nothing that you could settle.";
  const text = "Only a person who has not judged a pair settles it.";
  return [title, text, progress.to_judge ? { label: `Judge ${progress.to_judge} more`, part: "judge" } : null];
}

function enlarge(asset, name) {
  const box = $("large");
  const image = box.querySelector("img");
  image.alt = name;
  image.src = pictureOf(asset, "small");
  $("large-note").hidden = true;
  fetchAhead(asset).then((large) => {
    if (large) image.src = large;
    else {
      $("large-note").textContent = "The picture itself is not where it was: this is the small copy.";
      $("large-note").hidden = false;
    }
  });
  box.showModal();
}

function say(relevance) {
  if (work.current) work.say(relevance, Math.round(looked() * 10) / 10);
}

function begin(part) {
  before = null;
  $("notices").replaceChildren();
  return work.begin(part);
}

const openDialog = () => document.querySelector("dialog[open]");
const KEYS = {
  0: () => say(0), 1: () => say(1), 2: () => say(2), s: () => say(null), u: () => work.undo(),
  z: () => $("picture").click(), d: () => $("details").click(), q: () => $("shown").hidden || $("shown").click(),
  "?": () => $("guide").showModal(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (openDialog()) {
    if (event.key === "z" || event.key === "q") openDialog().close();
    return;
  }
  const act = KEYS[event.key.toLowerCase()];
  if (act) { event.preventDefault(); act(); }
});

for (const choice of document.querySelectorAll(".choice")) choice.onclick = () => say(Number(choice.dataset.relevance));
for (const box of document.querySelectorAll("dialog")) {
  box.addEventListener("click", (event) => { if (event.target === box || box.id === "large") box.close(); });
  for (const close of box.querySelectorAll(".close")) close.addEventListener("click", () => box.close());
}
$("skip").onclick = () => say(null);
$("undo").onclick = $("done-undo").onclick = () => work.undo();
$("picture").onclick = () => work.current && enlarge(work.current.asset_id, "The picture to be judged");
$("shown").onclick = () => work.current && enlarge(work.current.shown, "The picture that is shown");
$("details").onclick = () => openPlaces($("places").hidden);
$("help").onclick = () => $("guide").showModal();
$("tab-judge").onclick = () => begin("judge");
$("tab-settle").onclick = () => begin("settle");
$("theme").onclick = () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("ecm-theme", root.dataset.theme); } catch { /* a private window: it lasts until it is closed */ }
};
window.addEventListener("beforeunload", (event) => { if (work.unsent.length) event.preventDefault(); });

// The token has become a cookie: it need not stay in the address, where it could be looked over or sent on.
history.replaceState(null, "", location.pathname);
begin(location.hash === "#settle" ? "settle" : "judge");
