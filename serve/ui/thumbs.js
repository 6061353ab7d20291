// Thumbnails: asked for when they come near the window. With a key they are fetched, a few at a time, and
// remembered for as long as there is room; without one the browser does all of that itself.

import { hasKey, ofAsset, reach } from "./api.js";

const AT_ONCE = 6;
const KEPT = 600;

const made = new Map();
const waiting = [];
let running = 0;

const near = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    near.unobserve(entry.target);
    waiting.push(entry.target);
  }
  next();
}, { rootMargin: "600px" });

/** Shows the thumbnail of an asset in an <img>; `loaded` or `failed` becomes one of its classes. */
export function showThumb(image, assetId) {
  image.dataset.asset = assetId;
  image.addEventListener("load", () => image.classList.add("loaded"), { once: true });
  image.addEventListener("error", () => image.classList.add("failed"), { once: true });
  if (!hasKey()) image.src = ofAsset(assetId, "thumbnail");
  else if (made.has(assetId)) image.src = made.get(assetId);
  else near.observe(image);
  return image;
}

/** Forgets what another key was allowed to see. */
export function forgetThumbs() {
  made.forEach((url) => URL.revokeObjectURL(url));
  made.clear();
}

function next() {
  while (running < AT_ONCE && waiting.length) {
    const image = waiting.shift();
    if (!image.isConnected) continue;
    running += 1;
    fill(image).finally(() => { running -= 1; next(); });
  }
}

async function fill(image) {
  const id = image.dataset.asset;
  try {
    if (!made.has(id)) {
      const answer = await reach(ofAsset(id, "thumbnail"));
      remember(id, URL.createObjectURL(await answer.blob()));
    }
    image.src = made.get(id);
  } catch {
    // The card stays, with its caption and without its picture.
    image.classList.add("failed");
  }
}

function remember(id, url) {
  made.set(id, url);
  if (made.size <= KEPT) return;
  const [oldest, old] = made.entries().next().value;
  made.delete(oldest);
  URL.revokeObjectURL(old);
}
