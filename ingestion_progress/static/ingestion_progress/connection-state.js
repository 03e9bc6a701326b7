// @ts-check
/** The states of a connection to a stream, how they are called, and who listens to it. */

/** @typedef {import("./progress-events.d.ts").ProgressEventMap} ProgressEventMap */
/** @typedef {import("./progress-events.d.ts").ManyJobsEventMap} ManyJobsEventMap */
/** @typedef {import("./progress-events.d.ts").ErrorData} ErrorData */

/**
 * `polling`: there are too many streams. `logged_out` and `refused`: no further try, until the
 * page is shown again or somebody asks for one.
 * @typedef {"connecting" | "live" | "reconnecting" | "polling" | "logged_out" | "refused" | "paused" | "ended"} ConnectionState
 */

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
  reconnecting: "Connection lost",
  polling: "Too many open streams: updated every 15 s",
  logged_out: "You are logged out",
  refused: "You may no longer see this",
  paused: "Paused in the background",
  ended: "",
};
