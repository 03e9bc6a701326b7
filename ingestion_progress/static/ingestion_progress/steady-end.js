// @ts-check
/**
 * When a job will end, as it is shown: the remaining time counts down, and a forecast that differs
 * little from the one before does not change it, so that the text does not flicker.
 */

const LEAST_CHANGE_MS = 5_000;
const LEAST_CHANGE_SHARE = 0.1;

export class SteadyEnd {
  /** In milliseconds of `performance.now()`; null: unknown. @type {number | null} */
  #at = null;

  /** Milliseconds from now on; 0: unknown. */
  get remainingMs() {
    return this.#at === null ? 0 : Math.max(0, this.#at - performance.now());
  }

  /** @param {number} likelyMs as it was forecast; 0: unknown */
  update(likelyMs) {
    if (likelyMs <= 0) {
      this.#at = null;
      return;
    }
    const at = performance.now() + likelyMs;
    const change = this.#at === null ? Infinity : Math.abs(at - this.#at);
    const hasPassed = this.#at !== null && this.#at <= performance.now();
    if (hasPassed || change > Math.max(LEAST_CHANGE_MS, likelyMs * LEAST_CHANGE_SHARE)) this.#at = at;
  }
}
