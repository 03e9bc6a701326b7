// @ts-check
/**
 * Updates the list of jobs from the stream of all active jobs, and requests its page from the API
 * when a job begins or ends. Without the stream it polls.
 *
 * One stream and not one per job: a browser opens six HTTP/1.1 connections per origin in all.
 */

import { ProgressConnection } from "./connection.js";
import { fill, localiseTimes, rows, setBar, syncRows } from "./dom.js";
import * as format from "./format.js";
import { FINAL_STATUSES, LIVENESS_LABELS } from "./labels.js";

/**
 * @typedef {object} ListedJob
 * @property {string} job_id
 * @property {string} document_id
 * @property {string} document_name
 * @property {import("./progress-events.d.ts").JobStatus} status
 * @property {import("./progress-events.d.ts").Liveness | null} liveness
 * @property {string | null} waiting_for
 * @property {number} attempt
 * @property {number} overall_progress_percent
 * @property {number} error_count
 * @property {number} failed_items
 * @property {string | null} error
 * @property {string} created_at
 * @property {string | null} started_at
 * @property {string | null} finished_at
 * @property {{page: string}} links
 */

/** @typedef {import("./progress-events.d.ts").ManyJobsEventMap} ManyJobsEventMap */

const ACTIVE_POLL_MS = 2_000;
const IDLE_POLL_MS = 15_000;
const MAX_POLL_MS = 30_000;
const MIN_DELAY_MS = 300;
const TICK_MS = 1_000;

const section = /** @type {HTMLElement} */ (document.getElementById("jobs"));
const rowMarkup = document.querySelector("#job-row")?.innerHTML ?? "";

/** @type {number | undefined} */
let timer;
let failures = 0;
let requestCount = 0;
let requestedAt = -Infinity;
let isLive = false;
let frame = 0;
/** The jobs on the page, by id. @type {Map<string, ListedJob>} */
let jobs = new Map();
/** The last status of each job that the stream has sent, by id. @type {Map<string, string>} */
const statuses = new Map();
/** The server's clock minus the browser's. */
let clockOffsetMs = 0;

/** @type {ProgressConnection<ManyJobsEventMap>} */
const stream = new ProgressConnection(
  section.dataset.stream ?? "",
  {
    onProgress,
    onState,
    onBatch: (detail) => document.dispatchEvent(new CustomEvent("batch_progress", { detail })),
    onComplete: () => {}, // its `job_state` came before
    onFailure: ({ job_id, code }) => onStatus(job_id, code),
    onConnection,
  },
  { isOfMany: true },
);

localiseTimes(document);
document.addEventListener("visibilitychange", schedule);
document.addEventListener("uploaded", () => void poll());
setInterval(tick, TICK_MS);
stream.open();

/** @param {import("./connection.js").ConnectionState} state */
function onConnection(state) {
  isLive = state === "live";
  // Deleted and inactive jobs are not on the stream.
  if (isLive) void poll();
  else schedule();
}

/** @param {ManyJobsEventMap["pipeline_progress"]} progress */
function onProgress(progress) {
  const job = jobs.get(progress.job_id);
  if (!job) return;
  const { started_at, elapsed_ms } = progress.timing;
  job.overall_progress_percent = progress.overall_progress_percent;
  job.started_at = started_at ? new Date(started_at * 1000).toISOString() : null;
  // Until the next list; not used while the job is unfinished.
  job.finished_at = new Date(started_at * 1000 + elapsed_ms).toISOString();
}

/** @param {ManyJobsEventMap["job_state"]} state */
function onState(state) {
  const job = jobs.get(state.job_id);
  if (job) {
    const { status, liveness, attempt, error_count, error, failed_items = 0, waiting_for } = state;
    Object.assign(job, { status, liveness, attempt, error_count, error, failed_items });
    job.waiting_for = waiting_for ?? null;
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      renderJobs();
    });
  }
  onStatus(state.job_id, state.status);
}

/**
 * Requests the list after the begin or end of a job, which may enter or leave it.
 * @param {string} id
 * @param {string} status
 */
function onStatus(id, status) {
  const before = statuses.get(id);
  if (before === status) return;
  statuses.set(id, status);
  const isKnown = before === undefined && jobs.has(id);
  if (isKnown && !FINAL_STATUSES.has(status)) return;
  clearTimeout(timer);
  const delay = Math.max(MIN_DELAY_MS, requestedAt + ACTIVE_POLL_MS - performance.now());
  timer = setTimeout(() => void poll(), delay);
}

function schedule() {
  if (isLive && !failures) return;
  clearTimeout(timer);
  if (document.hidden) return;
  const isActive = rows(section, "jobs").some((row) => !FINAL_STATUSES.has(row.dataset.status));
  const interval = isActive ? ACTIVE_POLL_MS : IDLE_POLL_MS;
  timer = setTimeout(() => void poll(), Math.min(MAX_POLL_MS, interval * 2 ** failures));
}

async function poll() {
  clearTimeout(timer);
  requestCount += 1;
  requestedAt = performance.now();
  const number = requestCount;
  // An upload polls at once: the response to an earlier request can come after its own.
  const isOutdated = () => number !== requestCount;
  try {
    // Conditional if the server sends an ETag: the browser stores and sends it.
    const response = await fetch(section.dataset.poll ?? "", { cache: "no-cache" });
    if (!response.ok) throw new Error(`The list responded with ${response.status}`);
    const date = Date.parse(response.headers.get("Date") ?? "");
    const body = await response.text();
    if (isOutdated()) return;
    clockOffsetMs = (date || Date.now()) - Date.now();
    renderList(body);
    failures = 0;
  } catch {
    if (isOutdated()) return;
    failures += 1;
  }
  /** @type {HTMLElement | null} */
  const notice = section.querySelector('[data-notice="poll-failed"]');
  if (notice) notice.hidden = !isStale();
  schedule();
}

/** After two failed requests; a single one is not reported. */
function isStale() {
  return failures >= 2;
}

/** @param {string} body */
function renderList(body) {
  /** @type {ListedJob[]} */
  const listed = JSON.parse(body).items;
  jobs = new Map(listed.map((job) => [job.job_id, job]));
  syncRows(section, "jobs", "job", [...jobs.keys()], rowMarkup);
  for (const row of rows(section, "jobs")) {
    if (!jobs.has(row.dataset.job ?? "")) row.remove();
  }
  renderJobs();
  /** @type {HTMLElement | null} */
  const empty = section.querySelector(".empty-list");
  if (empty) empty.hidden = jobs.size > 0;
}

/** Stops the clocks while the data may be stale. */
function tick() {
  if (!document.hidden && !isStale()) renderJobs();
}

function renderJobs() {
  for (const row of rows(section, "jobs")) {
    const job = jobs.get(row.dataset.job ?? "");
    if (job) renderRow(row, job, Date.now() + clockOffsetMs);
  }
}

/**
 * @param {HTMLElement} row
 * @param {ListedJob} job
 * @param {number} now
 */
function renderRow(row, job, now) {
  const name = job.document_name || job.document_id || job.job_id;
  const label = format.jobLabel(job.status, job.failed_items);
  if (row.dataset.status && row.dataset.status !== job.status && FINAL_STATUSES.has(job.status)) {
    announce(`${name}: ${label}`);
  }
  row.dataset.status = job.status;
  row.dataset.liveness = job.liveness ?? "";
  row.dataset.result = job.status === "succeeded" && job.failed_items ? "partial" : "";
  row.querySelector("a")?.setAttribute("href", job.links.page);
  fill(row, {
    "job.document_name": name,
    "job.status": label,
    "job.percent": format.percent(job.overall_progress_percent),
    "job.note": noteText(job),
    "job.elapsed": elapsed(job, now),
    "job.created": format.timestamp(new Date(job.created_at)),
  });
  const percent = job.overall_progress_percent;
  setBar(row.querySelector("progress"), percent, format.percent(percent));
}

/** The text beside the status in a row; often empty. @param {ListedJob} job */
function noteText(job) {
  return [format.attemptNote(job.attempt), reason(job)].filter(Boolean).join(" · ");
}

/** Why a job does not move, or how it ended. @param {ListedJob} job */
function reason(job) {
  if (job.waiting_for) return format.waiting(job.waiting_for);
  if (job.liveness) return job.liveness === "working" ? "" : LIVENESS_LABELS[job.liveness];
  if (job.status === "succeeded") return format.errorNote(job.error_count);
  return job.error ?? "";
}

/**
 * @param {ListedJob} job
 * @param {number} now
 */
function elapsed(job, now) {
  if (!job.started_at) return "";
  const hasEnded = FINAL_STATUSES.has(job.status) && job.finished_at;
  const end = hasEnded ? Date.parse(job.finished_at ?? "") : now;
  return format.duration(Math.max(0, end - Date.parse(job.started_at)));
}

/** @param {string} text */
function announce(text) {
  const region = document.getElementById("jobs-announcement");
  if (region) region.textContent = text;
}
