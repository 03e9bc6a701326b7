// @ts-check
/**
 * `<pipeline-progress src="…/progress">`: the live progress of one job.
 *
 * Updates the server-rendered markup inside it; if empty, it creates its own in a shadow tree, with
 * its style sheet. Attributes: `src`, the job's stream; `compact`; `theme`, light, dark or auto;
 * `heading-level`, 1 to 5 (default 2); `keepalive-seconds`, the server's KEEPALIVE_SECONDS (default
 * 15); `login-url`, where one who is logged out can log in; `viewer`, any text that names the
 * credentials: tabs of a browser with the same share a stream.
 * Properties: `progress`, `state`, `nextAttempt`, `forecast`, `connection`: the newest of each.
 *
 * Events, all bubbling, each with the data of its kind in `detail`:
 *   progresschange    the data of `pipeline_progress`
 *   statechange       the data of `job_state`
 *   forecastchange    the data of `forecast`
 *   complete          the job succeeded (no detail)
 *   failure           the final error event: {message, job_id, code}
 *   connectionchange  "connecting" | "live" | "reconnecting" | "polling" | "logged_out" |
 *                     "refused" | "paused" | "ended"
 */

import { Announcer } from "./announcer.js";
import { renderConnection } from "./connection-text.js";
import { ProgressConnection } from "./connection.js";
import { fill } from "./dom.js";
import { jobLabel } from "./format.js";
import { gettext, isLoaded, loadLanguage, useLanguage } from "./gettext.js";
import { FINAL_STATUSES } from "./labels.js";
import {
  renderClock,
  renderEnd,
  renderNextAttempt,
  renderProgress,
  renderRemaining,
  renderSilence,
  renderState,
  showNotice,
} from "./render.js";
import { Samples } from "./samples.js";
import { createView, mirror } from "./shadow-view.js";
import { SteadyEnd } from "./steady-end.js";
import { serverNow } from "./server-clock.js";
import { renderTimeline } from "./timeline.js";

/** @typedef {import("./progress-events.d.ts").PipelineProgressData} PipelineProgressData */
/** @typedef {import("./progress-events.d.ts").JobStateData} JobStateData */
/** @typedef {import("./progress-events.d.ts").NextAttemptData} NextAttemptData */
/** @typedef {import("./progress-events.d.ts").ForecastData} ForecastData */
/** @typedef {import("./progress-events.d.ts").JobStatus} JobStatus */
/** @typedef {import("./progress-events.d.ts").ErrorData} ErrorData */
/** @typedef {import("./connection.js").ConnectionState} ConnectionState */

const TICK_MS = 1_000;

/** @type {Omit<JobStateData, "status">} */
const UNKNOWN_STATE = {
  job_id: "",
  liveness: null,
  attempt: 1,
  cancel_requested: false,
  skipped_stages: [],
  error_count: 0,
  error: null,
  counters: {},
};

export class PipelineProgress extends HTMLElement {
  static observedAttributes = ["src"];

  /** @type {PipelineProgressData | null} */
  progress = null;
  /** @type {JobStateData | null} */
  state = null;
  /** Null unless the job waits for another attempt. @type {NextAttemptData | null} */
  nextAttempt = null;
  /** @type {ForecastData | null} */
  forecast = null;
  /** @type {ConnectionState | null} */
  connection = null;
  /** How the counts of the current attempt grew. */
  samples = new Samples();

  /** @type {ProgressConnection | null} */
  #stream = null;
  #receivedAt = 0;
  #end = new SteadyEnd();
  #isMissing = false;
  #frame = 0;
  /** @type {number | undefined} */
  #ticker;
  #announcer = new Announcer(null);
  /** What has the markup: the element, or a part of its shadow tree. @type {HTMLElement} */
  #view = this;

  get src() {
    return this.getAttribute("src") ?? "";
  }

  set src(url) {
    this.setAttribute("src", url);
  }

  connectedCallback() {
    const language = this.#language;
    if (isLoaded(language)) this.#start();
    else void loadLanguage(language).then(() => this.isConnected && this.#start());
  }

  #start() {
    useLanguage(this.#language);
    const isEmpty = !this.shadowRoot && !this.querySelector("[data-field]");
    if (isEmpty) this.#view = createView(this);
    this.#prepareOffers();
    this.#announcer = new Announcer(this.#view.querySelector("[data-announcer]"));
    // A job that had already ended when the server rendered it has no stream.
    if (!FINAL_STATUSES.has(this.dataset.status)) this.#open();
  }

  /** The button and the link beside the state of the connection. */
  #prepareOffers() {
    const retry = this.#view.querySelector('[data-offer="retry"]');
    retry?.addEventListener("click", () => this.#stream?.retryNow());
    const loginUrl = this.getAttribute("login-url");
    if (!loginUrl) return;
    this.#view.querySelector('a[data-offer="logged_out"]')?.setAttribute("href", loginUrl);
  }

  /** Its own, or that of its place in the page. */
  get #language() {
    return this.closest("[lang]")?.getAttribute("lang") ?? "";
  }

  disconnectedCallback() {
    this.#close();
  }

  /**
   * @param {string} _name
   * @param {string | null} before
   */
  attributeChangedCallback(_name, before) {
    if (before === null || !this.isConnected) return;
    this.#close();
    this.progress = this.state = this.nextAttempt = this.forecast = null;
    this.#end = new SteadyEnd();
    this.samples = new Samples();
    this.#isMissing = false;
    this.#open();
  }

  #open() {
    if (!this.src) return;
    /** @type {import("./connection.js").ConnectionListener} */
    const listener = {
      onProgress: (progress) => this.#onProgress(progress),
      onState: (state) => this.#onState(state),
      onNextAttempt: (nextAttempt) => {
        this.nextAttempt = nextAttempt;
      },
      onForecast: (forecast) => this.#onForecast(forecast),
      onComplete: () => this.#onEnd("succeeded", "complete"),
      onFailure: (failure) => this.#onFailure(failure),
      onConnection: (connection) => this.#onConnection(connection),
    };
    const keepaliveMs = 1000 * Number(this.getAttribute("keepalive-seconds") ?? 0) || undefined;
    const viewer = this.getAttribute("viewer") ?? "";
    const options = { pollUrl: jobUrl(this.src), keepaliveMs, viewer };
    this.#stream = new ProgressConnection(this.src, listener, options);
    this.#stream.open();
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
  }

  #close() {
    this.#stream?.close();
    this.#stream = null;
    clearInterval(this.#ticker);
  }

  /** @param {PipelineProgressData} progress */
  #onProgress(progress) {
    this.progress = progress;
    this.#receivedAt = performance.now();
    this.samples.add(progress);
    this.#dispatch("progresschange", progress);
    this.#renderSoon();
  }

  /** @param {JobStateData} state */
  #onState(state) {
    this.state = state;
    this.nextAttempt = null;
    this.#dispatch("statechange", state);
    this.#renderSoon();
  }

  /** @param {ForecastData} forecast */
  #onForecast(forecast) {
    this.forecast = forecast;
    this.#end.update(forecast.likely_ms);
    this.#dispatch("forecastchange", forecast);
    this.#renderSoon();
  }

  /** @param {ErrorData} failure */
  #onFailure(failure) {
    const status = FINAL_STATUSES.has(failure.code) ? /** @type {JobStatus} */ (failure.code) : null;
    this.#isMissing = failure.code === "not_found";
    this.#onEnd(status, "failure", failure);
  }

  /**
   * @param {JobStatus | null} status
   * @param {string} event
   * @param {ErrorData} [detail]
   */
  #onEnd(status, event, detail) {
    clearInterval(this.#ticker);
    // Without a `job_state` the ending is known from this event alone.
    if (status && this.state?.status !== status) {
      const known = this.state ?? UNKNOWN_STATE;
      this.state = { ...known, status, liveness: null, error: detail?.message ?? null };
    }
    this.#renderSoon();
    this.#dispatch(event, detail);
  }

  /** @param {ConnectionState} connection */
  #onConnection(connection) {
    useLanguage(this.#language);
    this.connection = connection;
    this.#view.dataset.connection = connection;
    mirror(this, this.#view);
    this.#renderConnection();
    this.#announcer.connection(connection);
    this.#dispatch("connectionchange", connection);
  }

  #renderConnection() {
    if (!this.connection || !this.#stream) return;
    renderConnection(this.#view, this.connection, this.#stream);
  }

  /** Renders once for the progress and state events of the same moment. */
  #renderSoon() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.render();
    });
  }

  /** Renders the newest state; to be called after a change of the markup from outside. */
  render() {
    useLanguage(this.#language);
    const view = this.#view;
    if (this.#isMissing) {
      view.dataset.status = view.dataset.liveness = "";
      fill(view, { "job.status": gettext("Not found") });
      showNotice(view, "not_found");
      mirror(this, view);
      return;
    }
    if (this.progress) {
      renderProgress(view, this.progress, this.state);
      this.#renderRemaining();
      this.#renderTimeline(0);
    }
    if (this.state) {
      renderState(view, this.state, this.nextAttempt);
      renderSilence(view, this.state, this.#serverNow());
    }
    mirror(this, view);
    const status = /** @type {JobStatus} */ (this.state?.status ?? this.dataset.status);
    const label = jobLabel(status, this.state?.failed_items ?? 0);
    if (this.progress) this.#announcer.progress(label, this.progress.overall_progress_percent);
  }

  /** Finds out whether the viewer may still see the job; to be called if something else says no. */
  checkAccess() {
    void this.#stream?.checkAccess();
  }

  #tick() {
    useLanguage(this.#language);
    if (this.connection !== "live") this.#renderConnection();
    if (this.nextAttempt && this.connection === "live") {
      renderNextAttempt(this.#view, this.nextAttempt);
    }
    if (!this.progress || this.connection !== "live") return;
    const isRunning = (this.state?.status ?? this.dataset.status) === "running";
    const isSilent = Boolean(this.state?.heartbeat_at);
    if (this.state && isSilent) renderSilence(this.#view, this.state, this.#serverNow());
    else if (isRunning) {
      renderClock(this.#view, this.progress, performance.now() - this.#receivedAt);
      this.#renderRemaining();
      this.#renderTimeline(performance.now() - this.#receivedAt);
    }
  }

  get #isOver() {
    return FINAL_STATUSES.has(this.state?.status ?? this.dataset.status);
  }

  /** 0: unknown. */
  get #leftMs() {
    if (this.#isOver || (this.state && this.state.liveness !== "working")) return 0;
    if (this.forecast) return this.#end.remainingMs;
    return this.progress?.timing.estimated_remaining_ms ?? 0;
  }

  #renderRemaining() {
    renderRemaining(this.#view, this.#leftMs, this.state, this.forecast);
    if (this.progress) renderEnd(this.#view, this.progress, this.#leftMs, this.#isOver);
  }

  /** @param {number} sinceMs after the newest state */
  #renderTimeline(sinceMs) {
    const { progress, samples, state } = this;
    if (!progress) return;
    renderTimeline(this.#view, {
      progress,
      elapsedMs: progress.timing.elapsed_ms + sinceMs,
      leftMs: this.#leftMs,
      isOver: this.#isOver,
      attempt: state?.attempt ?? 1,
      samples,
    });
  }

  /** Unix milliseconds by the clock of the server, which computed the elapsed time. */
  #serverNow() {
    if (!this.progress) return serverNow();
    const { started_at, elapsed_ms } = this.progress.timing;
    return started_at * 1000 + elapsed_ms + performance.now() - this.#receivedAt;
  }

  /**
   * @param {string} type
   * @param {unknown} [detail]
   */
  #dispatch(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true }));
  }
}

/** The job as JSON, beside its stream. @param {string} src */
function jobUrl(src) {
  const url = new URL(src, document.baseURI);
  url.pathname = url.pathname.replace(/\/progress\/?$/, "");
  return url.href;
}

customElements.define("pipeline-progress", PipelineProgress);
