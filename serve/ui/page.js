// The page: which view is shown, what is in the address, and how the parts are joined. Asks nothing itself.

import { hasKey, namedTenant, useKey, whenLocked } from "./api.js";
import { forgetOriginal, forgetStories } from "./asset.js";
import { $ } from "./dom.js";
import { left, opened as told } from "./feedback.js";
import { focusCard, listen } from "./keyboard.js";
import { tell } from "./notices.js";
import { closeRuns, openRuns } from "./runs.js";
import { current, show, wire } from "./search.js";
import { lessLike, moreLike, watchPictures } from "./shown.js";
import { drawStart, forgetSample } from "./start.js";
import { asks, blank, filtered, fromAddress, picked, toAddress } from "./state.js";
import { forgetThumbs } from "./thumbs.js";
import { drawWhy } from "./why.js";

const WHY = "#/why/";
const RUNS = "#/runs";
const NARROW = window.matchMedia("(max-width: 1000px)");

let shownAddress = null;
let opened = null;

/* ---- the address ---- */

/** Asks another question: a step that can be gone back. */
function navigate(question) {
  const address = location.pathname + toAddress(question);
  opened = null;
  if (history.state?.why) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  render();
}

async function render(anew = false) {
  const runs = location.hash === RUNS;
  document.body.classList.add("ready");
  $("runs-view").hidden = !runs;
  $("search-view").hidden = runs;
  $("runs-tab").toggleAttribute("aria-current", runs);
  if (runs) { $("why").close(); openRuns($("runs-view"), askKey); return; }
  closeRuns();
  if (!location.hash.startsWith(WHY) && $("why").open) $("why").close();
  if (anew || location.search !== shownAddress) {
    shownAddress = location.search;
    const question = fromAddress(location.search);
    frame(question);
    await show(question);
  }
  openFromAddress();
}

/** The filters have a place where there is a search to narrow. */
function frame(question) {
  const useful = asks(question) || filtered(question) > 0;
  $("side").hidden = !useful || NARROW.matches;
  $("open-filters").hidden = !useful || !NARROW.matches;
  document.body.classList.toggle("at-start", !useful);
}

/* ---- the panel ---- */

const hits = () => [...$("hits").children].filter((card) => card.hit);

function openWhy(hit) {
  opened = hit;
  const place = location.pathname + location.search + WHY + hit.asset_id.slice(0, 16);
  if (location.hash.startsWith(WHY)) history.replaceState(history.state, "", place);
  else history.pushState({ why: true }, "", place);
  if (!$("why").open) $("why").showModal();
  drawWhy(hit, acts);
  $("why-body").scrollTop = 0;
  const all = hits();
  const at = all.findIndex((card) => card.hit === hit);
  told(hit, all[at]?.query);
  $("why-previous").disabled = at <= 0;
  $("why-next").disabled = at < 0 || at === all.length - 1;
}

function openFromAddress() {
  if (!location.hash.startsWith(WHY) || $("why").open) return;
  const start = location.hash.slice(WHY.length);
  const card = hits().find((one) => one.hit.asset_id.startsWith(start));
  if (card) openWhy(card.hit);
}

function closedWhy() {
  left();
  const card = hits().find((one) => one.hit === opened);
  if (card && !$("search-view").hidden) focusCard(card);
  opened = null;
  if (!location.hash.startsWith(WHY)) return;
  if (history.state?.why) history.back();
  else history.replaceState(null, "", location.pathname + location.search);
}

const acts = {
  open: openWhy,
  opened: () => opened,
  more: (hit) => navigate(moreLike(current(), hit.asset_id)),
  less: (hit) => navigate(lessLike(current(), hit.asset_id)),
  tag: (tag) => navigate(picked(current(), "tags", tag)),
  step: (by) => {
    const all = hits();
    const next = all[all.findIndex((card) => card.hit === opened) + by];
    if (next) { openWhy(next.hit); next.scrollIntoView({ block: "nearest" }); }
  },
  filters: () => {
    if (!$("side").hidden) $("filters").querySelector("summary, button")?.focus();
    else if (!$("open-filters").hidden) openDrawer();
  },
};

/* ---- the drawer, the key, the theme ---- */

function openDrawer() {
  $("drawer-body").append($("filters"));
  $("drawer").showModal();
}

function askKey() {
  $("key").hidden = false;
  $("key-tenant").value = namedTenant();
  if (!$("key-dialog").open) $("key-dialog").showModal();
}

function usedKey() {
  useKey($("key-text").value.trim(), $("key-tenant").value.trim());
  $("key-text").value = "";
  forgetThumbs();
  forgetStories();
  forgetSample();
  render(true);
}

const THEMES = ["auto", "light", "dark"];

function drawTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const said = `Theme: ${theme === "auto" ? "as the system" : theme}`;
  $("theme").title = said;
  $("theme").setAttribute("aria-label", said);
}

function turnTheme() {
  const theme = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme || "auto") + 1) % THEMES.length];
  localStorage.setItem("ecm-theme", theme);
  drawTheme(theme);
}

/* ---- wiring ---- */

wire({ navigate, acts, askKey, start: () => {
  const at = location.search;
  drawStart(() => at === location.search && location.hash !== RUNS && !asks(current()), { navigate, like: (id) => navigate(moreLike(blank(), id)), askKey });
} });
listen(acts);
watchPictures(
  (examples) => navigate({ ...current(), text: $("text").value.trim(), examples: [...current().examples, ...examples].slice(-8) }),
  (words) => tell(words),
);
whenLocked(askKey);

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const question = { ...current(), text: $("text").value.trim() };
  if (!asks(question) && !filtered(question)) { $("text").focus(); return; }
  if (toAddress(question) === location.search && location.hash !== RUNS) render(true);
  else navigate(question);
  if (NARROW.matches) $("text").blur();
});
$("brand").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  navigate(blank());
});
$("why-close").addEventListener("click", () => $("why").close());
$("why-previous").addEventListener("click", () => acts.step(-1));
$("why-next").addEventListener("click", () => acts.step(1));
$("why").addEventListener("close", closedWhy);
$("open-filters").addEventListener("click", openDrawer);
$("drawer-close").addEventListener("click", () => $("drawer").close());
$("drawer-done").addEventListener("click", () => $("drawer").close());
$("drawer").addEventListener("close", () => $("side").append($("filters")));
$("viewer-close").addEventListener("click", () => $("viewer").close());
$("viewer").addEventListener("close", forgetOriginal);
for (const id of ["why", "drawer", "viewer", "keys"]) {
  $(id).addEventListener("click", (event) => { if (event.target === $(id)) $(id).close(); });
}
$("key").hidden = !hasKey();
$("key").addEventListener("click", askKey);
$("key-cancel").addEventListener("click", () => $("key-dialog").close());
$("key-form").addEventListener("submit", usedKey);
$("theme").addEventListener("click", turnTheme);
$("help").addEventListener("click", () => $("keys").showModal());
NARROW.addEventListener("change", () => { $("drawer").close(); frame(current()); });
window.addEventListener("popstate", () => render());
drawTheme(document.documentElement.dataset.theme || "auto");
render(true);
