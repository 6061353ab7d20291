// The page before anything is asked: how much there is, and examples out of what is there.

import { get, search } from "./api.js";
import { $, button, make, plural } from "./dom.js";
import { captionOf, ratioOf } from "./hits.js";
import { showEmpty, showProblem } from "./notices.js";
import { showThumb } from "./thumbs.js";
import { blank, picked } from "./state.js";

const FIXED = ["dog", "a street without cars", "boats on the water", "red on the left", "portrait, dark background"];
const SAMPLE = { text: "a photo", limit: 14, facets: ["classes", "tags", "colours"], explain: false };
const COMMON = 0.5;

const KEPT = "ecm-sample";

let sample = null;

/** Forgets what another key was allowed to see. */
export function forgetSample() {
  sample = null;
  sessionStorage.removeItem(KEPT);
}

/** The sample of a snapshot: asked for once in a tab, since a start is no search that anybody made. */
async function sampleOf(snapshot) {
  const kept = JSON.parse(sessionStorage.getItem(KEPT) || "null");
  if (kept?.snapshot_id === snapshot) return kept;
  const answer = await search(SAMPLE);
  sessionStorage.setItem(KEPT, JSON.stringify(answer));
  return answer;
}

/** Draws the start; `navigate(question)` follows an example, `like(asset)` a picture. */
export async function drawStart(still, { navigate, like, askKey }) {
  const chip = (words) => ({ words, act: () => navigate({ ...blank(), text: words }) });
  showEmpty("Ask your images", "Type what you are looking for, or drop a picture to find others like it. Every hit shows which model run put it there.");
  if (sample) drawSample(chip, { navigate, like });
  try {
    const seen = await get("v1/snapshot");
    if (!still()) return;
    $("snapshot").textContent = `${plural(seen.assets, "image")} · snapshot ${seen.snapshot_id} · ranking ${seen.ranking_profile}`;
    if (!seen.assets) {
      showEmpty("Nothing is indexed yet", "Index a folder with “ecm index FOLDER”, then publish a snapshot. How far it is shows under Runs.");
      return;
    }
    if (sample?.snapshot_id === seen.snapshot_id) return;
    sample = await sampleOf(seen.snapshot_id);
    if (still()) drawSample(chip, { navigate, like });
  } catch (problem) {
    if (!still()) return;
    drawExamples(FIXED.map(chip));
    if (problem.status !== 401) showProblem(problem, () => drawStart(still, { navigate, like, askKey }), { askKey });
  }
}

/** What some images show and many do not makes better examples than words of ours. Values that are counted alike
 * are most often names of one thing: of those the first. */
function distinct(counts) {
  const some = (counts || []).filter((one) => one.count > 1 && one.count < COMMON * sample.matched);
  return some.filter((one, at) => at === 0 || one.count !== some[at - 1].count).map((one) => one.value);
}

const drawExamples = (chips) => $("examples").replaceChildren(...chips.map(({ words, act }) => make("li", {}, button({ onclick: act }, words))));

function drawSample(chip, { navigate, like }) {
  const words = [...new Set([...distinct(sample.facets?.classes), ...distinct(sample.facets?.tags)])].slice(0, 5);
  const colour = sample.facets?.colours?.[0]?.value;
  const chips = [...words.map(chip), ...FIXED.slice(words.length ? 3 : 0).map(chip)];
  if (words.length && colour) {
    chips.push({ words: `${words[0]}, only ${colour} ones`, act: () => navigate(picked({ ...blank(), text: words[0] }, "colours", colour)) });
  }
  drawExamples(chips);
  $("samples").hidden = !sample.hits.length;
  $("strip").replaceChildren(...sample.hits.map((hit) => {
    const made = make("li", {}, button({ title: "More like this", "aria-label": `More like: ${captionOf(hit)}`, onclick: () => like(hit.asset_id) }, showThumb(make("img", { alt: "", loading: "lazy" }), hit.asset_id)));
    made.style.setProperty("--ratio", ratioOf(hit).toFixed(4));
    return made;
  }));
}
