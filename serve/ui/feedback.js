// What a person opened and how long they looked: told to the service, so that its ranking can be judged by it.
// That a hit was shown, the service knows itself. Nobody waits for any of this.

import { post, session } from "./api.js";

const SHORTEST = 1;

let looked = null;
let refused = false;

/** A hit was opened; `query` is the request that brought it, and may be unknown. */
export function opened(hit, query) {
  left();
  if (!query) return;
  looked = { hit, query, at: Date.now() };
  tell({ kind: "click", query_id: query, asset_id: hit.asset_id, rank: hit.rank });
}

/** The hit that was open is not looked at any more. */
export function left() {
  if (!looked) return;
  const seconds = (Date.now() - looked.at) / 1000;
  const { hit, query } = looked;
  looked = null;
  if (seconds >= SHORTEST) tell({ kind: "dwell", query_id: query, asset_id: hit.asset_id, seconds: Math.min(86_400, seconds) });
}

async function tell(event) {
  if (refused) return;
  try {
    await post("v1/feedback", { events: [{ at: Date.now() / 1000, session, ...event }] });
  } catch (problem) {
    // Worth less than one more request where it is not taken; a passing failure is not worth a word.
    refused = [403, 404, 405, 422].includes(problem.status);
  }
}

window.addEventListener("pagehide", left);
