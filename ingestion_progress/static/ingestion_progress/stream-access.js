// @ts-check
/** How a stream is authorised: by the session's cookie, or by a token in its URL. */

/** @typedef {import("./connection-state.js").ConnectionState} ConnectionState */

const TIMEOUT_MS = 15_000;
/** @type {Record<number, ConnectionState | undefined>} */
const REFUSALS = { 401: "logged_out", 403: "refused" };

export class StreamAccess {
  #requestToken;
  #token = "";

  /** @param {(() => Promise<string>) | null} requestToken null: there is the session's cookie */
  constructor(requestToken) {
    this.#requestToken = requestToken;
  }

  get hasToken() {
    return this.#requestToken !== null;
  }

  /** Gets a new token; false if there is none. */
  async renew() {
    this.#token = (await this.#requestToken?.().catch(() => "")) ?? "";
    return this.#token !== "";
  }

  /** Gets a new token, and keeps the old one if there is none. */
  async refresh() {
    const token = await this.#requestToken?.().catch(() => "");
    if (token) this.#token = token;
  }

  /** With the token, which an EventSource can only send in the URL. @param {string} url */
  signed(url) {
    if (!this.#token) return url;
    const signed = new URL(url, document.baseURI);
    signed.searchParams.set("token", this.#token);
    return signed.href;
  }

  /** An EventSource does not expose the HTTP status; a HEAD request does: 0 without a response. @param {string} url */
  async statusOf(url) {
    try {
      const signal = AbortSignal.timeout(TIMEOUT_MS);
      return (await fetch(this.signed(url), { method: "HEAD", signal })).status;
    } catch {
      return 0;
    }
  }

  /**
   * The state after a response of this status, if the viewer may not see the job.
   * @param {number} status
   */
  refusalOf(status) {
    // A token that has expired is replaced at the next try.
    return status === 401 && this.hasToken ? undefined : REFUSALS[status];
  }
}
