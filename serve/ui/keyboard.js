// The keyboard: one hit of the grid can be reached by Tab, arrows go from there. Knows nodes, asks nothing.

import { $ } from "./dom.js";

const cards = () => [...$("hits").children].filter((card) => card.hit);
const pictureOf = (card) => card.querySelector(".picture");

/** The card that has the focus, or null. */
export const focused = () => document.activeElement?.closest?.("#hits > .card") || null;

/** Puts the focus on a card, and makes it the one that Tab comes back to. */
export function focusCard(card) {
  $("hits").querySelectorAll('[tabindex="0"]').forEach((node) => node.setAttribute("tabindex", "-1"));
  card.querySelectorAll("button").forEach((node) => node.setAttribute("tabindex", "0"));
  pictureOf(card).focus();
}

/** The card in a row below (1) or above (-1) that lies most nearly under or over this one. */
function beside(card, rows) {
  const from = card.getBoundingClientRect();
  const middle = from.left + from.width / 2;
  const others = cards().map((other) => ({ other, box: other.getBoundingClientRect() }));
  const beyond = others.filter(({ box }) => (rows > 0 ? box.top >= from.bottom - 1 : box.bottom <= from.top + 1));
  if (!beyond.length) return null;
  const edge = rows > 0 ? Math.min(...beyond.map(({ box }) => box.top)) : Math.max(...beyond.map(({ box }) => box.top));
  const row = beyond.filter(({ box }) => Math.abs(box.top - edge) < 4);
  const apart = ({ box }) => Math.abs(box.left + box.width / 2 - middle);
  return row.reduce((near, one) => (apart(one) < apart(near) ? one : near)).other;
}

function moved(card, key) {
  const all = cards();
  const place = all.indexOf(card);
  if (key === "ArrowRight") return all[place + 1];
  if (key === "ArrowLeft") return all[place - 1];
  if (key === "ArrowDown") return beside(card, 1);
  if (key === "ArrowUp") return beside(card, -1);
  if (key === "Home") return all[0];
  if (key === "End") return all.at(-1);
  return null;
}

const writes = (node) => node?.matches?.("input:not([type=checkbox]), textarea, select") || false;

/** Listens. `acts` has open(hit), more(hit), less(hit), filters(), step(by) for the open panel. */
export function listen(acts) {
  $("hits").addEventListener("focusin", (event) => {
    const card = event.target.closest(".card");
    if (card?.hit && pictureOf(card).tabIndex !== 0) focusCard(card);
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (document.querySelector("dialog[open]")) inPanel(event, acts);
    else if (!writes(event.target)) onPage(event, acts);
    else if (event.target === $("text")) inField(event);
  });
}

function inPanel(event, acts) {
  if (!$("why").open || $("viewer").open || writes(event.target)) return;
  if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
    event.preventDefault();
    acts.step(event.key === "ArrowRight" ? 1 : -1);
  }
  if (event.key === "m") acts.more(acts.opened());
  if (event.key === "x") acts.less(acts.opened());
  if (event.key === "w") $("why").close();
}

function inField(event) {
  if (event.key === "Escape" && !$("text").value) $("text").blur();
  if (event.key !== "ArrowDown") return;
  const [first] = cards();
  if (first) { event.preventDefault(); focusCard(first); }
}

function onPage(event, acts) {
  const card = focused();
  const to = card && moved(card, event.key);
  if (to) {
    event.preventDefault();
    focusCard(to);
    to.scrollIntoView({ block: "nearest" });
  } else if (card && event.key === "ArrowUp" || event.key === "/" || (card && event.key === "Escape")) {
    event.preventDefault();
    $("text").focus();
    $("text").select();
  } else if (event.key === "?") {
    $("keys").showModal();
  } else if (event.key === "f") {
    event.preventDefault();
    acts.filters();
  } else if (!card && event.key === "ArrowDown" && event.target === document.body && cards().length) {
    event.preventDefault();
    focusCard(cards()[0]);
  } else if (card && ["w", "m", "x"].includes(event.key)) {
    event.preventDefault();
    ({ w: acts.open, m: acts.more, x: acts.less })[event.key](card.hit);
  }
}
