// Tasks given up: what, why, and trying them again. Fetches and draws its own part of the view.

import { get, post } from "./api.js";
import { button, make, moment, plural, readable } from "./dom.js";
import { heading, table } from "./queue.js";
import { sure } from "./sure.js";
import { task } from "./words.js";

const MOST = 50;
const CLASSES = ["network", "resource", "model", "input", "internal"];

/** The part of the view in its host; `refresh(signal)` looks again; `may()` tells whether the caller may
 * have something tried again, `changed` is called when that was done. */
export function letters(host, may, changed) {
  const kind = make("select", { "aria-label": "Class of error" }, make("option", { value: "" }, "every class"), CLASSES.map((value) => make("option", { value }, value)));
  const text = make("input", { type: "search", placeholder: "address, message or cause", maxLength: 256, "aria-label": "Look for" });
  const list = make("div", {});
  const said = make("p", { class: "soft", role: "status" });
  const all = button({ class: "small", hidden: true }, "Try all of these again");
  const seek = make("form", { class: "seek" }, kind, text, all);
  host.replaceChildren(heading("Given up"), seek, said, list);
  let drawn = "";

  const chosen = () => ({ ...(kind.value ? { class: kind.value } : {}), ...(text.value.trim() ? { text: text.value.trim() } : {}) });

  async function again(selection, words) {
    if (!(await sure("Try again?", `${words} will wait in the queue again, with a clean slate.`, "Try again"))) return;
    try {
      const { redriven } = await post("v1/dead-letters/redrive", selection);
      said.textContent = `${plural(redriven, "task")} will be tried again.`;
      changed();
    } catch (problem) {
      said.textContent = `That did not work: ${problem.message}`;
    }
  }

  async function refresh(signal) {
    const asked = new URLSearchParams({ limit: MOST, ...chosen() });
    const { items } = await get(`v1/dead-letters?${asked}`, signal);
    // Drawn only when it is another list: nobody loses a row they are about to press.
    const mark = JSON.stringify([may(), items.map((one) => [one.task_id, one.at]), [...asked]]);
    if (mark === drawn) return;
    drawn = mark;
    all.hidden = !items.length || !may();
    seek.hidden = !items.length && !kind.value && !text.value;
    said.textContent = items.length ? "" : kind.value || text.value ? "Nothing of that kind was given up." : "Nothing was given up.";
    list.replaceChildren(items.length ? table(["What", "Task", "Cause", "When", ""], items.map((one) => [
      make("span", { class: "path" }, readable(one.resource)),
      make("span", {}, task(one.task_type), make("span", { class: "soft" }, ` at ${one.stage}`)),
      make("span", {}, make("b", {}, `${one.class} · ${one.code}`), make("span", { class: "soft message" }, one.message), make("span", { class: "soft" }, ` ${plural(one.attempts, "attempt")}`)),
      moment(one.at),
      may() ? button({ class: "small", onclick: () => again({ task_ids: [one.task_id] }, "This task") }, "Try again") : ""])) : "");
  }

  const look = () => refresh().catch((problem) => { said.textContent = problem.message; });
  seek.addEventListener("submit", (event) => { event.preventDefault(); look(); });
  kind.addEventListener("change", look);
  text.addEventListener("search", look);
  all.addEventListener("click", () => again(chosen(), "Everything that matches"));
  return { refresh };
}
