// The server: what waits, and votes. Knows no page.

/** A refusal or failure in words for people. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || `The server answered ${status}.`);
    this.status = status;
    this.code = body.code || "";
  }
}

async function reach(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    throw new Problem(0, { detail: "The server cannot be reached. Is it still running?" });
  }
  if (answer.ok) return answer.json();
  throw new Problem(answer.status, await answer.json().catch(() => ({})));
}

export const workOf = (part) => reach(`api/work?part=${part}`);

export const vote = (said) => reach("api/votes", {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(said),
});

export const pictureOf = (asset, size) => `api/pictures/${encodeURIComponent(asset)}?size=${size}`;
