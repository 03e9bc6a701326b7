// @ts-check
/** Writes a job's state into the markup of `<pipeline-progress>`. */

import { element, fill, rows, setBar, syncRows } from "./dom.js";
import * as format from "./format.js";
import { gettext, markup } from "./gettext.js";
import { DEFAULT_STAGES, FINAL_STATUSES, FORECAST_LABELS } from "./labels.js";
import { label } from "./names.js";
import * as texts from "./stage-texts.js";
import { serverNow } from "./server-clock.js";
import { renderStages } from "./stages.js";
import { translateStored } from "./stored-sentences.js";

/** @typedef {import("./progress-events.d.ts").PipelineProgressData} PipelineProgressData */
/** @typedef {import("./progress-events.d.ts").JobStateData} JobStateData */
/** @typedef {import("./progress-events.d.ts").NextAttemptData} NextAttemptData */
/** @typedef {import("./progress-events.d.ts").ForecastData} ForecastData */
/** @typedef {import("./progress-events.d.ts").WorkerInfo} WorkerInfo */

const NOTHING = "–";
/** At most this many workers are shown without unfolding them. */
const FEW_WORKERS = 8;

/**
 * @param {HTMLElement} root
 * @param {PipelineProgressData} progress
 * @param {JobStateData | null} state null until the server has sent one
 */
export function renderProgress(root, progress, state) {
  const { worker_pool: pool, timing } = progress;
  const percent = progress.overall_progress_percent;
  fill(root, {
    "job.document_name": progress.document_name || progress.document_id,
    "job.percent": format.exactPercent(percent),
    "job.activity": activity(progress),
    "job.started": timing.started_at
      ? format.timestamp(new Date(timing.started_at * 1000))
      : NOTHING,
    "job.busy": texts.busy(pool.active, pool.max),
    "job.waiting": texts.waitingItems(pool.queue_depth),
  });
  setBar(root.querySelector('[data-bar="job"]'), percent, format.exactPercent(percent));
  renderStages(root, progress, state);
  renderWorkers(root, pool.workers);
  const { total_chunks, total_images, metrics } = progress;
  const counts = { total_chunks, total_images, ...metrics };
  renderMetrics(root, counts);
  // Another kind of job than document ingestion, which counts none of them.
  const isOther = !DEFAULT_STAGES.some((name) => name in progress.stages || isSkipped(state, name));
  hideMetrics(root, Object.keys(counts), isOther && !Object.values(counts).some(Boolean));
  renderClock(root, progress, 0, Boolean(state && FINAL_STATUSES.has(state.status)));
}

/**
 * @param {HTMLElement} root
 * @param {JobStateData} state
 * @param {NextAttemptData | null} nextAttempt
 */
export function renderState(root, state, nextAttempt) {
  root.dataset.status = state.status;
  root.dataset.liveness = state.liveness ?? "";
  root.dataset.result = state.result ?? "";
  fill(root, {
    "job.status": format.jobLabel(state.status, state.failed_items ?? 0),
    "job.error": translateStored(state.error ?? ""),
    "job.error_note": format.errorNote(state.error_count),
    "job.waiting_for": translateStored(state.waiting_for ?? ""),
  });
  if (nextAttempt) renderNextAttempt(root, nextAttempt);
  showNotice(root, noticeName(state, nextAttempt));
  renderMetrics(root, { error_count: state.error_count });
  renderCounters(root, state.counters);
}

/**
 * @param {HTMLElement} root
 * @param {NextAttemptData} nextAttempt
 */
export function renderNextAttempt(root, { attempt, max_attempts, due_at, reason }) {
  const dueInMs = due_at === null ? null : due_at * 1000 - serverNow();
  const text = format.nextAttempt(attempt, max_attempts, reason, dueInMs);
  fill(root, { "job.next_attempt": text });
}

/**
 * How long ago a silent job gave its last sign of life.
 * @param {HTMLElement} root
 * @param {JobStateData} state
 * @param {number} nowMs by the server's clock
 */
export function renderSilence(root, { heartbeat_at = null }, nowMs) {
  if (heartbeat_at === null) return;
  fill(root, { "job.silence": format.duration(Math.max(0, nowMs - heartbeat_at * 1000)) });
}

/**
 * Updates the durations, `sinceMs` after the newest state.
 * @param {HTMLElement} root
 * @param {PipelineProgressData} progress
 * @param {number} sinceMs
 * @param {boolean} [isOver]
 */
export function renderClock(root, progress, sinceMs, isOver = false) {
  const { started_at, elapsed_ms } = progress.timing;
  const write = isOver ? format.exactDuration : format.duration;
  fill(root, { "job.elapsed": write(started_at ? elapsed_ms + sinceMs : 0) });
  for (const row of rows(root, "stages")) {
    const stage = progress.stages[row.dataset.stage ?? ""];
    if (!stage) continue;
    const sinceStart = stage.duration_ms + (stage.status === "in_progress" ? sinceMs : 0);
    const hasBegun = stage.status !== "pending";
    fill(row, { "stage.duration": hasBegun ? format.duration(sinceStart) : "" });
  }
}

/**
 * Shows the one notice that applies.
 * @param {HTMLElement} root
 * @param {string} name
 */
export function showNotice(root, name) {
  /** @type {NodeListOf<HTMLElement>} */
  const notices = root.querySelectorAll("[data-notice]");
  for (const notice of notices) notice.hidden = notice.dataset.notice !== name;
}

/**
 * @param {JobStateData} state
 * @param {NextAttemptData | null} nextAttempt
 */
function noticeName(state, nextAttempt) {
  if (FINAL_STATUSES.has(state.status)) return state.status;
  if (nextAttempt && state.liveness === "queued") return "next_attempt";
  if (state.cancel_requested) return "stopping";
  return state.waiting_for ? "waiting" : `liveness-${state.liveness}`;
}

/**
 * The estimate with its range, or why there is none; nothing for a job without progress.
 * @param {HTMLElement} root
 * @param {number} leftMs 0: unknown
 * @param {JobStateData | null} state
 * @param {ForecastData | null} forecast null until the server has sent one
 */
export function renderRemaining(root, leftMs, state, forecast) {
  const isMoving = !state || state.liveness === "working";
  const left = format.remaining(leftMs, forecast?.low_ms, forecast?.high_ms);
  const reason = forecast?.reason ? gettext(FORECAST_LABELS[forecast.reason]) : "";
  const text = isMoving ? format.withReason(left, reason) : "";
  fill(root, { "job.remaining": text || NOTHING });
}

/**
 * When the job ended, or will end, beside the usual time.
 * @param {HTMLElement} root
 * @param {PipelineProgressData} progress
 * @param {number} leftMs 0: unknown
 * @param {boolean} isOver
 */
export function renderEnd(root, { timing }, leftMs, isOver) {
  const endMs = isOver ? timing.started_at * 1000 + timing.elapsed_ms : serverNow() + leftMs;
  const isKnown = isOver ? timing.started_at > 0 : leftMs > 0;
  fill(root, {
    "job.end_label": isOver ? gettext("Ended") : gettext("Expected end"),
    "job.end": isKnown ? format.moment(new Date(endMs)) : NOTHING,
  });
  /** @type {HTMLElement | null} */
  const note = root.querySelector("[data-usual-time]");
  const time = note?.dataset.usualTime ?? "";
  const usual = isOver ? gettext("then usual %(time)s", { time }) : gettext("usually %(time)s", { time });
  if (note && note.textContent !== usual) note.textContent = usual;
}

/** @param {PipelineProgressData} progress */
function activity(progress) {
  const stages = Object.values(progress.stages);
  const running = stages.filter((stage) => stage.status === "in_progress");
  return texts.activity(
    running.map((stage) => label(stage.name)),
    stages.some((stage) => stage.status !== "pending"),
  );
}

/**
 * @param {HTMLElement} root
 * @param {WorkerInfo[]} workers
 */
function renderWorkers(root, workers) {
  syncRows(root, "workers", "worker", workers.map((worker) => String(worker.id)), markup().WORKER);
  const byNumber = new Map(workers.map((worker) => [String(worker.id), worker]));
  for (const row of rows(root, "workers")) {
    const worker = byNumber.get(row.dataset.worker ?? "");
    if (!worker) {
      row.remove();
      continue;
    }
    row.dataset.status = worker.status;
    fill(row, {
      "worker.number": String(worker.id),
      "worker.activity": texts.workerActivity(worker.status, worker.current_chunk),
    });
    const bar = row.querySelector("progress");
    bar?.setAttribute("aria-label", texts.worker(worker.id));
    setBar(bar, worker.progress_percent);
  }
  renderCells(root, workers);
  /** @type {HTMLElement | null} */
  const empty = root.querySelector('[data-empty="workers"]');
  if (empty) empty.hidden = workers.length > 0;
  /** @type {HTMLDetailsElement | null} */
  const details = root.querySelector(".worker-details");
  if (!details) return;
  if (details.hidden) details.open = workers.length <= FEW_WORKERS && workers.length > 0;
  details.hidden = !workers.length;
}

/**
 * One cell per worker, with what it does as a tooltip.
 * @param {HTMLElement} root
 * @param {WorkerInfo[]} workers
 */
function renderCells(root, workers) {
  syncRows(root, "cells", "cell", workers.map((worker) => String(worker.id)), markup().CELL);
  const cells = rows(root, "cells");
  cells.slice(workers.length).forEach((cell) => cell.remove());
  workers.forEach((worker, index) => {
    const cell = cells[index];
    const activity = texts.workerActivity(worker.status, worker.current_chunk);
    const title = `${texts.worker(worker.id)}: ${activity}`;
    if (cell.dataset.status !== worker.status) cell.dataset.status = worker.status;
    if (cell.title !== title) cell.title = title;
  });
}

/**
 * @param {HTMLElement} root
 * @param {Record<string, number>} metrics
 */
function renderMetrics(root, metrics) {
  for (const [name, value] of Object.entries(metrics)) {
    const entry = root.querySelector(`[data-metric="${name}"]`);
    if (entry) fill(entry, { "metric.value": format.count(value) });
  }
}

/**
 * @param {HTMLElement} root
 * @param {string[]} names
 * @param {boolean} hidden
 */
function hideMetrics(root, names, hidden) {
  for (const name of names) {
    /** @type {HTMLElement | null} */
    const entry = root.querySelector(`[data-metric="${name}"]`);
    if (entry) entry.hidden = hidden;
  }
}

/**
 * @param {JobStateData | null} state
 * @param {string} name
 */
function isSkipped(state, name) {
  return state?.skipped_stages.includes(name) ?? false;
}

/**
 * The counters that the pipeline defines, after the metrics of every job.
 * @param {HTMLElement} root
 * @param {Record<string, number>} counters
 */
function renderCounters(root, counters) {
  const list = root.querySelector('[data-list="metrics"]');
  if (!list) return;
  for (const [name, value] of Object.entries(counters)) {
    let entry = list.querySelector(`[data-counter="${CSS.escape(name)}"]`);
    if (!entry) {
      entry = element(markup().COUNTER);
      entry.setAttribute("data-counter", name);
      fill(entry, { "metric.label": label(name) });
      list.append(entry);
    }
    fill(entry, { "metric.value": format.count(value) });
  }
}
