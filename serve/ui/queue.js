// Queue, jobs, runs and workers as tables and bars. Draws what it is given.

import { bytes, clear, count, make, moment, percent, plural, span, widen } from "./dom.js";
import { STATES } from "./words.js";

const ORDER = ["done", "persisted", "reported", "running", "leased", "retry_queued", "queued", "model_mismatch", "dead_letter", "cancelled"];
const OPEN = ["queued", "retry_queued", "leased", "running", "reported", "persisted"];

export const heading = (words, ...more) => make("h2", {}, words, ...more);

/** A table whose rows are lists of cells; on a phone every cell says its column. */
export function table(columns, rows) {
  return make("div", { class: "scroll" }, make("table", { class: "rows" },
    make("thead", {}, make("tr", {}, columns.map((words) => make("th", { scope: "col" }, words)))),
    make("tbody", {}, rows.map((cells) => make("tr", {}, cells.map((cell, at) => make("td", { "data-column": columns[at] }, cell ?? "–")))))));
}

const figure = (number, words, title = "") => make("div", { class: "figure", title }, make("b", {}, number), make("span", {}, words));

/** Draws the queue; how many tasks are open. */
export function drawQueue(host, seen) {
  const states = ORDER.filter((state) => seen.queue[state] > 0);
  const all = states.reduce((sum, state) => sum + seen.queue[state], 0);
  const open = OPEN.reduce((sum, state) => sum + (seen.queue[state] || 0), 0);
  const bar = make("div", { class: "states", role: "img", "aria-label": states.map((state) => `${STATES[state]} ${seen.queue[state]}`).join(", ") || "nothing" },
    states.map((state) => widen(make("i", { class: `s-${state}` }), seen.queue[state] / (all || 1))));
  const legend = make("ul", { class: "legend" }, states.map((state) => make("li", {}, make("i", { class: `dot s-${state}` }), STATES[state], make("b", {}, count(seen.queue[state])))));
  const latency = seen.latency_ms;
  const left = seen.throughput_per_s > 0 && open > 0 ? `about ${span(open / seen.throughput_per_s)} left` : "";
  const said = all ? open ? `${plural(open, "task")} open of ${count(all)}${left ? `, ${left}` : ""}` : `All ${count(all)} tasks are over.` : "No task was ever queued.";
  host.replaceChildren(heading("Queue"), make("p", { class: "soft", role: "status" }, said), bar, legend, make("div", { class: "figures" },
    figure(seen.throughput_per_s.toFixed(1), "tasks a second", "over the last minutes"),
    figure(latency.p50 === null ? "–" : `${span(latency.p50 / 1000)}`, "half are faster", "from claim to commit"),
    figure(latency.p95 === null ? "–" : `${span(latency.p95 / 1000)}`, "95 % are faster", "from claim to commit"),
    figure(percent(seen.failure_rate), "fail"),
    figure(seen.oldest_lease_seconds === null ? "–" : span(seen.oldest_lease_seconds), "oldest lease"),
    figure(count(seen.stale), "came too late", "results refused because their lease was gone")));
  return open;
}

/** Draws the jobs opened last, with progress. */
export function drawJobs(host, jobs) {
  if (!jobs?.length) { host.replaceChildren(heading("Jobs"), make("p", { class: "soft" }, "No jobs yet.")); return; }
  const rows = jobs.map((job) => {
    const tasks = job.listed * Math.max(1, job.record.transforms.length);
    const done = job.open === 0 ? 1 : Math.max(0, 1 - job.open / (tasks || 1));
    const bar = make("div", { class: "progress", role: "progressbar", "aria-valuenow": Math.round(100 * done), "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": `job ${job.record.job_id}` }, widen(make("i", {}), done));
    return [
      make("span", {}, make("b", {}, job.record.source), make("span", { class: "path" }, job.record.job_id)),
      make("span", { class: `state ${job.state}` }, job.state),
      make("span", {}, bar, job.open ? `${count(job.open)} open` : ""),
      count(job.listed), moment(job.record.created_at), job.finished_at ? span(job.finished_at - job.record.created_at) : null,
    ];
  });
  host.replaceChildren(heading("Jobs"), table(["Source", "State", "Progress", "Listed", "Opened", "Took"], rows));
}

/** Draws runs, newest first; nothing where the service does not tell. */
export function drawRuns(host, told) {
  if (!told?.items?.length) { clear(host); return; }
  const numbers = (run) => Object.entries(run.counts || {}).filter(([, value]) => value).slice(0, 4)
    .map(([name, value]) => `${name.replaceAll("_", " ")} ${name.includes("bytes") ? bytes(value) : count(value)}`).join(" · ");
  host.replaceChildren(heading("Runs"), table(["Run", "State", "Began", "Took", "Counts"], told.items.map((run) => [
    make("span", { class: "path" }, run.run_id), make("span", { class: `state ${run.state}` }, run.state),
    moment(run.started_at), run.finished_at ? span(run.finished_at - run.started_at) : null, numbers(run) || null])));
}

/** Draws the workers heard of lately; nothing when there are none. */
export function drawWorkers(host, workers) {
  if (!workers.length) { clear(host); return; }
  host.replaceChildren(heading("Workers"), table(["Worker", "Reported", "Failed", "Expired", "Failure rate"], workers.map((one) => [
    make("span", { class: "path" }, one.worker), count(one.reported),
    Object.entries(one.failed).map(([kind, number]) => `${kind} ${number}`).join(", ") || "0", count(one.expired), percent(one.failure_rate)])));
}
