// @ts-check
/** What the page of one job adds to `<pipeline-progress>`: its title, and fresh log and actions. */

import "./pipeline-progress.js";
import { percent } from "./format.js";
import { JOB_LABELS } from "./labels.js";
import { localiseTimes } from "./local-times.js";

/** @typedef {import("./progress-events.d.ts").PipelineProgressData} PipelineProgressData */
/** @typedef {import("./progress-events.d.ts").JobStateData} JobStateData */

const SOON_MS = 300;
const REFRESH_MS = 3_000;
const plainTitle = document.title;

/** @type {number | undefined} */
let refreshTimer;
let milestone = "";
let refreshedAt = -Infinity;

document.addEventListener("progresschange", (event) => {
  const { overall_progress_percent } = /** @type {CustomEvent<PipelineProgressData>} */ (event).detail;
  document.title = `${percent(overall_progress_percent)} · ${plainTitle}`;
  noteMilestone();
});
document.addEventListener("statechange", noteMilestone);
document.addEventListener("connectionchange", (event) => {
  const connection = /** @type {CustomEvent<string>} */ (event).detail;
  // A percentage that does not move any more would be a lie in a tab's title.
  if (connection !== "live") document.title = plainTitle;
  const status = theJob()?.state?.status;
  if (connection === "ended" && status) document.title = `${JOB_LABELS[status]} · ${plainTitle}`;
});
document.addEventListener("complete", () => void refresh());
document.addEventListener("failure", () => void refresh());
localiseTimes(document);

/** Fetches the log again when a stage turned, an error was recorded, or a stop was asked for. */
function noteMilestone() {
  const job = theJob();
  if (!job?.progress || !job.state) return;
  const stages = Object.values(job.progress.stages).map((stage) => stage.status);
  const { status, error_count, cancel_requested } = job.state;
  const reached = JSON.stringify([status, error_count, cancel_requested, stages]);
  if (reached === milestone) return;
  milestone = reached;
  const pause = Math.max(SOON_MS, refreshedAt + REFRESH_MS - performance.now());
  refreshTimer ??= setTimeout(() => void refresh(), pause);
}

/** Takes over what the server says now and the stream does not. */
async function refresh() {
  clearTimeout(refreshTimer);
  refreshTimer = undefined;
  refreshedAt = performance.now();
  const fresh = await fetchPage().catch(() => null);
  if (!fresh) return;
  localiseTimes(fresh);
  const [log, freshLog] = [document.getElementById("log"), fresh.getElementById("log")];
  if (log && freshLog && log.innerHTML !== freshLog.innerHTML) {
    log.replaceChildren(...freshLog.childNodes);
  }
  if (!fresh.getElementById("actions")?.childElementCount) removeActions();
  takeUnits(fresh);
}

/** There is nothing left to do for this job. */
function removeActions() {
  const actions = document.getElementById("actions");
  if (actions?.contains(document.activeElement)) document.querySelector("main")?.focus();
  actions?.replaceChildren();
}

/**
 * What a stage counts is not on the wire, and a queued job has not said it yet.
 * @param {Document} fresh
 */
function takeUnits(fresh) {
  /** @type {NodeListOf<HTMLElement>} */
  const stages = document.querySelectorAll("[data-stage]");
  for (const stage of stages) {
    const name = CSS.escape(stage.dataset.stage ?? "");
    const unit = fresh.querySelector(`[data-stage="${name}"]`)?.getAttribute("data-unit");
    stage.dataset.unit = unit ?? "";
  }
  theJob()?.render();
}

function theJob() {
  /** @type {import("./pipeline-progress.js").PipelineProgress | null} */
  const job = document.querySelector("pipeline-progress");
  return job;
}

async function fetchPage() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!response.ok && response.status !== 404) return null;
  return new DOMParser().parseFromString(await response.text(), "text/html");
}
