// @ts-check
/** The state of a job as JSON, which is requested while it has no stream. */

/** @typedef {import("./progress-events.d.ts").ErrorData} ErrorData */
/** @typedef {Omit<import("./connection-state.js").ConnectionListener, "onConnection">} JobListener */

/**
 * The status of the response, 0 without one, and the job, null if there is none.
 * @param {string} url
 */
export async function requestJob(url) {
  const response = await fetch(url, { cache: "no-cache" }).catch(() => null);
  const job = response?.ok ? await response.json().catch(() => null) : null;
  return { status: response?.status ?? 0, job };
}

/**
 * Calls the listener as the events of a stream would. Returns how to report that the job has
 * ended, or null while it has not.
 * @param {any} job as JSON
 * @param {JobListener} listener
 */
export function reportJob({ job_id, status, error, progress, forecast, state, next_attempt }, listener) {
  listener.onProgress(progress);
  if (forecast) listener.onForecast?.(forecast);
  listener.onState(state);
  if (next_attempt) listener.onNextAttempt?.(next_attempt);
  if (status === "succeeded") return () => listener.onComplete({});
  if (status === "queued" || status === "running") return null;
  return () => listener.onFailure({ message: error ?? "", job_id, code: status });
}

/** @param {JobListener} listener */
export function reportMissing(listener) {
  listener.onFailure({ message: "", job_id: "", code: "not_found" });
}
