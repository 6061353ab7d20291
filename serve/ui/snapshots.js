// Snapshots, rollouts and what administrators did: which one answers, and another put in its place.

import { post } from "./api.js";
import { button, clear, count, make, moment, plural, widen } from "./dom.js";
import { heading, table } from "./queue.js";
import { sure } from "./sure.js";

/** Draws the snapshots; nothing where the service tells of none. `changed(words)` is called after a switch. */
export function drawSnapshots(host, told, said, changed) {
  if (!told?.items?.length) { clear(host); return; }
  const words = make("p", { class: "soft", role: "status" }, said);

  async function swap(path, title, text) {
    if (!(await sure(title, text, title))) return;
    try {
      const { published } = await post(path, {});
      changed(`${published} is published; the service follows within seconds.`);
    } catch (problem) {
      words.textContent = `That did not work: ${problem.message}`;
    }
  }

  const back = button({ class: "small", onclick: () => swap("v1/snapshots/rollback", "Go back", "The snapshot that was published before this one will answer again.") }, "Go back to the one before");
  const publish = (id) => button({ class: "small", onclick: () => swap(`v1/snapshots/${encodeURIComponent(id)}/publish`, "Publish", `${id} will answer from now on.`) }, "Publish");
  host.replaceChildren(heading("Snapshots"), words,
    table(["Snapshot", "Made", "Images", ""], told.items.map((one) => [
      make("span", {}, make("span", { class: "path" }, one.snapshot_id), one.shortfalls?.map((short) => make("span", { class: "short" }, short))),
      moment(one.created_at), count(one.assets),
      one.published ? make("span", { class: "state finished" }, "answers now") : told.may_switch ? publish(one.snapshot_id) : ""])),
    told.may_switch && told.items.length > 1 ? make("div", { class: "acts" }, back) : "",
    told.damaged?.length ? make("p", { class: "short" }, `${plural(told.damaged.length, "snapshot")} cannot be read: ${told.damaged.join(", ")}`) : "");
}

const share = (one) => make("div", { class: "progress", role: "progressbar", "aria-valuenow": one.passed, "aria-valuemin": 0, "aria-valuemax": 100, "aria-label": `rollout ${one.rollout_id}` }, widen(make("i", {}), one.passed / 100));

/** Draws the rollouts; nothing where the service tells of none. */
export function drawRollouts(host, told) {
  if (!told?.items?.length) { clear(host); return; }
  host.replaceChildren(heading("Rollouts"), table(["Rollout", "State", "New model", "Passed", "Changed"], told.items.map((one) => [
    make("span", { class: "path" }, one.rollout_id),
    make("span", {}, make("span", { class: `state ${one.state}` }, one.state.replaceAll("_", " ")), one.reason && make("span", { class: "soft message" }, one.reason)),
    make("span", {}, make("b", {}, one.new), make("span", { class: "soft" }, `${one.roles.join(", ")}, instead of ${one.old}`)),
    make("span", {}, share(one), `${one.passed} % of ${one.percent} %`), moment(one.changed_at)])));
}

/** Draws what administrators did last; nothing where the service does not tell us. */
export function drawTrail(host, told) {
  if (!told?.items?.length) { clear(host); return; }
  host.replaceChildren(heading("What administrators did"), table(["When", "Who", "What", "Outcome"], told.items.map((one) => [
    moment(one.at), make("span", { class: "path" }, one.who),
    make("span", {}, one.action.replaceAll(".", " "), make("span", { class: "path" }, one.target)),
    make("span", {}, one.outcome, one.detail && make("span", { class: "soft" }, ` ${one.detail}`))])),
  told.damaged_lines ? make("p", { class: "short" }, `${plural(told.damaged_lines, "line")} of the log cannot be read.`) : "");
}
