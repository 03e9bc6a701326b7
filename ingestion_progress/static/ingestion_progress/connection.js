// @ts-check
/**
 * An EventSource that stays: it is made again where the browser gives up, and closed at the end.
 *
 * The browser reconnects by itself after a dropped connection, but any answer other than 200 (one
 * 503 during a deploy) closes an EventSource for good. And a browser opens six HTTP/1.1
 * connections per origin in all its tabs together, so a page nobody looks at gives its own back.
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
 * @property {(data: Events["complete"]) => void} onComplete
 * @property {(data: ErrorData) => void} onFailure the server's last word on a job
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
/** @type {ReadonlySet<ErrorData["code"]>} */
const ENDS_OF_STREAMS = new Set(["stream_error", "forbidden", "token_expired", "too_many_streams"]);

/** @template {ProgressEventMap | ManyJobsEventMap} [Events=ProgressEventMap] */
export class ProgressConnection {
  /** @type {EventSource | null} */
  #source = null;
  /** @type {number | undefined} */
  #timer;
  #failures = 0;
  /** @type {ConnectionState | null} */
  #state = null;
  #wake = () => this.#onWake();

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
    document.addEventListener("visibilitychange", this.#wake);
    addEventListener("online", this.#wake);
    this.#connect();
  }

  close() {
    document.removeEventListener("visibilitychange", this.#wake);
    removeEventListener("online", this.#wake);
    this.#drop();
  }

  #connect() {
    this.#drop();
    if (document.hidden) return this.#enter("paused");
    if (this.#state !== "reconnecting" && this.#state !== "refused") this.#enter("connecting");
    const source = new EventSource(this.url);
    this.#source = source;
    source.addEventListener("open", () => {
      this.#failures = 0;
      this.#enter("live");
    });
    source.addEventListener("pipeline_progress", (event) =>
      this.listener.onProgress(JSON.parse(event.data)),
    );
    source.addEventListener("job_state", (event) => this.listener.onState(JSON.parse(event.data)));
    source.addEventListener("complete", (event) =>
      this.#end(() => this.listener.onComplete(JSON.parse(event.data))),
    );
    source.addEventListener("error", (event) => this.#onError(event));
  }

  /** The server's word has data; a network error has none. @param {Event} event */
  #onError(event) {
    if (event instanceof MessageEvent && event.data) {
      /** @type {ErrorData} */
      const data = JSON.parse(event.data);
      // The stream has ended, not the job: the browser comes back by itself, and where it may
      // not watch any longer it is refused then.
      const isOfJob = this.isOfMany ? data.job_id !== "" : !ENDS_OF_STREAMS.has(data.code);
      if (isOfJob) this.#end(() => this.listener.onFailure(data));
      return;
    }
    this.#enter("reconnecting");
    if (this.#source?.readyState === EventSource.CLOSED) void this.#retryLater();
  }

  async #retryLater() {
    this.#drop();
    const delay = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#failures);
    this.#failures += 1;
    // Jitter: the clients of a server that comes back do not all knock at once.
    this.#timer = setTimeout(() => this.#connect(), delay * (0.75 + Math.random() / 2));
    const isCutOff = await isRefused(this.url);
    if (isCutOff && this.#state === "reconnecting") this.#enter("refused");
  }

  #onWake() {
    if (document.hidden) {
      this.#drop(false);
      this.#timer = setTimeout(() => {
        this.#drop();
        this.#enter("paused");
      }, HIDDEN_GRACE_MS);
    } else if (this.#source?.readyState === EventSource.OPEN) {
      clearTimeout(this.#timer);
    } else {
      this.#failures = 0;
      this.#connect();
    }
  }

  /** A job has ended, and a stream of it alone with it. @param {() => void} report */
  #end(report) {
    if (this.isOfMany) return report();
    this.close();
    report();
    this.#enter("ended");
  }

  #drop(closesSource = true) {
    clearTimeout(this.#timer);
    if (!closesSource) return;
    this.#source?.close();
    this.#source = null;
  }

  /** @param {ConnectionState} state */
  #enter(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.listener.onConnection(state);
  }
}

/** An EventSource does not tell its status; a HEAD does. @param {string} url */
async function isRefused(url) {
  try {
    const { status } = await fetch(url, { method: "HEAD" });
    return status === 401 || status === 403;
  } catch {
    return false;
  }
}
