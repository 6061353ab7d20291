// The pictures of the question: chosen, dropped, pasted, or hits that are wanted or unwanted. Knows the field, no search.

import { $, button, icon, make } from "./dom.js";
import { keep, pictureOf } from "./state.js";
import { showThumb } from "./thumbs.js";

const MOST = 8;
const MOST_BYTES = 32 * 2 ** 20;
const UNLIKE = -0.5;

/** The question with an asset that is wanted: alone after words, beside the others where pictures were shown already. */
export function moreLike(question, assetId) {
  const others = question.examples.filter((one) => one.asset !== assetId);
  const wanted = others.some((one) => one.weight > 0);
  const one = { asset: assetId, weight: 1 };
  return { ...question, text: wanted ? question.text : "", examples: [...others, one].slice(-MOST) };
}

/** The question with an asset that is unwanted. */
export function lessLike(question, assetId) {
  const others = question.examples.filter((one) => one.asset !== assetId);
  return { ...question, examples: [...others, { asset: assetId, weight: UNLIKE }].slice(-MOST) };
}

/** Draws the pictures of a question into the field; `change` takes the question that a press makes. */
export function drawShown(question, change) {
  $("shown").replaceChildren(...question.examples.map((one, place) => {
    const rest = { ...question, examples: question.examples.filter((_, at) => at !== place) };
    const turned = { ...question, examples: question.examples.map((other, at) => (at === place ? { ...other, weight: one.weight > 0 ? UNLIKE : 1 } : other)) };
    const wanted = one.weight > 0;
    const name = one.asset ? (wanted ? "more like this" : "less like this") : pictureOf(one.image)?.file.name || "picture";
    return make("li", { class: `example ${wanted ? "" : "unwanted"}`, title: name },
      pictureIn(one),
      make("span", { class: "hidden" }, name),
      button({ class: "sign", title: wanted ? "Make it: less like this" : "Make it: more like this", "aria-label": `${name}: turn round`, onclick: () => change(turned) }, icon(wanted ? "more" : "less")),
      button({ class: "off", title: "Take it away", "aria-label": `Remove the picture: ${name}`, onclick: () => change(rest) }, icon("close")));
  }));
}

function pictureIn(one) {
  const image = make("img", { alt: "", width: 34, height: 34 });
  if (one.asset) return showThumb(image, one.asset);
  const picture = pictureOf(one.image);
  if (picture) image.src = picture.url;
  image.addEventListener("error", () => image.classList.add("failed"));
  return image;
}

/** The examples as the service takes them. Pictures this tab does not have are left out; `missing` counts those. */
export async function examplesOf(question) {
  const sent = await Promise.all(question.examples.map(async (one) => {
    if (one.asset) return { asset_id: one.asset, weight: one.weight };
    const picture = pictureOf(one.image);
    return picture && { image: await encoded(picture.file), weight: one.weight };
  }));
  const there = sent.filter(Boolean);
  return { examples: there, missing: sent.length - there.length };
}

function encoded(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

/** Watches for pictures: `take(examples)` gets those that came in one go, `refuse(words)` why none did. */
export function watchPictures(take, refuse) {
  const files = (list) => {
    const given = [...list].slice(0, MOST);
    const large = given.find((file) => file.size > MOST_BYTES);
    if (large) refuse(`${large.name || "The picture"} has more than 32 MiB.`);
    else if (given.length) take(given.map((file) => ({ image: keep(file), weight: 1 })));
  };
  $("image").addEventListener("change", (event) => { files(event.target.files); event.target.value = ""; });
  document.addEventListener("paste", (event) => {
    const given = [...(event.clipboardData?.files || [])].filter((file) => file.type.startsWith("image/"));
    if (given.length) { event.preventDefault(); files(given); }
  });
  watchDrops(files, take);
}

function watchDrops(files, take) {
  const carries = (event) => [...event.dataTransfer.types].some((type) => type === "Files" || type === "application/x-ecm-asset");
  document.addEventListener("dragover", (event) => {
    if (!carries(event)) return;
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dropping"); });
  document.addEventListener("dragend", () => document.body.classList.remove("dropping"));
  document.addEventListener("drop", (event) => {
    document.body.classList.remove("dropping");
    if (!carries(event)) return;
    event.preventDefault();
    const asset = event.dataTransfer.getData("application/x-ecm-asset");
    if (asset) take([{ asset, weight: 1 }]);
    else files(event.dataTransfer.files);
  });
}
