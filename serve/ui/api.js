// The service: requests under /v1 with the caller's key, and failures as Problems. Knows no page.

const KEY = "ecm-api-key";
const TENANT = "ecm-tenant";

/** A refusal or failure in words for people; `wait` is how many seconds the service asks for. */
export class Problem extends Error {
  constructor(status, body, wait = null) {
    super(body.detail || body.title || `The service answered ${status}.`);
    this.status = status;
    this.code = body.code || "";
    this.hint = body.hint || "";
    this.request = body.request_id || "";
    this.wait = wait;
  }

  /** Whether the same may go well a little later. */
  get passes() { return this.status === 429 || this.status === 503; }
}

/** What this tab is called in feedback, and towards experiments: nobody's name, and gone with the tab. */
export const session = crypto.getRandomValues(new Uint32Array(4)).join("-");

const locked = new Set();

/** Calls `told` whenever the service refuses for want of a key. */
export const whenLocked = (told) => locked.add(told);

export const hasKey = () => Boolean(sessionStorage.getItem(KEY));
export const namedTenant = () => sessionStorage.getItem(TENANT) || "";

/** Keeps a key, and for operators a tenant, in this tab only. */
export function useKey(key, tenant = "") {
  for (const [name, value] of [[KEY, key], [TENANT, tenant]]) {
    if (value) sessionStorage.setItem(name, value);
    else sessionStorage.removeItem(name);
  }
}

function headers(extra) {
  const key = sessionStorage.getItem(KEY);
  const tenant = sessionStorage.getItem(TENANT);
  return { ...extra, ...(key ? { "X-API-Key": key } : {}), ...(key && tenant ? { "X-Tenant": tenant } : {}) };
}

/** The answer of the service whatever its type. Raises Problem, and AbortError when stopped. */
export async function reach(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: headers(options.headers) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The service cannot be reached.", hint: "Is it still running, and are you online?" });
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  const wait = Number(answer.headers.get("Retry-After"));
  if (answer.status === 401) locked.forEach((told) => told());
  throw new Problem(answer.status, body, Number.isFinite(wait) && wait > 0 ? wait : null);
}

export const get = async (path, signal) => (await reach(path, { signal })).json();

export async function post(path, body, signal) {
  const sent = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal };
  const answer = await reach(path, sent);
  return answer.status === 204 ? null : answer.json();
}

let described = null;

/** Whether this service has a route, as its own description tells: what it lacks is not asked for. */
export async function offers(route, method = "get") {
  described ??= get("v1/openapi.json").then((told) => told.paths || {});
  try {
    return Boolean((await described)[route]?.[method]);
  } catch (problem) {
    described = null;
    throw problem;
  }
}

/** What a route answers; null where the service has no such route or has it for others. */
export async function perhaps(path, signal) {
  if (!(await offers(`/${path.split("?")[0]}`))) return null;
  try {
    return await get(path, signal);
  } catch (problem) {
    if (problem.status === 403) return null;
    throw problem;
  }
}

/** The answer to a question, and the id of the request that brought it. */
export async function search(body, signal) {
  const headers = { "Content-Type": "application/json", "X-Ecm-Session": session };
  const sent = { method: "POST", headers, body: JSON.stringify(body), signal };
  const answer = await reach("v1/search", sent);
  return { ...(await answer.json()), request_id: answer.headers.get("X-Request-Id") };
}

export const ofAsset = (id, part = "") => `v1/assets/${encodeURIComponent(id)}${part && `/${part}`}`;
