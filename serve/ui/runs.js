// The view of runs and queue: asks for its parts again and again, sooner while something moves, never while hidden.

import { get, perhaps, post } from "./api.js";
import { clear, make } from "./dom.js";
import { quiet } from "./notices.js";
import { letters } from "./letters.js";
import { drawJobs, drawQueue, drawRuns, drawWorkers } from "./queue.js";
import { drawRollouts, drawSnapshots, drawTrail } from "./snapshots.js";

const SOON = 2000;
const LATEST = 30_000;
const SELDOM = 5;
const RARE = ["v1/snapshots", "v1/rollouts", "v1/runs?limit=20", "v1/admin-log?limit=10"];
const MANAGED = /snapshots|rollouts|admin-log/;

const now = { timer: 0, wait: SOON, turn: 0, host: null, parts: null, askKey: null, rounds: 0, stop: null, access: null, said: "" };

/** Shows the view in its host and keeps it up to date. */
export function openRuns(host, askKey) {
  if (now.host) return;
  Object.assign(now, { host, askKey, wait: SOON, rounds: 0, access: null, said: "" });
  const part = (name, title) => make("section", { class: `part ${name}`, "aria-label": title });
  now.parts = {
    notes: make("div", { class: "notes" }), queue: part("queue", "Queue"), jobs: part("jobs", "Jobs"), runs: part("runs", "Runs"),
    letters: part("letters", "Given up"), snapshots: part("snapshots", "Snapshots"), rollouts: part("rollouts", "Rollouts"), workers: part("workers", "Workers"), trail: part("trail", "What administrators did"),
  };
  host.replaceChildren(make("h1", {}, "Runs and queue"), make("p", { class: "soft whose", id: "whose" }), ...Object.values(now.parts));
  now.letters = letters(now.parts.letters, () => manages(), () => round());
  quiet();
  round();
}

/** Stops asking, and lets go of the view. */
export function closeRuns() {
  if (!now.host) return;
  clearTimeout(now.timer);
  now.stop?.abort();
  now.turn += 1;
  clear(now.host);
  now.host = null;
}

document.addEventListener("visibilitychange", () => {
  if (!now.host) return;
  clearTimeout(now.timer);
  if (!document.hidden) { now.wait = SOON; round(); }
});

async function round() {
  clearTimeout(now.timer);
  const turn = ++now.turn;
  now.stop?.abort();
  now.stop = new AbortController();
  try {
    const moves = await look(turn, now.stop.signal);
    if (turn !== now.turn) return;
    now.wait = moves ? SOON : Math.min(LATEST, now.wait * 1.5);
    clear(now.parts.notes);
  } catch (problem) {
    if (turn !== now.turn || problem.name === "AbortError") return;
    now.wait = problem.wait ? problem.wait * 1000 : Math.min(2 * LATEST, now.wait * 2);
    tellProblem(problem);
    if (problem.status === 401 || problem.status === 403) return;
  }
  now.rounds += 1;
  if (!document.hidden) now.timer = setTimeout(round, now.wait);
}

/** One look at everything; whether something is on its way. */
async function look(turn, signal) {
  const seldom = now.rounds % SELDOM === 0;
  now.access ??= await perhaps("v1/access", signal);
  if (turn !== now.turn) return false;
  drawAccess();
  const queue = await get("v1/queue", signal);
  if (turn !== now.turn) return false;
  const open = drawQueue(now.parts.queue, queue);
  drawWorkers(now.parts.workers, queue.workers);
  const jobs = await jobsOf(signal);
  if (turn !== now.turn) return false;
  drawJobs(now.parts.jobs, jobs);
  await now.letters.refresh(signal);
  if (seldom) {
    const seen = await Promise.all(RARE.map((path) => (!manages() && MANAGED.test(path) ? null : perhaps(path, signal))));
    if (turn !== now.turn) return false;
    const [snapshots, rollouts, runs, trail] = seen;
    drawSnapshots(now.parts.snapshots, snapshots, now.said, (words) => { Object.assign(now, { said: words, rounds: 0 }); round(); });
    drawRollouts(now.parts.rollouts, rollouts);
    drawRuns(now.parts.runs, runs);
    drawTrail(now.parts.trail, trail);
  }
  return open > 0;
}

/** Whether the caller may manage, as far as the service tells. */
const manages = () => now.access?.scopes.includes("admin") ?? true;

function drawAccess() {
  const { access } = now;
  const who = !access ? "" : access.open ? `tenant ${access.tenant_id}; this service asks for no key`
    : `key ${access.key_id}, ${access.all_tenants ? "an operator of all tenants" : `tenant ${access.tenant_id}`}; it may ${access.scopes.join(", ")}`;
  now.host.querySelector("#whose").textContent = who;
}

/** The jobs opened last, with what is open of those that are not over. */
async function jobsOf(signal) {
  const listed = await post("v1/ledger/jobs", { limit: 12 }, signal);
  return Promise.all(listed.map(async (job) => {
    const over = job.finished_at !== null || job.state === "finished" || job.state === "cancelled";
    const seen = over ? null : await get(`v1/jobs/${encodeURIComponent(job.record.job_id)}`, signal);
    return { ...job, open: seen ? seen.open_tasks : 0 };
  }));
}

function tellProblem(problem) {
  const host = now.parts.notes;
  const made = make("div", { class: "notice bad", role: "alert" }, make("p", {}, problem.message, problem.hint ? ` ${problem.hint}` : ""));
  if (problem.status === 401 || problem.status === 403) {
    made.append(make("div", { class: "acts" }, make("button", { type: "button", class: "small", onclick: now.askKey }, "Use another key")));
  } else {
    made.firstChild.append(` Trying again in ${Math.round(now.wait / 1000)} s.`);
  }
  host.replaceChildren(made);
}
