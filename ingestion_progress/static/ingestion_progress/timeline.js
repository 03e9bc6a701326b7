// @ts-check
/** The bars of the stages over time. `timeline.py` computes the same for the page. */

import { areaPath, number } from "./charts.js";
import { fill, rows } from "./dom.js";
import { axisLabel, rate } from "./format.js";
import { renderFolds } from "./stage-folds.js";

/** @typedef {import("./progress-events.d.ts").PipelineProgressData} PipelineProgressData */
/** @typedef {import("./progress-events.d.ts").StageProgress} StageProgress */
/** @typedef {import("./samples.js").Samples} Samples */

/** Milliseconds since the start of the attempt. @typedef {{start: number, end: number}} Span */

/**
 * @typedef {object} Moment
 * @property {PipelineProgressData} progress
 * @property {number} elapsedMs of the attempt
 * @property {number} leftMs the likely remaining time; 0: unknown
 * @property {boolean} isOver
 * @property {number} attempt
 * @property {Samples} samples
 * @property {boolean} [isReplayed] then the axis and the folded stages stay as they are
 */

const [SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS] = [1_000, 60_000, 3_600_000, 86_400_000];
const STEPS_MS = [
  ...[100, 200, 500],
  ...[1, 2, 5, 10, 15, 30].map((n) => n * SECOND_MS),
  ...[1, 2, 5, 10, 15, 30].map((n) => n * MINUTE_MS),
  ...[1, 2, 3, 6, 12].map((n) => n * HOUR_MS),
  ...[1, 2, 5, 10, 20, 50, 100].map((n) => n * DAY_MS),
];
const MAX_STEPS = 4;
const MAX_USUAL_SHARE = 2;
const FULL_PATH = "M0 100V0H100V100Z";
const LEAST_DISTANCE = 1.5;
const MAX_PERCENT = 101;
const LAST_LABEL = 0.94;

/**
 * @param {HTMLElement} root
 * @param {Moment} moment
 */
export function renderTimeline(root, moment) {
  /** @type {HTMLElement | null} */
  const card = root.querySelector(".stages");
  if (!card) return;
  startAgain(card, moment.progress.timing.started_at);
  const widthMs = shownWidth(card, moment);
  renderAxis(card, widthMs);
  for (const row of rows(root, "stages")) {
    const stage = moment.progress.stages[row.dataset.stage ?? ""];
    const span = stage ? noteSpan(row, stage, moment) : null;
    renderBar(row, span, widthMs);
    if (stage) renderCounts(row, stage, span, moment);
  }
  if (!moment.isReplayed) {
    renderFolds(card, rows(root, "stages"), moment.progress.stages, moment.isOver);
  }
}

/**
 * Forgets the times of a former attempt.
 * @param {HTMLElement} card
 * @param {number} startedAt Unix seconds; 0 before the start
 */
function startAgain(card, startedAt) {
  const started = startedAt ? String(Math.floor(startedAt * 1000)) : "";
  const before = card.dataset.started ?? "";
  if (before === started) return;
  card.dataset.started = started;
  if (before && Math.abs(Number(started) - Number(before)) < SECOND_MS) return;
  for (const row of rows(card, "stages")) row.dataset.start = row.dataset.end = "";
}

/**
 * When the stage ran. The stream has no start of a stage, but the length of a running one.
 * @param {HTMLElement} row
 * @param {StageProgress} stage
 * @param {Moment} moment
 * @returns {Span | null}
 */
function noteSpan(row, stage, { elapsedMs, progress, isOver }) {
  if (stage.status === "pending" || !progress.timing.started_at) {
    row.dataset.start = row.dataset.end = "";
    return null;
  }
  const sinceMs = elapsedMs - progress.timing.elapsed_ms;
  const isRunning = stage.status === "in_progress" && !isOver;
  if (!row.dataset.start) {
    if (!isRunning || !stage.duration_ms) return null;
    row.dataset.start = String(Math.max(0, elapsedMs - sinceMs - stage.duration_ms));
  }
  const start = Number(row.dataset.start);
  if (isRunning) row.dataset.end = "";
  else if (!row.dataset.end) row.dataset.end = String(start + stage.duration_ms);
  return { start, end: isRunning ? Math.max(start, elapsedMs) : Number(row.dataset.end) };
}

/**
 * While a job runs, the axis stays until the end no longer fits, or is left of its middle.
 * @param {HTMLElement} card
 * @param {Moment} moment
 */
function shownWidth(card, { elapsedMs, leftMs, isOver, isReplayed }) {
  const usualMs = Number(card.dataset.usual ?? 0);
  const shown = Number(card.querySelector(".time-axis")?.getAttribute("data-axis") ?? 0);
  if (isReplayed) return shown;
  const wanted = Math.max(elapsedMs + leftMs, usualMs);
  if (!isOver && elapsedMs && wanted <= shown && wanted > shown / 2) return shown;
  return axisMs(elapsedMs, leftMs, usualMs, isOver);
}

/**
 * The length of the axis: a whole number of steps while the job runs.
 * @param {number} elapsedMs
 * @param {number} leftMs
 * @param {number} usualMs
 * @param {boolean} isOver
 */
export function axisMs(elapsedMs, leftMs, usualMs, isOver) {
  if (isOver) {
    const usual = elapsedMs ? Math.min(usualMs, elapsedMs * MAX_USUAL_SHARE) : usualMs;
    return Math.max(elapsedMs, usual);
  }
  const wanted = Math.max(elapsedMs + leftMs, usualMs);
  const step = stepMs(wanted);
  return Math.ceil(wanted / step) * step;
}

/** The distance of the labels. @param {number} widthMs */
function stepMs(widthMs) {
  return STEPS_MS.find((step) => widthMs <= step * MAX_STEPS) ?? STEPS_MS[STEPS_MS.length - 1];
}

/**
 * @param {HTMLElement} card
 * @param {number} widthMs
 */
function renderAxis(card, widthMs) {
  const axis = card.querySelector(".time-axis");
  if (!axis || axis.getAttribute("data-axis") === String(widthMs || "")) return;
  axis.setAttribute("data-axis", String(widthMs || ""));
  const step = stepMs(widthMs);
  const labels = [];
  const ticks = [];
  for (let ms = 0; widthMs && ms <= widthMs; ms += step) {
    const label = document.createElementNS("http://www.w3.org/2000/svg", "text");
    const share = ms / widthMs;
    label.setAttribute("x", `${(100 * share).toFixed(2)}%`);
    label.setAttribute("y", "12");
    label.setAttribute("text-anchor", share === 0 ? "start" : share > LAST_LABEL ? "end" : "middle");
    label.textContent = axisLabel(ms, step);
    labels.push(label);
    if (ms) ticks.push(`M${number(100 * share)} 0V1`);
  }
  axis.replaceChildren(...labels);
  for (const path of card.querySelectorAll(".time-ticks")) path.setAttribute("d", ticks.join(""));
}

/**
 * @param {HTMLElement} row
 * @param {Span | null} span
 * @param {number} widthMs
 */
function renderBar(row, span, widthMs) {
  const [start, end] = (row.dataset.usual || "0 0").split(" ").map(Number);
  const [x, width] = share(span, widthMs);
  for (const part of row.querySelectorAll(".time-bar, .time-done")) setShare(part, x, width);
  const usual = row.querySelector(".time-usual");
  if (usual) setShare(usual, ...share({ start, end }, widthMs));
}

/**
 * @param {Span | null} span
 * @param {number} widthMs
 * @returns {[string, string]}
 */
function share(span, widthMs) {
  if (!span || !widthMs) return ["0%", "0%"];
  const [start, end] = [span.start, span.end].map((ms) => (100 * ms) / widthMs);
  const width = Math.max(0, Math.min(end, MAX_PERCENT) - start);
  return [`${start.toFixed(2)}%`, `${width.toFixed(2)}%`];
}

/**
 * @param {Element} part
 * @param {string} x
 * @param {string} width
 */
function setShare(part, x, width) {
  if (part.getAttribute("x") !== x) part.setAttribute("x", x);
  if (part.getAttribute("width") !== width) part.setAttribute("width", width);
}

/** What was drawn, by row. @type {WeakMap<HTMLElement, string>} */
const drawn = new WeakMap();

/**
 * The speed, and what was done by when.
 * @param {HTMLElement} row
 * @param {StageProgress} stage
 * @param {Span | null} span
 * @param {Moment} moment
 */
function renderCounts(row, stage, span, { samples, attempt }) {
  const key = [stage.status, stage.processed, stage.total, span?.start, samples.list[0]?.elapsed_ms];
  if (drawn.get(row) === key.join()) return;
  drawn.set(row, key.join());
  const counts = samples.countsOf(row.dataset.stage ?? "");
  fill(row, { "stage.rate": stageRate(stage, span, counts, attempt) });
  const path = row.querySelector(".time-done path");
  const startsLater = (samples.list[0]?.elapsed_ms ?? Infinity) > (span?.start ?? 0) + SECOND_MS;
  // What the server has drawn knows more.
  if (span && startsLater && path?.getAttribute("d")) return;
  path?.setAttribute("d", donePath(stage, span, counts));
}

/**
 * What was done by when, within the bar of the stage; its top is all of its items.
 * @param {Pick<StageProgress, "status" | "processed" | "total">} stage
 * @param {Span | null} span
 * @param {[number, number][]} counts
 */
function donePath(stage, span, counts) {
  if (!span) return "";
  const whole = Math.max(stage.total, stage.processed);
  if (!whole) return stage.status === "completed" ? FULL_PATH : "";
  const first = counts.filter(([ms]) => ms <= span.start).at(-1)?.[1] ?? 0;
  /** @type {[number, number][]} */
  const points = [[0, first]];
  for (const [ms, done] of counts) {
    const x = (100 * (ms - span.start)) / Math.max(1, span.end - span.start);
    if (points[points.length - 1][0] + LEAST_DISTANCE <= x && x <= 100 - LEAST_DISTANCE) {
      points.push([x, done]);
    }
  }
  return areaPath([...points, [100, stage.processed]], whole);
}

/**
 * The mean speed in this attempt; empty if it is unknown what earlier ones did.
 * @param {Pick<StageProgress, "processed">} stage
 * @param {Span | null} span
 * @param {[number, number][]} counts
 * @param {number} attempt
 */
function stageRate(stage, span, counts, attempt) {
  if (!span || (attempt > 1 && !counts.length)) return "";
  const [sinceMs, done] = attempt > 1 ? counts[0] : [0, 0];
  return rate(stage.processed - done, span.end - Math.max(sinceMs, span.start));
}
