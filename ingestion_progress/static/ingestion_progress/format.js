// @ts-check
/** Texts of numbers, durations and states. `formatting.py` has the same; both pass the same cases. */

import { JOB_LABELS, WORKER_LABELS } from "./labels.js";

const NBSP = "\u00a0";
const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const ABBREVIATION_LENGTH = 3;
/** Plurals whose singular is more than the word without its "s". */
const OTHER_PLURALS = /(ss|ies|sses|xes|ches|shes)$/;

const thousands = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const localTime = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
});
const localMinutes = new Intl.DateTimeFormat("en-GB", { timeStyle: "short" });
const localClock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

/** @param {string} name */
export function label(name) {
  const words = name.replaceAll("_", " ").replaceAll("-", " ").trim();
  if (words.length <= ABBREVIATION_LENGTH) return words.toUpperCase();
  return words.slice(0, 1).toUpperCase() + words.slice(1);
}

/** @param {number} number */
export function count(number) {
  return thousands.format(number);
}

/**
 * What is counted: "page" after 1, otherwise "pages".
 * @param {string} plural
 * @param {number} number
 */
export function unit(plural, number) {
  return number === 1 && !OTHER_PLURALS.test(plural) ? plural.replace(/s$/, "") : plural;
}

/** Whole percent, rounded down, so that only finished work shows 100%. @param {number} value */
export function percent(value) {
  return `${Math.floor(value)}%`;
}

/** @param {number} value */
export function exactPercent(value) {
  return 0 < value && value < 100 ? `${value.toFixed(1)}%` : `${value.toFixed(0)}%`;
}

/** The two largest units, rounded down; tenths below a second. @param {number} milliseconds */
export function duration(milliseconds) {
  if (milliseconds < SECOND_MS) {
    const tenths = Math.floor(milliseconds / 100);
    return tenths ? `0.${tenths}${NBSP}s` : `0${NBSP}s`;
  }
  if (milliseconds < MINUTE_MS) return `${Math.floor(milliseconds / SECOND_MS)}${NBSP}s`;
  if (milliseconds < HOUR_MS) return twoUnits(milliseconds, MINUTE_MS, "min", SECOND_MS, "s");
  if (milliseconds < DAY_MS) return twoUnits(milliseconds, HOUR_MS, "h", MINUTE_MS, "min");
  return twoUnits(milliseconds, DAY_MS, "d", HOUR_MS, "h");
}

/** How long ago something was, in its largest unit, rounded down. @param {number} milliseconds */
export function age(milliseconds) {
  if (milliseconds < MINUTE_MS) return "just now";
  if (milliseconds < HOUR_MS) return `${Math.floor(milliseconds / MINUTE_MS)}${NBSP}min ago`;
  if (milliseconds < DAY_MS) return `${Math.floor(milliseconds / HOUR_MS)}${NBSP}h ago`;
  return `${Math.floor(milliseconds / DAY_MS)}${NBSP}d ago`;
}

/**
 * A rounded estimate with its range: "about 3 min left (2–5 min)"; empty if there is none.
 * @param {number} milliseconds
 */
export function remaining(milliseconds, lowMs = 0, highMs = 0) {
  if (milliseconds <= 0) return "";
  if (milliseconds < 10 * SECOND_MS) return "a few seconds left";
  const range = timeRange(lowMs, highMs);
  if (milliseconds <= 50 * SECOND_MS) {
    return `about ${Math.ceil(milliseconds / (10 * SECOND_MS)) * 10}${NBSP}s left${range}`;
  }
  const quarters = Math.ceil(milliseconds / (15 * SECOND_MS));
  if (milliseconds <= 3 * MINUTE_MS && quarters % 4) {
    return `about ${duration(quarters * 15 * SECOND_MS)} left${range}`;
  }
  if (milliseconds < HOUR_MS) {
    return `about ${Math.ceil(milliseconds / MINUTE_MS)}${NBSP}min left${range}`;
  }
  return `about ${duration(milliseconds)} left${range}`;
}

/**
 * A remaining time with the reason why it is a guess, or the reason why there is none.
 * @param {string} left
 * @param {string} reason
 */
export function withReason(left, reason) {
  return left && reason ? `${left} · ${reason}` : left || reason;
}

/**
 * In the unit of its end, rounded outwards; empty if there is none.
 * @param {number} lowMs
 * @param {number} highMs
 */
export function timeRange(lowMs, highMs) {
  if (highMs <= 0) return "";
  let [stepMs, factor, unit] = [HOUR_MS, 1, "h"];
  if (highMs <= 50 * SECOND_MS) [stepMs, factor, unit] = [10 * SECOND_MS, 10, "s"];
  else if (highMs < HOUR_MS) [stepMs, factor, unit] = [MINUTE_MS, 1, "min"];
  const low = Math.floor(lowMs / stepMs) * factor;
  const high = Math.ceil(highMs / stepMs) * factor;
  return low ? ` (${low}–${high}${NBSP}${unit})` : ` (up to ${high}${NBSP}${unit})`;
}

/** Rounded down, one digit below ten: "8.4 MB", "50 MB". @param {number} bytes */
export function fileSize(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  let size = bytes;
  while (size >= 1024 && units.length > 1) {
    size /= 1024;
    units.shift();
  }
  const hasTenths = units[0] !== "bytes" && size < 10;
  const shown = hasTenths ? (Math.floor(size * 10) / 10).toFixed(1) : String(Math.floor(size));
  return `${shown}${NBSP}${units[0]}`;
}

/**
 * The label of a status; a success with failed items says so.
 * @param {import("./progress-events.d.ts").JobStatus} status
 * @param {number} failedItems
 */
export function jobLabel(status, failedItems) {
  const label = JOB_LABELS[status] ?? "";
  if (status !== "succeeded" || !failedItems) return label;
  return `${label} with ${count(failedItems)} ${unit("errors", failedItems)}`;
}

/** Errors that did not end the job; empty if there are none. @param {number} errors */
export function errorNote(errors) {
  return errors ? `Errors during ingestion: ${count(errors)}` : "";
}

/** Only of later attempts. @param {number} attempt */
export function attemptNote(attempt) {
  return attempt > 1 ? `Attempt ${count(attempt)}` : "";
}

/** Empty if it waits for none. @param {string} service */
export function waiting(service) {
  return service ? `Waiting for ${service}` : "";
}

/**
 * What a queued job waits for.
 * @param {number} attempt
 * @param {number} maxAttempts
 * @param {string} reason how the last attempt ended; empty if a person retries the job
 * @param {number | null} dueInMs null once its task is queued
 */
export function nextAttempt(attempt, maxAttempts, reason, dueInMs) {
  const number = `attempt ${count(attempt)} of ${count(maxAttempts)}`;
  const text = reason ? `Waiting to continue: ${number}` : `Waiting to start again: ${number}`;
  if (dueInMs === null) return `${text}.`;
  return dueInMs < SECOND_MS ? `${text}, due now.` : `${text}, due in ${duration(dueInMs)}.`;
}

/**
 * A speed in the unit in which it is at least 1: "12 per s", "3.4 per min"; empty if there is none.
 * @param {number} items
 * @param {number} milliseconds
 */
export function rate(items, milliseconds) {
  if (items <= 0 || milliseconds <= 0) return "";
  /** @type {[number, string][]} */
  const units = [[SECOND_MS, "s"], [MINUTE_MS, "min"]];
  for (const [unitMs, name] of units) {
    const found = (items * unitMs) / milliseconds;
    if (found >= 1) return `${rounded(found)} per${NBSP}${name}`;
  }
  const hourly = rounded((items * HOUR_MS) / milliseconds);
  return hourly === "0" ? "" : `${hourly} per${NBSP}h`;
}

/** With a tenth below ten. @param {number} value */
function rounded(value) {
  return value >= 10 ? count(Math.floor(value + 0.5)) : String(Math.floor(value * 10 + 0.5) / 10);
}

/** The text of a highest value, as a note; empty if there is none. @param {string} highest */
export function peak(highest) {
  return highest ? `at most ${highest}` : "";
}

/**
 * Of an axis of time with labels at this distance.
 * @param {number} milliseconds
 * @param {number} stepMs
 */
export function axisLabel(milliseconds, stepMs) {
  if (!milliseconds) return "0";
  /** @type {[number, string][]} */
  const units = [[DAY_MS, "d"], [HOUR_MS, "h"], [MINUTE_MS, "min"], [SECOND_MS, "s"]];
  const [unitMs, name] = units.find(([each]) => stepMs >= each) ?? [SECOND_MS, "s"];
  return `${milliseconds / unitMs}${NBSP}${name}`;
}

/**
 * Names the running stages.
 * @param {string[]} runningLabels
 * @param {boolean} hasStarted
 */
export function activity(runningLabels, hasStarted) {
  if (runningLabels.length) return `Now: ${runningLabels.join(", ")}`;
  return hasStarted ? "Between two stages" : "Starting";
}

/** @typedef {import("./progress-events.d.ts").StageStatus | "skipped" | "stopped" | "not_run"} ShownStageStatus */

/**
 * How far a stage with this shown status is.
 * @param {ShownStageStatus} status
 * @param {number} processed
 * @param {number} total
 * @param {string} counted what it counts, in plural; may be empty
 */
export function stageDetail(status, processed, total, counted, failed = 0, isEstimate = false) {
  const whole = isEstimate ? `about ${count(total)}` : count(total);
  const amount = stageAmount(status, processed, total, whole, counted);
  return [amount, failed ? `${count(failed)} failed` : ""].filter(Boolean).join(" · ");
}

/**
 * @param {ShownStageStatus} status
 * @param {number} processed
 * @param {number} total
 * @param {string} whole the text of the total
 * @param {string} counted
 */
function stageAmount(status, processed, total, whole, counted) {
  const suffix = counted && ` ${unit(counted, total || processed)}`;
  if (status === "skipped") return "Not needed for this document";
  if (status === "not_run") return "";
  if (status === "pending") return total ? `${whole}${suffix} to do` : "";
  const isWhole = !total || (status === "completed" && processed === total);
  const amount = isWhole ? count(processed) : `${count(processed)} of ${whole}`;
  const isStopped = status === "error" || status === "stopped";
  return `${isStopped ? "Stopped at " : ""}${amount}${suffix}`;
}

/**
 * What a worker with this status does.
 * @param {import("./progress-events.d.ts").WorkerStatus} status
 * @param {string | null} chunk
 */
export function workerActivity(status, chunk) {
  const label = WORKER_LABELS[status];
  if (status === "error" && chunk) return `${label}: ${chunk}`;
  return status === "processing" && chunk ? chunk : label;
}

/** In the browser's time zone. @param {Date} instant */
export function timestamp(instant) {
  return localTime.format(instant);
}

/** Without the date if that is the day of today. @param {Date} instant */
export function moment(instant) {
  const isToday = instant.toDateString() === new Date().toDateString();
  return isToday ? localMinutes.format(instant) : timestamp(instant);
}

/** With seconds. @param {Date} instant */
export function clock(instant) {
  return localClock.format(instant);
}

/**
 * @param {number} milliseconds
 * @param {number} largeMs
 * @param {string} large
 * @param {number} smallMs
 * @param {string} small
 */
function twoUnits(milliseconds, largeMs, large, smallMs, small) {
  const rest = String(Math.floor((milliseconds % largeMs) / smallMs)).padStart(2, "0");
  return `${Math.floor(milliseconds / largeMs)}${NBSP}${large}${NBSP}${rest}${NBSP}${small}`;
}
