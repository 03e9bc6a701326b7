// @ts-check
/**
 * An EventSource that is opened again if the browser closes it, and closed when the job ends.
 *
 * The browser reconnects after a dropped connection, but a response other than 200 (one 503 during
 * a deploy) closes an EventSource for good. A browser opens six HTTP/1.1 connections per origin in
 * all its tabs together, so a hidden page closes its own.
 */

/** @typedef {import("./progress-events.d.ts").ProgressEventMap} ProgressEventMap */
/** @typedef {import("./progress-events.d.ts").ManyJobsEventMap} ManyJobsEventMap */
/** @typedef {import("./progress-events.d.ts").ErrorData} ErrorData */
/** @typedef {"connecting" | "live" | "reconnecting" | "refused" | "paused" | "ended"} ConnectionState */
/**
 * @template {ProgressEventMap | ManyJobsEventMap} [Events=ProgressEventMap]
 * @typedef {object} ConnectionListener
 * @property {(data: Events["pipeline_progress"]) => void} onProgress
 * @property {(data: ProgressEventMap["job_state"]) => void} onState
 * @property {(data: ProgressEventMap["next_attempt"]) => void} [onNextAttempt] after `onState`
 * @property {(data: ProgressEventMap["forecast"]) => void} [onForecast] before `onState`
 * @property {(data: ManyJobsEventMap["batch_progress"]) => void} [onBatch] on a batch's stream
 * @property {(data: Events["complete"]) => void} onComplete
 * @property {(data: ErrorData) => void} onFailure the error event that ends a job's stream
 * @property {(state: ConnectionState) => void} onConnection
 */

/** @type {Record<ConnectionState, string>} */
export const CONNECTION_LABELS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Connection lost, trying again",
  refused: "Access refused: log in again",
  paused: "Paused in the background",
  ended: "",
};

const FIRST_DELAY_MS = 1_000;
const MAX_DELAY_MS = 30_000;
const HIDDEN_GRACE_MS = 10_000;
/** Codes of errors that end the stream and not the job. @type {ReadonlySet<ErrorData["code"]>} */
const STREAM_ERRORS = new Set(["stream_error", "forbidden", "token_expired", "too_many_streams"]);

/** @template {ProgressEventMap | ManyJobsEventMap} [Events=ProgressEventMap] */
export class ProgressConnection {
  /** @type {EventSource | null} */
  #source = null;
  /** @type {number | undefined} */
  #timer;
  #failures = 0;
  /** @type {ConnectionState | null} */
  #state = null;
  #onVisibleOrOnline = () => {
    const isOpen = this.#source?.readyState === EventSource.OPEN;
    if (document.hidden || isOpen) clearTimeout(this.#timer);
    if (document.hidden) {
      this.#timer = setTimeout(() => {
        this.#disconnect();
        this.#setState("paused");
      }, HIDDEN_GRACE_MS);
    } else if (!isOpen) {
      this.#failures = 0;
      this.#connect();
    }
  };

  /**
   * @param {string} url
   * @param {ConnectionListener<Events>} listener
   * @param {{isOfMany?: boolean}} options `isOfMany`: the end of a job does not end the stream
   */
  constructor(url, listener, { isOfMany = false } = {}) {
    this.url = url;
    this.listener = listener;
    this.isOfMany = isOfMany;
  }

  open() {
    document.addEventListener("visibilitychange", this.#onVisibleOrOnline);
    addEventListener("online", this.#onVisibleOrOnline);
    this.#connect();
  }

  close() {
    document.removeEventListener("visibilitychange", this.#onVisibleOrOnline);
    removeEventListener("online", this.#onVisibleOrOnline);
    this.#disconnect();
  }

  #connect() {
    this.#disconnect();
    if (document.hidden) return this.#setState("paused");
    if (this.#state !== "reconnecting" && this.#state !== "refused") this.#setState("connecting");
    const source = new EventSource(this.url);
    this.#source = source;
    source.addEventListener("open", () => {
      this.#failures = 0;
      this.#setState("live");
    });
    source.addEventListener("pipeline_progress", (event) =>
      this.listener.onProgress(JSON.parse(event.data)),
    );
    source.addEventListener("job_state", (event) => this.listener.onState(JSON.parse(event.data)));
    source.addEventListener("next_attempt", (event) =>
      this.listener.onNextAttempt?.(JSON.parse(event.data)),
    );
    source.addEventListener("forecast", (event) =>
      this.listener.onForecast?.(JSON.parse(event.data)),
    );
    source.addEventListener("batch_progress", (event) =>
      this.listener.onBatch?.(JSON.parse(event.data)),
    );
    source.addEventListener("complete", (event) =>
      this.#onJobEnd(() => this.listener.onComplete(JSON.parse(event.data))),
    );
    source.addEventListener("error", (event) => this.#onError(event));
  }

  /** An error event of the server has data, a network error has none. @param {Event} event */
  #onError(event) {
    if (event instanceof MessageEvent && event.data) {
      /** @type {ErrorData} */
      const data = JSON.parse(event.data);
      // If only the stream has ended, the browser reconnects; without permission it gets a 401 or
      // 403 then.
      const isOfJob = this.isOfMany ? data.job_id !== "" : !STREAM_ERRORS.has(data.code);
      if (isOfJob) this.#onJobEnd(() => this.listener.onFailure(data));
      return;
    }
    this.#setState("reconnecting");
    if (this.#source?.readyState === EventSource.CLOSED) void this.#retryLater();
  }

  async #retryLater() {
    this.#disconnect();
    const delay = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#failures);
    this.#failures += 1;
    // Jitter: the clients of a restarted server do not all reconnect at once.
    this.#timer = setTimeout(() => this.#connect(), delay * (0.75 + Math.random() / 2));
    const hasNoAccess = await isRefused(this.url);
    if (hasNoAccess && this.#state === "reconnecting") this.#setState("refused");
  }

  /** @param {() => void} report */
  #onJobEnd(report) {
    if (this.isOfMany) return report();
    this.close();
    report();
    this.#setState("ended");
  }

  #disconnect() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  /** @param {ConnectionState} state */
  #setState(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.listener.onConnection(state);
  }
}

/** An EventSource does not expose the HTTP status; a HEAD request does. @param {string} url */
async function isRefused(url) {
  try {
    const { status } = await fetch(url, { method: "HEAD" });
    return status === 401 || status === 403;
  } catch {
    return false;
  }
}
