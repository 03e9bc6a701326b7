// @ts-check
/** The rows of the stages. */

import { fill, rows, setBar, syncRows } from "./dom.js";
import * as format from "./format.js";
import { STAGE } from "./skeleton.js";
import { STAGE_LABELS } from "./words.js";

/** @typedef {import("./progress-events.d.ts").PipelineProgressData} PipelineProgressData */
/** @typedef {import("./progress-events.d.ts").StageProgress} StageProgress */
/** @typedef {import("./progress-events.d.ts").JobStateData} JobStateData */

/**
 * @param {HTMLElement} root
 * @param {PipelineProgressData} progress
 * @param {JobStateData | null} state
 */
export function renderStages(root, progress, state) {
  syncRows(root, "stages", "stage", Object.keys(progress.stages), STAGE);
  for (const row of rows(root, "stages")) {
    const name = row.dataset.stage ?? "";
    const stage = progress.stages[name];
    if (stage) renderStage(row, stage);
    else if (state?.skipped_stages.includes(name)) renderSkippedStage(row);
    else if (state) row.remove();
  }
  for (const name of state?.skipped_stages ?? []) {
    if (rows(root, "stages").some((row) => row.dataset.stage === name)) continue;
    syncRows(root, "stages", "stage", [...rows(root, "stages").map(stageName), name], STAGE);
    const row = rows(root, "stages").find((candidate) => candidate.dataset.stage === name);
    if (row) renderSkippedStage(row);
  }
}

/** @param {HTMLElement} row */
function stageName(row) {
  return row.dataset.stage ?? "";
}

/**
 * @param {HTMLElement} row
 * @param {StageProgress} stage
 */
function renderStage(row, stage) {
  const isUnknown = !stage.total && stage.status === "in_progress";
  row.dataset.status = stage.status;
  fill(row, {
    "stage.label": format.label(stage.name),
    "stage.status": STAGE_LABELS[stage.status],
    "stage.percent": isUnknown ? "–" : format.percent(stage.progress_percent),
    "stage.detail": stageDetail(stage, row.dataset.unit),
    "stage.in_flight": stage.in_flight ? `${format.count(stage.in_flight)} in flight` : "",
  });
  const bar = row.querySelector("progress");
  bar?.setAttribute("aria-label", format.label(stage.name));
  if (isUnknown) setBar(bar, null);
  else setBar(bar, stage.progress_percent, format.percent(stage.progress_percent));
}

/** @param {HTMLElement} row */
function renderSkippedStage(row) {
  const name = format.label(row.dataset.stage ?? "");
  row.dataset.status = "skipped";
  fill(row, {
    "stage.label": name,
    "stage.status": STAGE_LABELS.skipped,
    "stage.percent": "",
    "stage.detail": "Not needed for this document",
    "stage.in_flight": "",
    "stage.duration": "",
  });
  const bar = row.querySelector("progress");
  bar?.setAttribute("aria-label", name);
  setBar(bar, 0);
}

/**
 * @param {StageProgress} stage
 * @param {string} [unit] what is counted, in plural; not on the wire
 */
function stageDetail(stage, unit) {
  const counted = unit ? ` ${format.unit(unit, stage.total || stage.processed)}` : "";
  const processed = format.count(stage.processed);
  const total = stage.total ? format.count(stage.total) : "";
  const of = total && `${processed} of ${total}${counted}`;
  switch (stage.status) {
    case "pending":
      return total && `${total}${counted} to do`;
    case "in_progress":
      return of || `${processed}${counted}`;
    case "completed":
      return stage.total !== stage.processed && of ? of : `${processed}${counted}`;
    case "error":
      return `Stopped at ${of || `${processed}${counted}`}`;
  }
}
