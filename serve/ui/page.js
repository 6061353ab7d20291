// The search page. Talks to /v1 only; everything shown comes in through textContent.
"use strict";

const AXES = {
  vv: { name: "Look", says: "visual vector" },
  x: { name: "Layout", says: "structure vector" },
  mv: { name: "Meaning", says: "meaning vector" },
  fts: { name: "Words", says: "full text" },
};
const EXAMPLES = ["dog", "a street at night", "boats on the water", "red, bright background"];
const KEY = "ecm-api-key";
const $ = (id) => document.getElementById(id);

const state = { question: null, cursor: null, asked: 0, image: null, like: "" };

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined && text !== null) made.textContent = text;
  return made;
}

function clear(...nodes) { nodes.forEach((node) => node.replaceChildren()); }

/* ---- the service ---- */

class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The service answered ${status}.`);
    this.status = status;
    this.hint = body.hint || "";
  }
}

function headers(extra) {
  const key = sessionStorage.getItem(KEY);
  return key ? { ...extra, "X-API-Key": key } : { ...extra };
}

async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: headers(options.headers) });
  } catch {
    throw new Problem(0, { detail: "The service cannot be reached. Is it still running?" });
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    if (answer.status === 401) askKey();
    throw new Problem(answer.status, body);
  }
  return body;
}

function ask(question, cursor) {
  if (question.image) {
    const form = new FormData();
    form.append("image", question.image, question.image.name || "image");
    if (question.text) form.append("text", question.text);
    if (cursor) form.append("cursor", cursor);
    return call("v1/search/image", { method: "POST", body: form });
  }
  const body = { limit: 20 };
  if (question.text) body.text = question.text;
  if (question.like) body.asset_id = question.like;
  if (cursor) body.cursor = cursor;
  return call("v1/search", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
}

async function show(image, assetId) {
  const path = `v1/assets/${encodeURIComponent(assetId)}/thumbnail`;
  if (!sessionStorage.getItem(KEY)) { image.src = path; return; }
  const answer = await fetch(path, { headers: headers() });
  if (!answer.ok) return;
  const url = URL.createObjectURL(await answer.blob());
  image.addEventListener("load", () => URL.revokeObjectURL(url), { once: true });
  image.src = url;
}

/* ---- asking ---- */

async function search(question, { remember = true } = {}) {
  if (!question.text && !question.image && !question.like) { $("text").focus(); return; }
  const asked = ++state.asked;
  state.question = question;
  state.cursor = null;
  $("why").close();
  $("text").value = question.text || "";
  if (!question.image) showAsked(question.like || "");
  if (remember) rememberInAddress(question);
  $("hits").classList.add("busy");
  clear($("notices"));
  say("Searching…");
  try {
    const answer = await ask(question);
    if (asked !== state.asked) return;
    clear($("hits"));
    showAnswer(answer);
  } catch (problem) {
    if (asked === state.asked) showProblem(problem);
  } finally {
    if (asked === state.asked) $("hits").classList.remove("busy");
  }
}

async function more() {
  const asked = state.asked;
  $("more").disabled = true;
  try {
    const answer = await ask(state.question, state.cursor);
    if (asked !== state.asked) return;
    const first = $("hits").children.length;
    showAnswer(answer);
    $("hits").children[first]?.querySelector("button").focus();
  } catch (problem) {
    if (asked === state.asked) showProblem(problem, { keep: true });
  } finally {
    $("more").disabled = false;
  }
}

function rememberInAddress(question) {
  const place = new URLSearchParams();
  if (question.text) place.set("q", question.text);
  if (question.like) place.set("like", question.like);
  const text = place.toString();
  history.pushState(null, "", text ? `?${text}` : location.pathname);
}

function fromAddress() {
  const place = new URLSearchParams(location.search);
  const question = { text: place.get("q") || "", like: place.get("like") || "" };
  if (question.text || question.like) search(question, { remember: false });
  else start();
}

function start() {
  state.asked += 1;
  clear($("hits"), $("notices"), $("status"));
  $("text").value = "";
  choose(null);
  $("more").hidden = true;
  showEmpty("Ask your images", "Type what you are looking for, or drop an image to find others like it. " +
    "Every hit shows which model run put it there.", EXAMPLES);
  tellSnapshot();
}

async function tellSnapshot() {
  try {
    const seen = await call("v1/snapshot");
    const images = `${seen.assets.toLocaleString()} ${seen.assets === 1 ? "image" : "images"}`;
    $("snapshot").textContent = `${images} · snapshot ${seen.snapshot_id} · ranking ${seen.ranking_profile}`;
  } catch (problem) {
    if (problem.status !== 401) showProblem(problem, { keep: true });
  }
}

/* ---- showing ---- */

function say(...parts) {
  $("status").replaceChildren(...parts.map((part) => (typeof part === "string" ? element("span", "", part) : part)));
}

function showEmpty(title, text, examples = []) {
  $("empty").hidden = false;
  $("empty-title").textContent = title;
  $("empty-text").textContent = text;
  $("examples").replaceChildren(...examples.map((example) => {
    const item = element("li");
    const button = element("button", "", example);
    button.type = "button";
    button.addEventListener("click", () => search({ text: example }));
    item.append(button);
    return item;
  }));
}

function showProblem(problem, { keep = false } = {}) {
  if (!keep) { clear($("hits")); $("more").hidden = true; $("empty").hidden = true; }
  const notice = element("p", "notice bad", problem.message);
  if (problem.hint) notice.append(` ${problem.hint}`);
  notice.setAttribute("role", "alert");
  $("notices").replaceChildren(notice);
  clear($("status"));
}

function showAnswer(answer) {
  state.cursor = answer.cursor;
  $("more").hidden = !answer.cursor;
  $("notices").replaceChildren(...answer.degraded.map((lost) => {
    const axis = AXES[lost.axis] || { name: lost.axis };
    return element("p", "notice", `${axis.name} did not take part: ${lost.reason}. ${lost.effect}`);
  }));
  const best = Number($("hits").dataset.best) || 0;
  const top = $("hits").children.length && best ? best : answer.hits[0]?.score || 1;
  $("hits").dataset.best = top;
  $("hits").append(...answer.hits.map((hit) => card(hit, answer, top)));
  const shown = $("hits").children.length;
  $("empty").hidden = shown > 0;
  if (!shown) showEmpty("Nothing found", "No image of this snapshot answers that. Try other words, or an image.");
  const count = element("b", "", `${shown}${answer.cursor ? "+" : ""} ${shown === 1 ? "hit" : "hits"}`);
  say(count, element("span", "pill", `${answer.query_type} query`), `${Math.round(answer.took_ms)} ms`);
  $("snapshot").textContent = `snapshot ${answer.snapshot_id} · ranking ${answer.ranking_profile}`;
}

function card(hit, answer, top) {
  const made = $("card").content.firstElementChild.cloneNode(true);
  const caption = hit.caption || hit.tags.join(", ") || fileName(hit);
  const image = made.querySelector("img");
  image.alt = caption;
  image.addEventListener("load", () => image.classList.add("loaded"));
  show(image, hit.asset_id);
  made.querySelector(".caption").textContent = caption;
  made.querySelector(".rank").textContent = `#${hit.rank}`;
  made.querySelector(".score").textContent = hit.score.toFixed(4);
  made.querySelector(".score").title = "fused score";
  made.querySelector(".mix").append(...hit.contributions.map((part) => bar(part, hit.score, hit.score / top)));
  const why = made.querySelector(".why");
  why.setAttribute("aria-label", `Why is hit ${hit.rank} here?`);
  made.querySelectorAll("button").forEach((button) => button.addEventListener("click", () => openWhy(hit, answer)));
  made.querySelector(".picture").setAttribute("aria-label", `Hit ${hit.rank}: ${caption}`);
  return made;
}

function axisOf(contribution) { return contribution.feature.split(".").pop(); }

function bar(contribution, whole, scale = 1) {
  const made = element("div", axisOf(contribution));
  made.style.width = `${Math.max(0, Math.min(100, (100 * scale * contribution.value) / (whole || 1)))}%`;
  return made;
}

function fileName(hit) {
  const uri = hit.uris[0] || "";
  try { return decodeURIComponent(uri.split("/").pop()); } catch { return uri.split("/").pop(); }
}

function openWhy(hit, answer) {
  const body = $("why-body");
  const image = element("img");
  image.alt = hit.caption || "";
  show(image, hit.asset_id);
  body.replaceChildren(image, about(hit), axes(hit), evidence(hit), actions(hit));
  $("why-title").textContent = `Why is this hit ${hit.rank}?`;
  if (!$("why").open) $("why").showModal();
  $("why").scrollTop = 0;
  body.dataset.snapshot = answer.snapshot_id;
}

function about(hit) {
  const part = element("div");
  part.append(element("p", "because", hit.why || "Explanations were not asked for."));
  const size = hit.width ? ` · ${hit.width} × ${hit.height}` : "";
  hit.uris.forEach((uri, place) => part.append(element("p", "path", readable(uri) + (place ? "" : size))));
  return part;
}

function readable(uri) {
  try { return decodeURIComponent(uri.replace(/^file:\/\//, "")); } catch { return uri; }
}

function axes(hit) {
  const part = element("div");
  part.append(element("h3", "", "What each axis adds to the score"));
  const added = new Map(hit.contributions.map((one) => [axisOf(one), one]));
  const most = Math.max(...hit.contributions.map((one) => one.value), 1e-12);
  Object.keys(AXES).filter((axis) => hit.axes[axis] || added.has(axis)).forEach((axis) => {
    const row = element("div", "axis");
    const name = element("span", "", AXES[axis].name);
    name.title = AXES[axis].says;
    const track = element("div", "track");
    const one = added.get(axis);
    if (one) track.append(bar(one, most));
    const place = hit.axes[axis];
    const where = !place ? "not scored" : place.rank ? `rank ${place.rank}` : "outside the candidates";
    const score = place ? `${where} · ${AXES[axis].says} score ${place.score.toFixed(3)}` : where;
    row.append(name, track, element("span", "value", one ? `+${one.value.toFixed(5)}` : "0"), element("span", "place", score));
    part.append(row);
  });
  const total = element("div", "total");
  total.append(element("span", "", "Score"), element("span", "", hit.score.toFixed(5)));
  part.append(total);
  return part;
}

function evidence(hit) {
  const part = element("div");
  part.append(element("h3", "", "Evidence behind it"));
  const list = element("ul", "evidence");
  hit.evidence.forEach((row) => {
    const item = element("li");
    const said = element("div", "said");
    said.append(element("span", "kind", row.kind), element("span", "", row.text || "vector"));
    if (row.confidence !== null) said.append(element("span", "sure", `${(100 * row.confidence).toFixed(1)} %`));
    const from = element("div", "from", `run ${row.run_id} · transform ${row.transform.slice(0, 12)}`);
    from.title = `evidence ${row.evidence_id}\ntransform ${row.transform}`;
    item.append(said, from);
    list.append(item);
  });
  if (!hit.evidence.length) list.append(element("li", "", "No evidence rows were asked for."));
  part.append(list);
  return part;
}

function actions(hit) {
  const part = element("div", "actions");
  const like = element("button", "primary", "More like this");
  like.type = "button";
  like.addEventListener("click", () => search({ like: hit.asset_id }));
  const link = element("a", "", "All its evidence (JSON)");
  link.href = `v1/assets/${encodeURIComponent(hit.asset_id)}`;
  part.append(like, link);
  return part;
}

/* ---- the image that is asked with ---- */

function showAsked(assetId) {
  choose(null);
  state.like = assetId;
  $("chosen").hidden = !assetId;
  if (!assetId) return;
  $("chosen-image").hidden = false;
  $("chosen-name").textContent = "more like this";
  show($("chosen-image"), assetId);
}

function choose(file) {
  if (state.image) URL.revokeObjectURL($("chosen-image").src);
  state.image = file;
  state.like = "";
  $("chosen").hidden = !file;
  $("image").value = "";
  if (!file) return;
  $("chosen-image").hidden = false;
  $("chosen-image").src = URL.createObjectURL(file);
  $("chosen-name").textContent = file.name || "pasted image";
}

function take(file) {
  if (!file) return;
  choose(file);
  search({ text: $("text").value.trim(), image: file });
}

function askKey() {
  $("key").hidden = false;
  if (!$("key-dialog").open) $("key-dialog").showModal();
}

/* ---- wiring ---- */

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  search({ text: $("text").value.trim(), image: state.image, like: state.like });
});
$("image").addEventListener("change", (event) => take(event.target.files[0]));
$("unchoose").addEventListener("click", () => {
  choose(null);
  const text = $("text").value.trim();
  if (text) search({ text }); else { history.pushState(null, "", location.pathname); start(); }
});
$("chosen-image").addEventListener("error", () => { $("chosen-image").hidden = true; });
$("more").addEventListener("click", more);
$("why-close").addEventListener("click", () => $("why").close());
$("why").addEventListener("click", (event) => { if (event.target === $("why")) $("why").close(); });
$("key").addEventListener("click", askKey);
$("key-form").addEventListener("submit", () => {
  sessionStorage.setItem(KEY, $("key-text").value.trim());
  if (state.question) search(state.question, { remember: false }); else tellSnapshot();
});
document.addEventListener("dragover", (event) => { event.preventDefault(); document.body.classList.add("dropping"); });
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  take([...event.dataTransfer.files].find((file) => file.type.startsWith("image/")) || event.dataTransfer.files[0]);
});
document.addEventListener("paste", (event) => {
  const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
  if (file) take(file);
});
window.addEventListener("popstate", fromAddress);
fromAddress();
