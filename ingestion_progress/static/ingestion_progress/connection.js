// @ts-check
/**
 * An EventSource that is opened again if the browser closes it or its connection dies silently, and
 * closed when the job ends.
 *
 * The browser reconnects after a dropped connection, but a response other than 200 (one 503 during
 * a deploy) closes an EventSource for good, and a network that swallows all packets leaves it open.
 * A hidden page does without a stream and asks for the state from time to time.
 */

import { reportJob, reportMissing, requestJob } from "./job-poll.js";
import { Reconnections } from "./reconnections.js";
import { StreamAccess } from "./stream-access.js";
import { StreamSource } from "./stream-source.js";

/** @typedef {import("./progress-events.d.ts").ProgressEventMap} ProgressEventMap */
/** @typedef {import("./progress-events.d.ts").ManyJobsEventMap} ManyJobsEventMap */
/** @typedef {import("./progress-events.d.ts").ErrorData} ErrorData */
/** @typedef {import("./connection-state.js").ConnectionState} ConnectionState */
/**
 * @template {ProgressEventMap | ManyJobsEventMap} [Events=ProgressEventMap]
 * @typedef {import("./connection-state.js").ConnectionListener<Events>} ConnectionListener
 */

/**
 * @typedef {object} ConnectionOptions
 * @property {boolean} [isOfMany] the end of a job does not end the stream
 * @property {string} [pollUrl] the job as JSON, which is asked for while there is no stream
 * @property {number} [keepaliveMs] the server's KEEPALIVE_SECONDS
 * @property {(() => Promise<string>) | null} [token] gets a stream token, for each connection anew
 * @property {string} [viewer] any text that names the credentials: tabs of one browser with the
 *   same share a stream. Their tokens, if they have some, permit the same
 */

const FIRST_DELAY_MS = 1_000;
const MAX_DELAY_MS = 30_000;
const HIDDEN_GRACE_MS = 10_000;
const POLL_MS = 15_000;
const KEEPALIVE_MS = 15_000;
/** How late the second keep-alive may be before the connection counts as dead. */
const KEEPALIVE_MARGIN_MS = 2_000;
const CONNECT_TIMEOUT_MS = 15_000;
/** Codes of errors that end the stream and not the job. @type {ReadonlySet<ErrorData["code"]>} */
const STREAM_ERRORS = new Set(["stream_error", "forbidden", "token_expired", "too_many_streams"]);

/** @template {ProgressEventMap | ManyJobsEventMap} [Events=ProgressEventMap] */
export class ProgressConnection {
  /** When the server was last heard, in milliseconds of `performance.now()`. */
  heardAt = -Infinity;
  /** When it tries again, in the same milliseconds; null: now, or not at all. @type {number | null} */
  retryAt = null;
  /** The connection did not break: nothing came any more. */
  isSilent = false;

  #source;
  /** @type {Reconnections | null} */
  #reconnections = null;
  #wasLost = false;
  /** @type {number | undefined} */
  #timer;
  /** @type {number | undefined} */
  #watchdog;
  #failures = 0;
  #number = 0;
  /** @type {ConnectionState | null} */
  #state = null;
  #access;
  #onVisibleOrOnline = () => {
    if (document.hidden && this.#source.isInUse) {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#pause(), HIDDEN_GRACE_MS);
    } else if (!document.hidden) {
      if (this.#source.isOpen) clearTimeout(this.#timer);
      else this.retryNow();
    }
  };

  /**
   * @param {string} url
   * @param {ConnectionListener<Events>} listener
   * @param {ConnectionOptions} options
   */
  constructor(url, listener, options = {}) {
    const { isOfMany = false, pollUrl = "", keepaliveMs = KEEPALIVE_MS } = options;
    const { token = null, viewer = "" } = options;
    this.url = url;
    this.listener = listener;
    this.isOfMany = isOfMany;
    this.pollUrl = pollUrl;
    this.silentAfterMs = 2 * keepaliveMs + KEEPALIVE_MARGIN_MS;
    this.#access = new StreamAccess(token);
    this.#source = new StreamSource(url, this.#access, viewer);
  }

  open() {
    document.addEventListener("visibilitychange", this.#onVisibleOrOnline);
    addEventListener("online", this.#onVisibleOrOnline);
    this.#reconnections ??= new Reconnections(this.url, () => {
      if (this.retryAt !== null) this.retryNow();
    });
    this.#connect();
  }

  close() {
    document.removeEventListener("visibilitychange", this.#onVisibleOrOnline);
    removeEventListener("online", this.#onVisibleOrOnline);
    this.#reconnections?.close();
    this.#reconnections = null;
    this.#disconnect();
  }

  /** For a stream of many jobs that have all ended. */
  end() {
    this.close();
    this.#setState("ended");
  }

  /** Does not wait for the next try. */
  retryNow() {
    this.#failures = 0;
    this.#connect();
  }

  /** Ends the stream if its viewer may no longer see it. */
  async checkAccess() {
    this.#onRefusal(await this.#access.statusOf(this.url));
  }

  #connect() {
    this.#disconnect();
    if (document.hidden) return this.#pause();
    if (this.#state !== "polling") {
      this.#setState(this.#state === "live" || this.#failures ? "reconnecting" : "connecting");
    }
    this.#watch(performance.now() + CONNECT_TIMEOUT_MS);
    void this.#open();
  }

  async #open() {
    const source = await this.#source.open();
    if (source === "no_token") void this.#retryLater();
    else if (source === "no_slot") this.#pollInstead();
    else if (source) this.#listen(source);
  }

  /** @param {EventTarget} source */
  #listen(source) {
    source.addEventListener("open", () => {
      if (this.#state !== "polling") this.#heard();
      this.heardAt = performance.now();
      this.#watch(this.heardAt + this.silentAfterMs);
    });
    const { listener } = this;
    /** @type {(name: string, handle: (data: any) => void) => void} */
    const on = (name, handle) =>
      source.addEventListener(name, (event) => {
        this.#heard();
        handle(JSON.parse(/** @type {MessageEvent} */ (event).data));
      });
    on("pipeline_progress", (data) => listener.onProgress(data));
    on("job_state", (data) => listener.onState(data));
    on("next_attempt", (data) => listener.onNextAttempt?.(data));
    on("forecast", (data) => listener.onForecast?.(data));
    on("batch_progress", (data) => listener.onBatch?.(data));
    on("complete", (data) => this.#onJobEnd(() => listener.onComplete(data)));
    on("keepalive", () => {});
    source.addEventListener("error", (event) => this.#onError(event));
  }

  #heard() {
    this.heardAt = performance.now();
    this.isSilent = false;
    this.#failures = 0;
    this.#source.onSuccess();
    this.#setState("live");
    if (this.#wasLost) this.#reconnections?.announce();
    this.#wasLost = false;
  }

  /** Looks whether the server was heard, as soon as it should have been. @param {number} until */
  #watch(until) {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => {
      const due = this.heardAt + this.silentAfterMs;
      const { isOpen } = this.#source;
      if (isOpen && performance.now() < due) return this.#watch(due);
      if (!isOpen) return void this.#retryLater();
      this.isSilent = true;
      this.#connect();
    }, until - performance.now());
  }

  /** An error event of the server has data, a network error has none. @param {Event} event */
  #onError(event) {
    if (event instanceof MessageEvent && event.data) {
      this.heardAt = performance.now();
      /** @type {ErrorData} */
      const data = JSON.parse(event.data);
      // If only the stream has ended, the browser reconnects; without permission it gets a 401 or
      // 403 then. It would send the old token again.
      const isOfJob = this.isOfMany ? data.job_id !== "" : !STREAM_ERRORS.has(data.code);
      if (isOfJob) this.#onJobEnd(() => this.listener.onFailure(data));
      else if (data.code === "too_many_streams") this.#pollInstead();
      else if (this.#access.hasToken) void this.#retryLater();
      return;
    }
    if (this.#source.isClosed) void this.#retryLater();
    else this.#setState("reconnecting"); // by the browser
  }

  async #retryLater() {
    const wasShared = this.#source.isShared;
    this.#wasLost = true;
    this.#disconnect();
    this.#setState("reconnecting");
    const delay = Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** this.#failures);
    this.#failures += 1;
    // Jitter: the clients of a restarted server do not all reconnect at once.
    const jittered = delay * (0.75 + Math.random() / 2);
    this.retryAt = performance.now() + jittered;
    this.#timer = setTimeout(() => this.#connect(), jittered);
    const number = this.#number;
    const status = await this.#access.statusOf(this.url);
    this.#source.onFailure(wasShared, status);
    if (number === this.#number) this.#onRefusal(status);
  }

  /** Stops trying if the viewer may not see it. @param {number} status of a response, or 0 */
  #onRefusal(status) {
    const refusal = this.#access.refusalOf(status);
    if (!refusal) return false;
    this.#disconnect();
    this.#setState(refusal);
    return true;
  }

  #pause() {
    this.#disconnect();
    this.#setState("paused");
    if (!this.isOfMany && this.pollUrl) this.#pollLater();
  }

  /** There are too many streams: asks for the state, and for a stream after a minute. */
  #pollInstead() {
    this.#disconnect();
    this.#setState("polling");
    if (this.pollUrl) void this.#poll();
    else this.#timer = setTimeout(() => this.#connect(), POLL_MS);
  }

  #pollLater() {
    this.#timer = setTimeout(() => void this.#poll(), POLL_MS);
  }

  async #poll() {
    const number = this.#number;
    const { status, job } = await requestJob(this.#access.signed(this.pollUrl));
    if (number !== this.#number || this.#onRefusal(status)) return;
    if (status === 401) {
      await this.#access.refresh();
      if (number !== this.#number) return;
    }
    if (job) this.#report(job);
    if (status === 404) this.#onJobEnd(() => reportMissing(this.listener));
    if (number !== this.#number) return; // the job has ended
    // A poll says nothing of whether there is room for a stream again.
    this.#failures += 1;
    if (this.#state === "polling" && this.#failures % 4 === 0) this.#connect();
    else this.#pollLater();
  }

  /** @param {any} job as JSON */
  #report(job) {
    this.heardAt = performance.now();
    const reportEnd = reportJob(job, this.listener);
    if (reportEnd) this.#onJobEnd(reportEnd);
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
    clearTimeout(this.#watchdog);
    this.#number += 1;
    this.retryAt = null;
    this.#source.close();
  }

  /** @param {ConnectionState} state */
  #setState(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.listener.onConnection(state);
  }
}
