// @ts-check
/**
 * Updates the head of a batch's page from the stream of its jobs, which `job-list.js` opens, and
 * from the API while the page is visible: rarely if the stream sends.
 */

import { fill, setBar } from "./dom.js";
import * as format from "./format.js";
import { gettext } from "./gettext.js";
import { FORECAST_LABELS } from "./labels.js";

/**
 * @typedef {object} Batch
 * @property {string} batch_id
 * @property {string} name
 * @property {Progress} progress
 *
 * @typedef {import("./progress-events.d.ts").BatchProgressData} Streamed
 * @typedef {import("./progress-events.d.ts").BatchProgress} Progress
 */

const POLL_MS = 2_000;
const IDLE_POLL_MS = 15_000;
const STREAMED_FOR_MS = 10_000;

const head = /** @type {HTMLElement} */ (document.getElementById("batch"));

let streamedAt = -Infinity;

document.addEventListener("batch_progress", (event) => {
  const { progress } = /** @type {CustomEvent<Streamed>} */ (event).detail;
  streamedAt = performance.now();
  renderProgress(progress);
  showStale(false);
});

async function poll() {
  let isActive = false;
  try {
    const response = await fetch(head.dataset.poll ?? "", { cache: "no-cache" });
    if (!response.ok) throw new Error(`The batch responded with ${response.status}`);
    /** @type {Batch} */
    const batch = await response.json();
    render(batch);
    isActive = batch.progress.counts.queued + batch.progress.counts.running > 0;
    showStale(false);
  } catch {
    showStale(true);
  }
  const isStreamed = performance.now() - streamedAt < STREAMED_FOR_MS;
  setTimeout(start, isActive && !isStreamed ? POLL_MS : IDLE_POLL_MS);
}

function start() {
  if (document.hidden) document.addEventListener("visibilitychange", start, { once: true });
  else void poll();
}

/** @param {Batch} batch */
function render({ batch_id, name, progress }) {
  fill(head, { "batch.name": name || batch_id });
  renderProgress(progress);
}

/** @param {Progress} progress */
function renderProgress(progress) {
  const counts = Object.entries(progress.counts).filter(([, number]) => number);
  const percent = format.percent(progress.overall_progress_percent);
  fill(head, {
    "batch.percent": percent,
    "batch.remaining": remaining(progress.forecast),
    "batch.counts": counts.map((each) => format.jobsWith(...each)).join(" · ") || gettext("No jobs"),
  });
  setBar(head.querySelector("progress"), progress.overall_progress_percent, percent);
}

/**
 * The time with its range, and why it is unknown or a guess; empty after the end.
 * @param {Progress["forecast"]} forecast
 */
function remaining(forecast) {
  if (!forecast) return "";
  const left = format.remaining(forecast.likely_ms, forecast.low_ms, forecast.high_ms);
  return format.withReason(left, forecast.reason ? gettext(FORECAST_LABELS[forecast.reason]) : "");
}

/** @param {boolean} isStale */
function showStale(isStale) {
  /** @type {HTMLElement | null} */
  const notice = head.querySelector('[data-notice="batch-stale"]');
  if (notice) notice.hidden = !isStale;
}

start();
