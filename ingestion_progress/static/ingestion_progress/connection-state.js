// @ts-check
/** The states of a connection to a stream, and how they are called. */

/**
 * `polling`: there are too many streams. `logged_out` and `refused`: no further try, until the
 * page is shown again or somebody asks for one.
 * @typedef {"connecting" | "live" | "reconnecting" | "polling" | "logged_out" | "refused" | "paused" | "ended"} ConnectionState
 */

/** @type {Record<ConnectionState, string>} */
export const CONNECTION_LABELS = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Connection lost",
  polling: "Too many viewers: updated every 15 s",
  logged_out: "You are logged out",
  refused: "You may no longer see this",
  paused: "Paused in the background",
  ended: "",
};
