// @ts-check
/** A label for every status. Django's are the same; a test compares them. */

/** @typedef {import("./progress-events.d.ts").JobStatus} JobStatus */
/** @typedef {import("./progress-events.d.ts").StageStatus} StageStatus */
/** @typedef {import("./progress-events.d.ts").WorkerStatus} WorkerStatus */
/** @typedef {import("./progress-events.d.ts").Liveness} Liveness */
/** @typedef {import("./connection.js").ConnectionState} ConnectionState */

/** @type {Record<JobStatus, string>} */
export const JOB_LABELS = {
  queued: "Queued",
  running: "Running",
  succeeded: "Succeeded",
  failed: "Failed",
  cancelled: "Cancelled",
  lost: "Lost",
};

/** @type {Record<StageStatus | "skipped", string>} */
export const STAGE_LABELS = {
  pending: "Pending",
  in_progress: "In progress",
  completed: "Completed",
  error: "Error",
  skipped: "Skipped",
};

/** @type {Record<WorkerStatus, string>} */
export const WORKER_LABELS = {
  idle: "Idle",
  processing: "Processing",
  error: "Error",
};

/** @type {Record<Liveness, string>} */
export const LIVENESS_LABELS = {
  queued: "Waiting for a worker",
  starved: "Waiting longer than expected: is a worker running?",
  working: "Working",
  stalled: "Alive, but without progress",
  lost: "No sign of life",
};

/** @type {Record<ConnectionState, string>} */
export const CONNECTION_LABELS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Connection lost, trying again",
  refused: "Access refused: log in again",
  paused: "Paused in the background",
  ended: "",
};

/** @type {Set<string>} */
const FINAL = new Set(["succeeded", "failed", "cancelled", "lost"]);

/** Has a job with this status ended? @param {string | undefined} status */
export function isFinal(status) {
  return status !== undefined && FINAL.has(status);
}
