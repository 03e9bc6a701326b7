// @ts-check
/** Updates the log, the actions and the tab of a job's page around `<pipeline-progress>`. */

import "./dialogs.js";
import "./pipeline-progress.js";
import { localiseTimes } from "./dom.js";
import { JobLog } from "./job-log.js";
import { notifyOfEnd, offerNotification, renderTab } from "./job-tab.js";
import { FINAL_STATUSES } from "./labels.js";
import { renderNewerErrors } from "./newer-errors.js";
import { OverTime } from "./over-time.js";
import { updateParts } from "./page-parts.js";
import { Replay } from "./replay.js";

const MIN_DELAY_MS = 300;
const REFRESH_MS = 3_000;
const ERRORS_REFRESH_MS = 10_000;
const AGES_MS = 30_000;
/** Ids of what the stream does not send. */
const PARTS = ["history", "attention", "attempts"];

/** @type {number | undefined} */
let refreshTimer;
let refreshAt = 0;
let lastMilestone = "";
let lastErrors = 0;
let refreshedAt = -Infinity;

const logCard = document.getElementById("log");
const log = logCard && new JobLog(logCard);
const chartCard = document.getElementById("over-time");
const overTime = chartCard && new OverTime(chartCard);
const replayCard = document.getElementById("replay");
const replay = replayCard && chartCard && new Replay(replayCard, chartCard);
replay?.offer();

document.addEventListener("progresschange", onChange);
document.addEventListener("statechange", onChange);
document.addEventListener("connectionchange", () => renderTab(jobElement()));
document.addEventListener("complete", onEnd);
document.addEventListener("failure", onEnd);
localiseTimes(document);
setInterval(() => localiseTimes(document.getElementById("history") ?? document), AGES_MS);
if (!FINAL_STATUSES.has(jobElement()?.dataset.status)) {
  offerNotification(document.getElementById("notify"));
}

function onChange() {
  const job = jobElement();
  renderTab(job);
  log?.update(job?.state?.event_count ?? 0);
  if (job) overTime?.update(job);
  renderNewerErrors(job?.state);
  onMilestone();
}

function onEnd() {
  renderTab(jobElement());
  notifyOfEnd(jobElement());
  document.getElementById("notify")?.remove();
  void refresh();
}

/** Refreshes after a change of a stage or the status, and less often after new errors. */
function onMilestone() {
  const job = jobElement();
  if (!job?.progress || !job.state) return;
  const stages = Object.values(job.progress.stages).map((stage) => stage.status);
  const { status, attempt, cancel_requested } = job.state;
  const milestone = JSON.stringify([status, attempt, cancel_requested, stages]);
  const isMilestone = milestone !== lastMilestone;
  if (!isMilestone && job.state.error_count === lastErrors) return;
  lastMilestone = milestone;
  lastErrors = job.state.error_count;
  refreshAfter(isMilestone ? REFRESH_MS : ERRORS_REFRESH_MS);
}

/**
 * Refreshes so long after the last time, or earlier if that is planned.
 * @param {number} pauseMs
 */
function refreshAfter(pauseMs) {
  const now = performance.now();
  const at = Math.max(now + MIN_DELAY_MS, refreshedAt + pauseMs);
  if (refreshTimer !== undefined && refreshAt <= at) return;
  clearTimeout(refreshTimer);
  refreshAt = at;
  refreshTimer = setTimeout(() => void refresh(), at - now);
}

/** Takes what the stream does not send from a newly rendered page. */
async function refresh() {
  clearTimeout(refreshTimer);
  refreshTimer = undefined;
  refreshedAt = performance.now();
  const fresh = await fetchPage().catch(() => null);
  if (!fresh) return;
  localiseTimes(fresh);
  updateParts(fresh, PARTS);
  renderNewerErrors(jobElement()?.state);
  updateActions(fresh.getElementById("actions"));
  if (!replay?.isActive) overTime?.replace(fresh.getElementById("over-time"));
  updateStages(fresh);
  replay?.offer();
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
 * Starts and ends are not on the wire, and are unknown while the job is queued.
 * @param {Document} fresh
 */
function updateStages(fresh) {
  /** @type {NodeListOf<HTMLElement>} */
  const stages = document.querySelectorAll("[data-stage]");
  for (const stage of stages) {
    const name = CSS.escape(stage.dataset.stage ?? "");
    /** @type {HTMLElement | null} */
    const newest = fresh.querySelector(`[data-stage="${name}"]`);
    // A stage that ran between two updates.
    if (!stage.dataset.start && newest?.dataset.end) {
      stage.dataset.start = newest.dataset.start;
      stage.dataset.end = newest.dataset.end;
    }
  }
  jobElement()?.render();
}

function jobElement() {
  /** @type {import("./pipeline-progress.js").PipelineProgress | null} */
  const job = document.querySelector("pipeline-progress");
  return job;
}

/** Null if it is not the page of the job, but that of a log-in or an error. */
async function fetchPage() {
  const response = await fetch(location.href, { headers: { Accept: "text/html" } });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (response.status === 404 || page.querySelector("pipeline-progress")) return page;
  if (response.status < 500) jobElement()?.checkAccess();
  return null;
}
