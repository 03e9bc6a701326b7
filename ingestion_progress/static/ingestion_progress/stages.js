// @ts-check
/** The rows of the stages. */

import { fill, rows, setBar, syncRows } from "./dom.js";
import * as format from "./format.js";
import { gettext, markup } from "./gettext.js";
import { FINAL_STATUSES, STAGE_LABELS } from "./labels.js";
import { label } from "./names.js";
import * as texts from "./stage-texts.js";

/** @typedef {import("./progress-events.d.ts").PipelineProgressData} PipelineProgressData */
/** @typedef {import("./progress-events.d.ts").StageProgress} StageProgress */
/** @typedef {import("./progress-events.d.ts").JobStateData} JobStateData */

/** A skipped stage is not in `stages`; the job's state names it. */
const SKIPPED = /** @type {const} */ ({
  status: "skipped",
  processed: 0,
  total: 0,
  in_flight: 0,
  progress_percent: 0,
});

/**
 * @param {HTMLElement} root
 * @param {PipelineProgressData} progress
 * @param {JobStateData | null} state
 */
export function renderStages(root, progress, state) {
  const skipped = state?.skipped_stages ?? [];
  syncRows(root, "stages", "stage", Object.keys(progress.stages), markup().STAGE);
  const present = rows(root, "stages").map((row) => row.dataset.stage ?? "");
  syncRows(root, "stages", "stage", [...new Set([...present, ...skipped])], markup().STAGE);
  for (const row of rows(root, "stages")) {
    const name = row.dataset.stage ?? "";
    const stage = progress.stages[name];
    if (stage) renderStage(row, stage, state);
    else if (skipped.includes(name)) renderStage(row, SKIPPED, state);
    else if (state) row.remove();
  }
}

/**
 * The status of a stage, and what the end of its job made of it.
 * @param {string} name
 * @param {StageProgress["status"] | "skipped"} status
 * @param {JobStateData | null} state
 * @returns {import("./stage-texts.js").ShownStageStatus}
 */
function shownStatus(name, status, state) {
  if (status === "error" && state?.stopped_stages?.includes(name)) return "stopped";
  return status === "pending" && FINAL_STATUSES.has(state?.status) ? "not_run" : status;
}

/**
 * @param {HTMLElement} row
 * @param {StageProgress | typeof SKIPPED} stage
 * @param {JobStateData | null} state
 */
function renderStage(row, stage, state) {
  const { processed, total, in_flight, progress_percent } = stage;
  const name = row.dataset.stage ?? "";
  const status = shownStatus(name, stage.status, state);
  const failed = state?.failed_by_stage?.[name] ?? 0;
  const isEstimate = state?.estimated_stages?.includes(name);
  const unit = state?.units?.[name] ?? row.dataset.unit ?? "";
  const shownName = label(name);
  const isSkipped = status === "skipped";
  const isTotalKnown = total > 0 || status !== "in_progress";
  const percent = isSkipped ? "" : format.percent(progress_percent);
  row.dataset.status = status;
  row.dataset.unit = isSkipped ? "" : unit;
  row.dataset.failed = failed ? "true" : "";
  fill(row, {
    "stage.label": shownName,
    "stage.status": gettext(STAGE_LABELS[status]),
    "stage.percent": isTotalKnown ? percent : "–",
    "stage.detail": texts.stageDetail(status, processed, total, unit, failed, isEstimate),
    "stage.in_flight": texts.inFlight(in_flight),
    ...(isSkipped && { "stage.duration": "" }),
  });
  const bar = row.querySelector("progress");
  bar?.setAttribute("aria-label", shownName);
  setBar(bar, isTotalKnown ? progress_percent : null, isTotalKnown ? percent : "");
}
