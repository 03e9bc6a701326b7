// @ts-check
/** What stages and workers do, in the language of the page. `web/stage_texts.py` has the same. */

import { count } from "./format.js";
import { gettext } from "./gettext.js";
import { WORKER_LABELS } from "./labels.js";
import { unit } from "./names.js";

/**
 * Names the running stages.
 * @param {string[]} runningLabels
 * @param {boolean} hasStarted
 */
export function activity(runningLabels, hasStarted) {
  if (runningLabels.length) return gettext("Now: %(stages)s", { stages: runningLabels.join(", ") });
  return hasStarted ? gettext("Between two stages") : gettext("Starting");
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
  let whole = count(total);
  if (isEstimate) whole = gettext("about %(number)s", { number: whole });
  const amount = stageAmount(status, processed, total, whole, counted);
  return [amount, failures(failed)].filter(Boolean).join(" · ");
}

/** How many items failed; empty if none did. @param {number} number */
export function failures(number) {
  return number ? gettext("%(number)s failed", { number: count(number) }) : "";
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
  if (status === "skipped") return gettext("Not needed for this document");
  if (status === "not_run") return "";
  if (status === "pending") {
    return total ? gettext("%(amount)s to do", { amount: `${whole}${suffix}` }) : "";
  }
  const isWhole = !total || (status === "completed" && processed === total);
  const amount = isWhole
    ? count(processed)
    : gettext("%(number)s of %(total)s", { number: count(processed), total: whole });
  if (status === "error" || status === "stopped") {
    return gettext("Stopped at %(amount)s", { amount: `${amount}${suffix}` });
  }
  return `${amount}${suffix}`;
}

/** Items that have begun and not ended; empty if there are none. @param {number} number */
export function inFlight(number) {
  return number ? gettext("%(number)s in flight", { number: count(number) }) : "";
}

/**
 * How many workers have an item; empty without workers.
 * @param {number} active
 * @param {number} workers
 */
export function busy(active, workers) {
  if (!workers) return "";
  return gettext("%(number)s of %(total)s busy", { number: count(active), total: count(workers) });
}

/** Empty if there are none. @param {number} number */
export function waitingItems(number) {
  return number ? gettext("%(number)s waiting", { number: count(number) }) : "";
}

/** @param {number} number */
export function worker(number) {
  return gettext("Worker %(number)s", { number });
}

/**
 * What a worker with this status does.
 * @param {import("./progress-events.d.ts").WorkerStatus} status
 * @param {string | null} chunk
 */
export function workerActivity(status, chunk) {
  const label = gettext(WORKER_LABELS[status]);
  if (status === "error" && chunk) return `${label}: ${chunk}`;
  return status === "processing" && chunk ? chunk : label;
}
