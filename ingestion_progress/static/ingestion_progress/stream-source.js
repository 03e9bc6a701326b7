// @ts-check
/**
 * Opens the stream of a page: shared with other tabs if possible, otherwise a separate one.
 *
 * A browser opens six HTTP/1.1 connections per origin in all its tabs together, so its tabs share
 * streams (shared-stream.js), and those that they cannot share have a limit (stream-slots.js).
 */

import { SharedStream, sharedTarget } from "./shared-stream.js";
import { takeSlot } from "./stream-slots.js";

/** @typedef {import("./stream-access.js").StreamAccess} StreamAccess */

/** Another tab's job may be refused: then this tab opens its own stream. */
const MAX_SHARED_FAILURES = 2;
const NAMES_JOBS = /\/jobs\/|[?&]jobs=/;

export class StreamSource {
  /** @type {EventSource | SharedStream | null} */
  #stream = null;
  #url;
  #access;
  #target;
  /** How often in a row the shared stream failed although the server would respond. */
  #sharedFailures = 0;
  #isInUse = false;
  /** Numbers the attempts to open it: a later one, or `close`, cancels an earlier one. */
  #number = 0;
  #release = () => {};

  /**
   * @param {string} url
   * @param {StreamAccess} access
   * @param {string} viewer tabs with the same share a stream; empty: none does
   */
  constructor(url, access, viewer) {
    this.#url = url;
    this.#access = access;
    this.#target = sharedTarget(url, viewer, access);
  }

  /** It is being opened, or was not closed since. */
  get isInUse() {
    return this.#isInUse;
  }

  get isOpen() {
    return this.#stream?.readyState === EventSource.OPEN;
  }

  /** The browser does not try again. */
  get isClosed() {
    return this.#stream?.readyState === EventSource.CLOSED;
  }

  get isShared() {
    return this.#stream instanceof SharedStream;
  }

  /**
   * null: it was closed meanwhile.
   * @returns {Promise<EventSource | SharedStream | "no_token" | "no_slot" | null>}
   */
  async open() {
    this.close();
    this.#isInUse = true;
    const number = this.#number;
    const { hasToken } = this.#access;
    const hasNone = hasToken && !(await this.#access.renew());
    if (number !== this.#number) return null;
    if (hasNone) return "no_token";
    if (this.#target && this.#sharedFailures < MAX_SHARED_FAILURES) {
      return (this.#stream = new SharedStream(this.#target));
    }
    const release = await takeSlot(this.#url, NAMES_JOBS.test(this.#url));
    if (number !== this.#number) {
      release?.();
      return null;
    }
    if (!release) return "no_slot";
    this.#release = release;
    return (this.#stream = new EventSource(this.#access.signed(this.#url)));
  }

  close() {
    this.#number += 1;
    this.#isInUse = false;
    this.#stream?.close();
    this.#stream = null;
    this.#release();
    this.#release = () => {};
  }

  /**
   * @param {boolean} wasShared
   * @param {number} status of a response to a request of this URL
   */
  onFailure(wasShared, status) {
    this.#sharedFailures = wasShared && status === 200 ? this.#sharedFailures + 1 : 0;
  }

  onSuccess() {
    this.#sharedFailures = 0;
  }
}
