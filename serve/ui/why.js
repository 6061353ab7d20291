// The panel that says why a hit is there: what adds up to its score, its places, its evidence. Draws one hit.

import { $, button, copy, day, bytes as bytesOf, make, percent, readable, widen } from "./dom.js";
import { AXES, feature, without } from "./words.js";
import { captionOf, ratioOf } from "./hits.js";
import { showThumb } from "./thumbs.js";
import { history, showOriginal } from "./asset.js";

const TAGS = 14;

/** Fills the panel. `acts` has more(hit), less(hit), tag(text). */
export function drawWhy(hit, acts) {
  const image = make("img", { alt: captionOf(hit) });
  const picture = button({ class: "large", title: "See the whole picture", onclick: () => showOriginal(hit) }, showThumb(image, hit.asset_id));
  picture.style.setProperty("--ratio", ratioOf(hit).toFixed(4));
  const told = make("div", {});
  $("why-title").textContent = `Why is this hit ${hit.rank}?`;
  $("why-body").replaceChildren(picture, about(hit, acts), actions(hit, acts), sum(hit), axes(hit), counterfactuals(hit), evidence(hit), told, names(hit));
  $("why-body").dataset.asset = hit.asset_id;
  history(hit.asset_id, told, dated);
}

const part = (title, ...children) => make("section", {}, make("h3", {}, title), ...children);

function about(hit, acts) {
  const facts = [
    hit.width && `${hit.width} × ${hit.height}`, hit.size && bytesOf(hit.size),
    hit.taken_at && `taken ${day(hit.taken_at)}`, !hit.taken_at && hit.modified_at && `changed ${day(hit.modified_at)}`,
    hit.relevance !== null && hit.relevance !== undefined && `relevance ${percent(hit.relevance)}`,
  ].filter(Boolean).join(" · ");
  const shown = hit.tags.slice(0, TAGS);
  const tags = make("ul", { class: "tags", "aria-label": "Tags" }, shown.map((tag) => make("li", {}, button({ title: `Only images with the tag “${tag}”`, onclick: () => acts.tag(tag) }, tag))));
  if (hit.tags.length > TAGS) tags.append(make("li", { class: "soft" }, `and ${hit.tags.length - TAGS} more`));
  return make("div", {},
    make("p", { class: "because" }, hit.why || "No explanation was given."),
    hit.caption && make("p", { class: "said" }, hit.caption, hit.caption_composed && make("span", { class: "soft", title: "made from the classes, not written by a model" }, " (composed)")),
    facts && make("p", { class: "soft" }, facts),
    hit.tags.length > 0 && tags);
}

function actions(hit, acts) {
  return make("div", { class: "acts" },
    button({ class: "primary", onclick: () => acts.more(hit) }, "More like this"),
    button({ class: "small", onclick: () => acts.less(hit) }, "Less like this"),
    button({ class: "small", onclick: () => showOriginal(hit) }, "Original"));
}

/** Every summand of the score, drawn from a middle line: for it to the right, against it to the left. */
function sum(hit) {
  if (!hit.contributions.length) return part("What adds up to the score", make("p", { class: "soft" }, "No contributions were asked for."));
  const most = Math.max(...hit.contributions.map((one) => Math.abs(one.value)), 1e-12);
  const against = hit.contributions.some((one) => one.value < 0);
  const rows = [...hit.contributions].sort((one, other) => Math.abs(other.value) - Math.abs(one.value)).map((one) => {
    const { name, says, tone } = feature(one.feature);
    const bar = widen(make("i", { class: `tone-${tone}` }), Math.abs(one.value) / most);
    const raw = one.raw === null || one.raw === undefined ? "" : `, ${Number(one.raw.toPrecision(4))} before its weight`;
    return make("li", { class: one.value < 0 ? "summand minus" : "summand", title: `${says} (${one.feature})${raw}`, "data-value": one.value },
      make("span", { class: "name" }, name), make("span", { class: "track" }, bar),
      make("span", { class: "number" }, signed(one.value)));
  });
  return part("What adds up to the score",
    make("ul", { class: against ? "sum both" : "sum" }, rows),
    make("p", { class: "total" }, make("span", {}, "Score"), make("span", { class: "number", title: String(hit.score), "data-value": hit.score }, hit.score.toFixed(5))));
}

const signed = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(5)}`;

function axes(hit) {
  const known = Object.keys(AXES).filter((axis) => hit.axes[axis]);
  if (!known.length) return "";
  return part("Places on the axes", make("table", { class: "axes" },
    make("thead", {}, make("tr", {}, ["Axis", "Rank", "Score"].map((words) => make("th", { scope: "col" }, words)))),
    make("tbody", {}, known.map((axis) => {
      const { rank, score } = hit.axes[axis];
      return make("tr", {}, make("th", { scope: "row", title: AXES[axis].says }, make("i", { class: `dot tone-${axis}` }), AXES[axis].name),
        make("td", {}, rank ? String(rank) : make("span", { class: "soft", title: "not among the candidates of this axis; scored afterwards" }, "outside")),
        make("td", {}, score.toFixed(3)));
    }))));
}

function counterfactuals(hit) {
  if (!hit.counterfactuals?.length) return "";
  return part("What if it were missing", make("ul", { class: "whatif" }, hit.counterfactuals.map((one) => {
    const gone = one.rank === null;
    const tone = gone || one.rank > hit.rank ? "worse" : one.rank < hit.rank ? "better" : "";
    return make("li", { class: tone }, make("span", {}, `Without ${without(one)}`),
      make("span", { class: "number" }, gone ? `rank ${hit.rank} → not among the hits` : one.rank === hit.rank ? "the same place" : `rank ${hit.rank} → ${one.rank}`));
  })));
}

function evidence(hit) {
  if (!hit.evidence.length) return part("Evidence behind it", make("p", { class: "soft" }, "No evidence rows were asked for."));
  return part("Evidence behind it", make("ul", { class: "evidence" }, hit.evidence.map((row) => make("li", { "data-evidence": row.evidence_id },
    make("div", { class: "said" },
      make("span", { class: "kind" }, row.kind.replace("vector.", "vector ")),
      make("span", { class: "words" }, row.text || AXES[row.kind.split(".").pop()]?.says || "vector"),
      row.confidence !== null && make("span", { class: "sure" }, percent(row.confidence))),
    row.confidence !== null && make("div", { class: "level" }, widen(make("i", {}), row.confidence)),
    make("div", { class: "from", title: `evidence ${row.evidence_id}\ntransform ${row.transform}` }, `run ${row.run_id} · transform ${row.transform.slice(0, 12)}`)))));
}

/** Puts model and date to the evidence rows, once the story of the asset is known. */
function dated(analyses) {
  for (const analysis of analyses) {
    for (const said of [...analysis.texts, ...analysis.vectors, ...analysis.measures]) {
      const row = $("why-body").querySelector(`[data-evidence="${CSS.escape(said.evidence_id)}"] .from`);
      if (row && !row.dataset.dated) {
        row.dataset.dated = "yes";
        row.append(` · ${day(analysis.at)}${analysis.model ? ` · ${analysis.model.split(" ")[0]}` : ""}`);
      }
    }
  }
}

function names(hit) {
  const places = hit.uris.map((uri) => make("li", { class: "path" }, readable(uri), button({ class: "link", onclick: (event) => copy(uri, event.target) }, "Copy")));
  return part("Places", make("ul", { class: "paths" }, places),
    make("p", { class: "path" }, hit.asset_id.slice(0, 24), "…", button({ class: "link", onclick: (event) => copy(hit.asset_id, event.target) }, "Copy the id")));
}
