// The work of one labeler: what is before them, what was, and votes on their way. Knows no page.

import { vote, workOf } from "./api.js";

const LOW = 3;
const keyOf = (pair) => `${pair.query_id} ${pair.asset_id}`;

export class Work {
  /** `changed` is called whenever something is other than it was; `failed` with a Problem and what to do about it. */
  constructor(changed, failed) {
    this.changed = changed;
    this.failed = failed;
    this.part = "judge";
    this.progress = null;
    this.seconds = [];
    this.unsent = [];
    this.sending = Promise.resolve();
    this.reset();
  }

  reset() {
    this.waiting = [];
    this.earlier = [];
    this.back = 0;
    this.said = new Set();
    this.loaded = false;
    this.ended = false;
  }

  /** The pair that is judged now: an earlier one after going back, else the first that waits. */
  get current() { return this.back ? this.earlier[this.back - 1] : this.waiting[0] || null; }

  /** Begins with `judge` or `settle`. */
  async begin(part) {
    this.part = part;
    this.reset();
    this.changed();
    await this.fill();
  }

  /** Asks for what waits, behind all votes that are on their way. */
  async fill() {
    const part = this.part;
    await this.sending;
    try {
      const told = await workOf(part);
      if (part !== this.part) return;
      const known = new Set([...this.waiting.map(keyOf), ...this.said]);
      const fresh = told.waiting.filter((pair) => !known.has(keyOf(pair)));
      this.waiting.push(...fresh);
      if (!this.loaded) this.earlier = told.earlier;
      Object.assign(this, { labeler: told.labeler, set: told.set, progress: told.progress, loaded: true });
      this.ended = !this.waiting.length;
      this.changed();
    } catch (problem) {
      this.failed(problem, () => this.fill());
    }
  }

  /** Says something of the current pair; the next one is there at once, the vote follows. */
  say(relevance, seconds) {
    const pair = this.current;
    if (!pair) return;
    const before = pair.said;
    pair.said = { relevance };
    this.said.add(keyOf(pair));
    if (this.back) {
      this.earlier.splice(this.back - 1, 1);
      this.back = 0;
    } else {
      this.waiting.shift();
      this.seconds.push(seconds);
    }
    this.earlier.unshift(pair);
    if (!before && this.progress) this.count();
    this.send({ query_id: pair.query_id, asset_id: pair.asset_id, relevance, part: this.part, seconds });
    if (this.waiting.length < LOW) this.fill();
    this.changed();
  }

  count() {
    const [left, done] = this.part === "judge" ? ["to_judge", "judged"] : ["to_settle", "settled"];
    this.progress = { ...this.progress, [left]: Math.max(0, this.progress[left] - 1), [done]: this.progress[done] + 1 };
  }

  send(said) {
    this.unsent.push(said);
    this.sending = this.sending.then(() => this.flush());
  }

  /** Sends in order; what fails stays, with all behind it. */
  async flush() {
    while (this.unsent.length) {
      try {
        const told = await vote(this.unsent[0]);
        this.unsent.shift();
        if (!this.unsent.length) this.progress = told.progress;
      } catch (problem) {
        if (problem.status === 409 || problem.status === 422) {
          this.unsent.shift();  // it will never be taken: say so, and go on
          this.failed(problem, null);
          continue;
        }
        this.failed(problem, () => { this.sending = this.flush(); this.fill(); });
        return;
      }
    }
    this.changed();
  }

  /** Back to the one before; whether there was one. */
  undo() {
    if (this.back >= this.earlier.length) return false;
    this.back += 1;
    this.changed();
    return true;
  }

  /** Seconds that a pair takes, typically; null before there are any. */
  get pace() {
    if (!this.seconds.length) return null;
    const sorted = [...this.seconds].sort((a, b) => a - b);
    return sorted[Math.floor(sorted.length / 2)];
  }
}
