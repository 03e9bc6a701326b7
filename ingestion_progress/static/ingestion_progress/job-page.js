// @ts-check
/** Updates the title, log and actions of a job's page around `<pipeline-progress>`. */

import "./pipeline-progress.js";
import { localiseTimes } from "./dom.js";
import { jobLabel, percent } from "./format.js";

/** @typedef {import("./progress-events.d.ts").PipelineProgressData} PipelineProgressData */
/** @typedef {import("./progress-events.d.ts").JobStateData} JobStateData */

const MIN_DELAY_MS = 300;
const REFRESH_MS = 3_000;
const plainTitle = document.title;

/** @type {number | undefined} */
let refreshTimer;
let lastMilestone = "";
let refreshedAt = -Infinity;

document.addEventListener("progresschange", (event) => {
  const { overall_progress_percent } = /** @type {CustomEvent<PipelineProgressData>} */ (event).detail;
  document.title = `${percent(overall_progress_percent)} · ${plainTitle}`;
  onMilestone();
});
document.addEventListener("statechange", onMilestone);
document.addEventListener("connectionchange", (event) => {
  const connection = /** @type {CustomEvent<string>} */ (event).detail;
  // A percentage in the tab's title would be out of date.
  if (connection !== "live") document.title = plainTitle;
  const state = jobElement()?.state;
  if (connection !== "ended" || !state) return;
  document.title = `${jobLabel(state.status, state.failed_items ?? 0)} · ${plainTitle}`;
});
document.addEventListener("complete", () => void refresh());
document.addEventListener("failure", () => void refresh());
localiseTimes(document);

/** Refreshes after a change of a stage, a new error or a cancellation request. */
function onMilestone() {
  const job = jobElement();
  if (!job?.progress || !job.state) return;
  const stages = Object.values(job.progress.stages).map((stage) => stage.status);
  const { status, attempt, error_count, cancel_requested } = job.state;
  const milestone = JSON.stringify([status, attempt, error_count, cancel_requested, stages]);
  if (milestone === lastMilestone) return;
  lastMilestone = milestone;
  const delay = Math.max(MIN_DELAY_MS, refreshedAt + REFRESH_MS - performance.now());
  refreshTimer ??= setTimeout(() => void refresh(), delay);
}

/** Takes what the stream does not send from a newly rendered page. */
async function refresh() {
  clearTimeout(refreshTimer);
  refreshTimer = undefined;
  refreshedAt = performance.now();
  const fresh = await fetchPage().catch(() => null);
  if (!fresh) return;
  localiseTimes(fresh);
  for (const id of ["log", "attempts"]) {
    const [shown, newest] = [document.getElementById(id), fresh.getElementById(id)];
    if (shown && newest && shown.innerHTML !== newest.innerHTML) {
      shown.replaceChildren(...newest.childNodes);
    }
  }
  updateActions(fresh.getElementById("actions"));
  updateUnits(fresh);
}

/**
 * Replaces the buttons if there are others now; the focus moves out of them first.
 * @param {HTMLElement | null} newest null on the page of a job that was deleted
 */
function updateActions(newest) {
  const actions = document.getElementById("actions");
  const offered = newest?.dataset.offered ?? "";
  if (!actions || actions.dataset.offered === offered) return;
  if (actions.contains(document.activeElement)) document.querySelector("main")?.focus();
  actions.dataset.offered = offered;
  actions.replaceChildren(...(newest?.childNodes ?? []));
}

/**
 * Units are not on the wire, and are unknown while the job is queued.
 * @param {Document} fresh
 */
function updateUnits(fresh) {
  /** @type {NodeListOf<HTMLElement>} */
  const stages = document.querySelectorAll("[data-stage]");
  for (const stage of stages) {
    const name = CSS.escape(stage.dataset.stage ?? "");
    const unit = fresh.querySelector(`[data-stage="${name}"]`)?.getAttribute("data-unit");
    stage.dataset.unit = unit ?? "";
  }
  jobElement()?.render();
}

function jobElement() {
  /** @type {import("./pipeline-progress.js").PipelineProgress | null} */
  const job = document.querySelector("pipeline-progress");
  return job;
}

async function fetchPage() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!response.ok && response.status !== 404) return null;
  return new DOMParser().parseFromString(await response.text(), "text/html");
}
