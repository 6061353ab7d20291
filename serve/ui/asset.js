// One asset beside its hit: its story, told in time order, and its original bytes. Fetches and draws.

import { get, ofAsset, reach } from "./api.js";
import { $, make, moment, percent, plural, readable } from "./dom.js";
import { captionOf } from "./hits.js";
import { capital, task } from "./words.js";

const stories = new Map();
const KEPT = 50;
const FEW = 6;

const WHAT = {
  seen: "Seen", replaced: "Another picture took its place", altered: "Changed under the same size and date",
  gone: "Gone from here", moved: "Moved away", returned: "Came back",
};

/** Fetches the story of an asset into a node; `known(analyses)` gets what the runs said. */
export async function history(assetId, host, known) {
  host.replaceChildren(make("section", {}, make("h3", {}, "History"), make("p", { class: "soft" }, "Looking it up…")));
  try {
    if (!stories.has(assetId)) remember(assetId, await get(ofAsset(assetId, "history")));
    const story = stories.get(assetId);
    if (!host.isConnected) return;
    host.replaceChildren(drawn(story));
    known(story.analyses);
  } catch (problem) {
    host.replaceChildren(make("section", {}, make("h3", {}, "History"), make("p", { class: "soft" }, `The history cannot be shown: ${problem.message}`)));
  }
}

/** Forgets what another key was allowed to see. */
export const forgetStories = () => stories.clear();

function remember(assetId, story) {
  stories.set(assetId, story);
  if (stories.size > KEPT) stories.delete(stories.keys().next().value);
}

function drawn(story) {
  const events = [
    ...story.events.map((event) => ({ at: event.at, title: WHAT[event.what] || event.what, more: [readable(event.uri), event.moved_to && `to ${readable(event.moved_to)}`, event.moved_from && `from ${readable(event.moved_from)}`] })),
    ...story.analyses.map((one) => ({ at: one.at, title: capital(task(one.task_type)), more: [one.model || `transform ${one.transform.slice(0, 12)}`, said(one), `run ${one.run_id}${one.state && one.state !== "finished" ? `, ${one.state}` : ""}`] })),
    ...(story.dead_letters || []).map((one) => ({ at: one.at, bad: true, title: `Given up: ${task(one.task_type)}`, more: [`${one.code}: ${one.message}`, plural(one.attempts, "attempt")] })),
    ...story.snapshots.map((one) => ({ at: one.created_at, title: one.published ? "Shown by the published snapshot" : "Shown by a snapshot", more: [one.snapshot_id] })),
  ].sort((one, other) => one.at - other.at);
  const facts = story.facts && `${story.facts.format}, ${story.facts.width} × ${story.facts.height}, ${story.facts.size.toLocaleString("en")} bytes${story.facts.frames > 1 ? `, ${story.facts.frames} frames` : ""}`;
  return make("section", {},
    make("h3", {}, "History"),
    facts && make("p", { class: "soft" }, facts),
    make("ol", { class: "story" }, events.map((event) => make("li", { class: event.bad ? "bad" : "" },
      make("time", { dateTime: new Date(event.at * 1000).toISOString() }, moment(event.at)),
      make("div", {}, make("b", {}, event.title), event.more.filter(Boolean).map((line) => make("span", { class: "path" }, line)))))),
    story.dead_letters === null && make("p", { class: "soft" }, "The queue does not answer: what was given up is not known."),
    story.truncated?.length > 0 && make("p", { class: "soft" }, `There is more: ${story.truncated.join(", ")}.`));
}

/** The surest of what a run said, in short. */
function said(analysis) {
  const texts = analysis.texts.slice(0, FEW).map((one) => `${one.text}${one.confidence === null ? "" : ` ${percent(one.confidence)}`}`);
  const rest = analysis.texts.length - texts.length;
  if (rest > 0) texts.push(`and ${rest} more`);
  return [...texts, ...analysis.vectors.map((one) => `vector ${one.space}, ${one.dim} numbers`), ...analysis.measures.map((one) => `${one.name} ${Number(one.value.toPrecision(3))}`)].join(" · ");
}

let shown = null;

/** The original in the viewer; where the service cannot give it, the small one and the reason. */
export async function showOriginal(hit) {
  const image = $("viewer-image");
  forgetOriginal();
  image.alt = captionOf(hit);
  image.src = $("why-body").querySelector(".large img")?.src || ofAsset(hit.asset_id, "thumbnail");
  $("viewer-said").textContent = "Fetching the original…";
  $("viewer").showModal();
  try {
    const answer = await reach(ofAsset(hit.asset_id, "original"));
    shown = URL.createObjectURL(await answer.blob());
    image.onerror = () => { $("viewer-said").textContent = "This browser cannot show that format."; };
    image.onload = () => { $("viewer-said").textContent = `${image.naturalWidth} × ${image.naturalHeight}`; };
    image.src = shown;
  } catch (problem) {
    const why = problem.status === 404 || problem.status === 405 ? "it is out of the service's reach" : problem.message;
    $("viewer-said").textContent = `The original cannot be shown: ${why}`;
  }
}

/** Lets go of the bytes of the viewer. */
export function forgetOriginal() {
  const image = $("viewer-image");
  image.onload = null;
  image.onerror = null;
  if (shown) URL.revokeObjectURL(shown);
  shown = null;
}
