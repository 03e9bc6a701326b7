// @ts-check
/** Announces a new status, every quarter and a lost connection to screen readers. */

import { STALE } from "./connection-text.js";
import { percent as percentText } from "./format.js";
import { gettext } from "./gettext.js";

const STEP_PERCENT = 25;

export class Announcer {
  /** @type {string | null} */
  #status = null;
  /** @type {number | null} */
  #quarter = null;
  #isDisconnected = false;

  /** @param {Element | null} region an element with role="status" */
  constructor(region) {
    this.region = region;
  }

  /**
   * Does not announce the first status and percentage: the page has them already.
   * @param {string} statusLabel
   * @param {number} percent
   */
  progress(statusLabel, percent) {
    const quarter = Math.floor(percent / STEP_PERCENT);
    if (this.#status !== null && statusLabel !== this.#status) this.#announce(statusLabel);
    else if (this.#quarter !== null && quarter > this.#quarter && percent < 100) {
      this.#announce(percentText(quarter * STEP_PERCENT));
    }
    this.#status = statusLabel;
    this.#quarter = quarter;
  }

  /** @param {import("./connection.js").ConnectionState} state */
  connection(state) {
    const isDisconnected = STALE.has(state);
    if (isDisconnected && !this.#isDisconnected) this.#announce(gettext("Connection lost"));
    if (state === "live" && this.#isDisconnected) this.#announce(gettext("Connected again"));
    if (isDisconnected || state === "live") this.#isDisconnected = isDisconnected;
  }

  /** @param {string} text */
  #announce(text) {
    if (this.region) this.region.textContent = text;
  }
}
