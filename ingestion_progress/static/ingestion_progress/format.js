// @ts-check
/**
 * Texts of numbers, durations and states, in the language of the page. `formatting.py` has the same;
 * both pass the same cases.
 */

import { gettext, language, ngettext } from "./gettext.js";
import { JOB_LABELS } from "./labels.js";
import { translateStored } from "./stored-sentences.js";

const NBSP = "\u00a0";
const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
/** The formats of one language. @typedef {ReturnType<typeof makeFormats>} Formats */

/** @param {string} tag */
function makeFormats(tag) {
  const dates = tag === "en" ? "en-GB" : tag;
  return {
    whole: new Intl.NumberFormat(tag, { maximumFractionDigits: 0, useGrouping: true }),
    point: new Intl.NumberFormat(tag, { minimumFractionDigits: 1 }).format(0.5).slice(1, -1),
    time: new Intl.DateTimeFormat(dates, {
      day: "numeric",
      month: "short",
      year: "numeric",
      hour: "2-digit",
      minute: "2-digit",
    }),
    minutes: new Intl.DateTimeFormat(dates, { timeStyle: "short" }),
    clock: new Intl.DateTimeFormat(dates, { timeStyle: "medium" }),
  };
}

/** They are expensive to make. @type {Map<string, Formats>} */
const made = new Map();

function formats() {
  const tag = language();
  const found = made.get(tag) ?? makeFormats(tag);
  made.set(tag, found);
  return found;
}

/** @param {number} number */
export function count(number) {
  return formats().whole.format(number);
}

/** A number with a point, as the language has it. @param {string} text */
function decimal(text) {
  return text.replace(".", formats().point);
}

/** Whole percent, rounded down, so that only finished work shows 100%. @param {number} value */
export function percent(value) {
  return gettext("%(number)s%%", { number: Math.floor(value) });
}

/** @param {number} value */
export function exactPercent(value) {
  const shown = 0 < value && value < 100 ? value.toFixed(1) : value.toFixed(0);
  return gettext("%(number)s%%", { number: decimal(shown) });
}

/** The two largest units, rounded down; tenths below a second. @param {number} milliseconds */
export function duration(milliseconds) {
  if (milliseconds < SECOND_MS) {
    const tenths = Math.floor(milliseconds / 100);
    return tenths ? `${decimal(`0.${tenths}`)}${NBSP}s` : `0${NBSP}s`;
  }
  if (milliseconds < MINUTE_MS) return `${Math.floor(milliseconds / SECOND_MS)}${NBSP}s`;
  if (milliseconds < HOUR_MS) return twoUnits(milliseconds, MINUTE_MS, "min", SECOND_MS, "s");
  if (milliseconds < DAY_MS) return twoUnits(milliseconds, HOUR_MS, "h", MINUTE_MS, "min");
  return twoUnits(milliseconds, DAY_MS, "d", HOUR_MS, "h");
}

/** A duration of what has ended: tenths below ten seconds. @param {number} milliseconds */
export function exactDuration(milliseconds) {
  if (milliseconds < SECOND_MS || milliseconds >= 10 * SECOND_MS) return duration(milliseconds);
  return `${decimal((Math.floor(milliseconds / 100) / 10).toFixed(1))}${NBSP}s`;
}

/** How long ago something was, in its largest unit, rounded down. @param {number} milliseconds */
export function age(milliseconds) {
  if (milliseconds < MINUTE_MS) return gettext("just now");
  if (milliseconds < HOUR_MS) {
    return gettext("%(number)s\u00a0min ago", { number: Math.floor(milliseconds / MINUTE_MS) });
  }
  if (milliseconds < DAY_MS) {
    return gettext("%(number)s\u00a0h ago", { number: Math.floor(milliseconds / HOUR_MS) });
  }
  const days = Math.floor(milliseconds / DAY_MS);
  return ngettext("%(number)s\u00a0d ago", "%(number)s\u00a0d ago", days, { number: days });
}

/**
 * A rounded estimate with its range: "about 3 min left (2–5 min)"; empty if there is none.
 * @param {number} milliseconds
 */
export function remaining(milliseconds, lowMs = 0, highMs = 0) {
  if (milliseconds <= 0) return "";
  if (milliseconds < 10 * SECOND_MS) return gettext("a few seconds left");
  const about = gettext("about %(time)s left", { time: roundedTime(milliseconds) });
  return `${about}${timeRange(lowMs, highMs)}`;
}

/** @param {number} milliseconds */
function roundedTime(milliseconds) {
  if (milliseconds <= 50 * SECOND_MS) {
    return `${Math.ceil(milliseconds / (10 * SECOND_MS)) * 10}${NBSP}s`;
  }
  const quarters = Math.ceil(milliseconds / (15 * SECOND_MS));
  if (milliseconds <= 3 * MINUTE_MS && quarters % 4) return duration(quarters * 15 * SECOND_MS);
  if (milliseconds < HOUR_MS) return `${Math.ceil(milliseconds / MINUTE_MS)}${NBSP}min`;
  return duration(milliseconds);
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
function timeRange(lowMs, highMs) {
  if (highMs <= 0) return "";
  let [stepMs, factor, unit] = [HOUR_MS, 1, "h"];
  if (highMs <= 50 * SECOND_MS) [stepMs, factor, unit] = [10 * SECOND_MS, 10, "s"];
  else if (highMs < HOUR_MS) [stepMs, factor, unit] = [MINUTE_MS, 1, "min"];
  const low = Math.floor(lowMs / stepMs) * factor;
  const high = Math.ceil(highMs / stepMs) * factor;
  if (low) return ` (${low}–${high}${NBSP}${unit})`;
  return ` (${gettext("up to %(time)s", { time: `${high}${NBSP}${unit}` })})`;
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
  const name = units[0] === "bytes" ? gettext("bytes") : units[0];
  return `${decimal(shown)}${NBSP}${name}`;
}

/**
 * The label of a status; a success with failed items says so.
 * @param {import("./progress-events.d.ts").JobStatus} status
 * @param {number} failedItems
 */
export function jobLabel(status, failedItems) {
  if (status !== "succeeded" || !failedItems) {
    const label = JOB_LABELS[status];
    return label ? gettext(label) : "";
  }
  return ngettext(
    "Succeeded with %(number)s error",
    "Succeeded with %(number)s errors",
    failedItems,
    { number: count(failedItems) },
  );
}

/** Errors that did not end the job; empty if there are none. @param {number} errors */
export function errorNote(errors) {
  return errors ? gettext("Errors during ingestion: %(number)s", { number: count(errors) }) : "";
}

/** Only of later attempts. @param {number} attempt */
export function attemptNote(attempt) {
  return attempt > 1 ? gettext("Attempt %(number)s", { number: count(attempt) }) : "";
}

/** Empty if it waits for none. @param {string} service */
export function waiting(service) {
  if (!service) return "";
  return gettext("Waiting for %(service)s", { service: translateStored(service) });
}

/**
 * What a queued job waits for.
 * @param {number} attempt
 * @param {number} maxAttempts
 * @param {string} reason how the last attempt ended; empty if a person retries the job
 * @param {number | null} dueInMs null once its task is queued
 */
export function nextAttempt(attempt, maxAttempts, reason, dueInMs) {
  const values = { number: count(attempt), limit: count(maxAttempts) };
  const text = reason
    ? gettext("Waiting to continue: attempt %(number)s of %(limit)s", values)
    : gettext("Waiting to start again: attempt %(number)s of %(limit)s", values);
  if (dueInMs === null) return `${text}.`;
  if (dueInMs < SECOND_MS) return gettext("%(text)s, due now.", { text });
  return gettext("%(text)s, due in %(time)s.", { text, time: duration(dueInMs) });
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
    if (found >= 1) return per(rounded(found), name);
  }
  const hourly = rounded((items * HOUR_MS) / milliseconds);
  return hourly === "0" ? "" : per(hourly, "h");
}

/**
 * @param {string} number
 * @param {string} unit
 */
function per(number, unit) {
  return gettext("%(number)s per\u00a0%(unit)s", { number, unit });
}

/** With a tenth below ten. @param {number} value */
function rounded(value) {
  if (value >= 10) return count(Math.floor(value + 0.5));
  return decimal(String(Math.floor(value * 10 + 0.5) / 10));
}

/** The text of a highest value, as a note; empty if there is none. @param {string} highest */
export function peak(highest) {
  return highest ? gettext("at most %(number)s", { number: highest }) : "";
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
  return `${decimal(String(milliseconds / unitMs))}${NBSP}${name}`;
}

/**
 * How many jobs are in a state; those that are queued wait.
 * @param {string} state
 * @param {number} number
 */
export function jobsWith(state, number) {
  const values = { number: count(number) };
  switch (state) {
    case "queued": return gettext("%(number)s waiting", values);
    case "running": return gettext("%(number)s running", values);
    case "succeeded": return gettext("%(number)s succeeded", values);
    case "partial": return gettext("%(number)s succeeded with errors", values);
    case "failed": return gettext("%(number)s failed", values);
    case "cancelled": return gettext("%(number)s cancelled", values);
    default: return gettext("%(number)s lost", values);
  }
}

/** In the browser's time zone. @param {Date} instant */
export function timestamp(instant) {
  return formats().time.format(instant);
}

/** A time, without the date if it is today. @param {Date} instant */
export function moment(instant) {
  const isToday = instant.toDateString() === new Date().toDateString();
  return isToday ? formats().minutes.format(instant) : timestamp(instant);
}

/** With seconds. @param {Date} instant */
export function clock(instant) {
  return formats().clock.format(instant);
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
