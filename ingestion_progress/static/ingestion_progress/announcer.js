// @ts-check
/** Says aloud what matters: a new status, every quarter, a lost connection. Not each update. */

const STEP_PERCENT = 25;

export class Announcer {
  /** @type {string | null} */
  #status = null;
  /** @type {number | null} */
  #quarter = null;
  #isCutOff = false;

  /** @param {Element | null} region an element with role="status" */
  constructor(region) {
    this.region = region;
  }

  /**
   * The first status and percentage are on the page already and are not announced.
   * @param {string} statusLabel
   * @param {number} percent
   */
  progress(statusLabel, percent) {
    const quarter = Math.floor(percent / STEP_PERCENT);
    if (this.#status !== null && statusLabel !== this.#status) this.#say(statusLabel);
    else if (this.#quarter !== null && quarter > this.#quarter && percent < 100) {
      this.#say(`${quarter * STEP_PERCENT} percent`);
    }
    this.#status = statusLabel;
    this.#quarter = quarter;
  }

  /** @param {import("./connection.js").ConnectionState} state */
  connection(state) {
    const isCutOff = state === "reconnecting" || state === "refused";
    if (isCutOff && !this.#isCutOff) this.#say("Connection lost");
    if (state === "live" && this.#isCutOff) this.#say("Connected again");
    if (isCutOff || state === "live") this.#isCutOff = isCutOff;
  }

  /** @param {string} text */
  #say(text) {
    if (this.region) this.region.textContent = text;
  }
}
