// @ts-check
/**
 * Watches jobs from any page or single-page application, also of another origin:
 *
 *   import { watch } from "…/static/ingestion_progress/client.js";
 *   const watched = watch(url, { jobs, token, onJob, onConnection });
 *
 * Connects again after a refusal, a restart or a silent network, gets a new token when one has
 * expired, and asks for the state while the page is hidden or there are too many streams.
 */

import { ProgressConnection } from "./connection.js";
import { FINAL_STATUSES } from "./labels.js";

export { CONNECTION_LABELS } from "./connection-state.js";

/** @typedef {import("./progress-events.d.ts").PipelineProgressData} PipelineProgressData */
/** @typedef {import("./progress-events.d.ts").ManyJobsEventMap} ManyJobsEventMap */
/** @typedef {import("./progress-events.d.ts").JobStateData} JobStateData */
/** @typedef {import("./progress-events.d.ts").ForecastData} ForecastData */
/** @typedef {import("./progress-events.d.ts").NextAttemptData} NextAttemptData */
/** @typedef {import("./progress-events.d.ts").ErrorData} ErrorData */
/** @typedef {import("./progress-events.d.ts").JobStatus} JobStatus */
/** @typedef {import("./progress-events.d.ts").BatchProgressData} BatchProgressData */
/** @typedef {import("./connection-state.js").ConnectionState} ConnectionState */

/**
 * What is known of a job, the newest of each event. `onJob` gets another object for each change.
 * @typedef {object} WatchedJob
 * @property {string} id
 * @property {JobStatus | ""} status "" while it is not known, and of a job that was not found
 * @property {PipelineProgressData | null} progress
 * @property {JobStateData | null} state
 * @property {ForecastData | null} forecast null once the job has ended
 * @property {NextAttemptData | null} nextAttempt null unless the job waits for another attempt
 * @property {ErrorData | null} error why it ended without success, or `not_found`
 * @property {boolean} hasEnded
 */

/**
 * @typedef {object} WatchOptions
 * @property {string[]} [jobs] ids: these jobs of a stream of many; it ends when all of them have
 * @property {() => Promise<string>} [token] gets a stream token, for each connection anew
 * @property {(job: WatchedJob) => void} [onJob]
 * @property {(batch: BatchProgressData) => void} [onBatch] on a stream with `?batch=`
 * @property {(state: ConnectionState) => void} [onConnection]
 * @property {number} [keepaliveSeconds] the server's KEEPALIVE_SECONDS, 15 by default
 * @property {string} [viewer] any text that names who is logged in: tabs of one browser with the
 *   same share a stream. Their tokens, if they have some, must permit the same jobs
 */

/** @typedef {{retryNow: () => void, close: () => void}} Watched */

const OF_ONE_JOB = /\/jobs\/([^/]+)\/progress\/?$/;

/**
 * @param {string | URL} url a stream: `…/jobs/ID/progress`, or `…/progress` of all active jobs
 * @param {WatchOptions} options
 * @returns {Watched}
 */
export function watch(url, options) {
  const address = new URL(url, document.baseURI);
  const jobId = OF_ONE_JOB.exec(address.pathname)?.[1];
  if (options.jobs) address.searchParams.set("jobs", options.jobs.join(","));
  const { token, keepaliveSeconds, viewer } = options;
  const jobs = new WatchedJobs(options, decodeURIComponent(jobId ?? ""), () => connection.end());
  const connection = new ProgressConnection(address.href, jobs, {
    isOfMany: jobId === undefined,
    pollUrl: jobId && address.href.replace(/\/progress\/?(?=[?#]|$)/, ""),
    keepaliveMs: keepaliveSeconds && keepaliveSeconds * 1000,
    token,
    viewer,
  });
  connection.open();
  return { retryNow: () => connection.retryNow(), close: () => connection.close() };
}

/** Joins the events of each job. */
class WatchedJobs {
  /** @type {Map<string, WatchedJob>} */
  #jobs = new Map();
  #options;
  #jobId;
  #end;

  /**
   * @param {WatchOptions} options
   * @param {string} jobId of a stream of one job, whose `pipeline_progress` has none; else ""
   * @param {() => void} end called when all of the listed jobs have ended
   */
  constructor(options, jobId, end) {
    this.#options = options;
    this.#jobId = jobId;
    this.#end = end;
  }

  /** @param {PipelineProgressData & {job_id?: string}} progress `onState` follows it */
  onProgress(progress) {
    this.#change(progress.job_id, { progress });
  }

  /** @param {ForecastData} forecast `onState` follows it */
  onForecast(forecast) {
    this.#change(forecast.job_id, { forecast });
  }

  /** @param {JobStateData} state */
  onState(state) {
    const { status } = state;
    const hasEnded = FINAL_STATUSES.has(status);
    const outdated = hasEnded ? { forecast: null } : { error: null };
    this.#change(state.job_id, { state, status, hasEnded, nextAttempt: null, ...outdated });
    // The `complete` or `error` event of a job that has ended brings the rest.
    if (!hasEnded) this.#report(state.job_id);
  }

  /** @param {NextAttemptData} nextAttempt */
  onNextAttempt(nextAttempt) {
    this.#change(nextAttempt.job_id, { nextAttempt });
    this.#report(nextAttempt.job_id);
  }

  /** @param {BatchProgressData} batch */
  onBatch(batch) {
    this.#options.onBatch?.(batch);
  }

  /** @param {{job_id?: string}} complete */
  onComplete(complete) {
    this.#change(complete.job_id, { status: "succeeded", hasEnded: true });
    this.#report(complete.job_id);
  }

  /** @param {ErrorData} error */
  onFailure(error) {
    this.#change(error.job_id, { error, hasEnded: true });
    this.#report(error.job_id);
  }

  /** @param {ConnectionState} state */
  onConnection(state) {
    this.#options.onConnection?.(state);
  }

  /**
   * @param {string | undefined} jobId
   * @param {Partial<WatchedJob>} news
   */
  #change(jobId, news) {
    const id = this.#jobId || jobId || "";
    this.#jobs.set(id, { ...(this.#jobs.get(id) ?? unknownJob(id)), ...news });
  }

  /** @param {string | undefined} jobId */
  #report(jobId) {
    const job = this.#jobs.get(this.#jobId || jobId || "");
    if (job) this.#options.onJob?.(job);
    const listed = this.#options.jobs;
    if (listed?.every((id) => this.#jobs.get(id)?.hasEnded)) this.#end();
  }
}

/**
 * @param {string} id
 * @returns {WatchedJob}
 */
function unknownJob(id) {
  return {
    id,
    status: "",
    progress: null,
    state: null,
    forecast: null,
    nextAttempt: null,
    error: null,
    hasEnded: false,
  };
}
