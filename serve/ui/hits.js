// The grid of hits: cards in rows that keep every picture's proportions. Knows a hit, not how it was found.

import { button, fileName, icon, make, percent, readable, widen } from "./dom.js";
import { feature } from "./words.js";
import { showThumb } from "./thumbs.js";

const NARROWEST = 0.62;
const WIDEST = 2.3;

export const captionOf = (hit) => hit.caption || hit.tags.slice(0, 4).join(", ") || fileName(hit);

/** Proportions a card has from the start, so that nothing moves when its picture comes. */
export function ratioOf(hit) {
  const ratio = hit.width && hit.height ? hit.width / hit.height : 1;
  return Math.min(WIDEST, Math.max(NARROWEST, ratio));
}

/** The score as one line of colours: what is for the hit, by what it is, as wide as the hit is good. */
function mix(hit, best) {
  const bar = make("div", { class: "mix", "aria-hidden": "true" });
  const wanted = hit.contributions.filter((part) => part.value > 0);
  const whole = wanted.reduce((sum, part) => sum + part.value, 0) || 1;
  const scale = best > 0 ? Math.max(0, hit.score) / best : 1;
  wanted.forEach((part) => bar.append(widen(make("i", { class: `tone-${feature(part.feature).tone}` }), (part.value / whole) * scale)));
  return bar;
}

/** A card. `acts` has open(hit), more(hit), less(hit). */
export function card(hit, best, acts) {
  const caption = captionOf(hit);
  const image = make("img", { alt: "", loading: "lazy", decoding: "async", draggable: false });
  const picture = button(
    { class: "picture", tabIndex: -1, "aria-label": `Hit ${hit.rank}: ${caption}`, draggable: true, onclick: () => acts.open(hit) },
    image,
  );
  picture.addEventListener("dragstart", (event) => {
    event.dataTransfer.setData("application/x-ecm-asset", hit.asset_id);
    event.dataTransfer.effectAllowed = "copy";
  });
  const relevance = hit.relevance === null || hit.relevance === undefined ? null
    : make("span", { class: "relevance", title: "how well it answers, comparable between questions" }, percent(hit.relevance));
  const made = make("li", { class: "card" },
    picture,
    make("div", { class: "below" },
      make("p", { class: "caption", title: readable(hit.uris[0] || "") }, caption),
      mix(hit, best),
      make("div", { class: "line" },
        make("span", { class: "rank" }, `#${hit.rank}`), relevance,
        make("span", { class: "acts" },
          button({ class: "act", tabIndex: -1, title: "More like this (m)", "aria-label": `More like hit ${hit.rank}`, onclick: () => acts.more(hit) }, icon("more")),
          button({ class: "act", tabIndex: -1, title: "Less like this (x)", "aria-label": `Less like hit ${hit.rank}`, onclick: () => acts.less(hit) }, icon("less")),
          button({ class: "act why", tabIndex: -1, title: "Why is it here? (w)", "aria-label": `Why is hit ${hit.rank} here?`, onclick: () => acts.open(hit) }, "Why?"),
        ))));
  made.style.setProperty("--ratio", ratioOf(hit).toFixed(4));
  made.hit = hit;
  showThumb(image, hit.asset_id);
  return made;
}

/** Cards that stand for hits to come. */
export const skeletons = (number) => Array.from({ length: number }, (_, place) => {
  const made = make("li", { class: "card skeleton", "aria-hidden": "true" }, make("div", { class: "picture" }), make("div", { class: "below" }, make("p", { class: "caption" })));
  made.style.setProperty("--ratio", [1.5, 0.75, 1.33, 1, 1.5, 0.67][place % 6]);
  return made;
});
