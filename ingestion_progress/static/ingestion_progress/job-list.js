// @ts-check
/**
 * Keeps the list of jobs up to date by asking for its page of the API's list.
 *
 * Not by a stream per job: a browser opens six HTTP/1.1 connections per origin in all.
 */

import { fill, rows, setBar, syncRows } from "./dom.js";
import * as format from "./format.js";
import { localiseTimes } from "./local-times.js";
import { JOB_LABELS, LIVENESS_LABELS, isFinal } from "./words.js";

/**
 * @typedef {object} ListedJob
 * @property {string} job_id
 * @property {string} document_id
 * @property {string} document_name
 * @property {import("./progress-events.d.ts").JobStatus} status
 * @property {import("./progress-events.d.ts").Liveness | null} liveness
 * @property {number} overall_progress_percent
 * @property {number} error_count
 * @property {string | null} error
 * @property {string} created_at
 * @property {string | null} started_at
 * @property {string | null} finished_at
 * @property {{page: string}} links
 */

const ACTIVE_MS = 2_000;
const IDLE_MS = 15_000;
const MAX_MS = 30_000;

const section = /** @type {HTMLElement} */ (document.getElementById("jobs"));
const rowMarkup = document.querySelector("#job-row")?.innerHTML ?? "";

/** @type {number | undefined} */
let timer;
let failures = 0;
let asked = 0;
let shown = "";

localiseTimes(document);
document.addEventListener("visibilitychange", schedule);
document.addEventListener("uploaded", () => void poll());
schedule();

function schedule() {
  clearTimeout(timer);
  if (document.hidden) return;
  const isActive = rows(section, "jobs").some((row) => !isFinal(row.dataset.status));
  const pause = isActive ? ACTIVE_MS : IDLE_MS;
  timer = setTimeout(() => void poll(), Math.min(MAX_MS, pause * 2 ** failures));
}

async function poll() {
  clearTimeout(timer);
  asked += 1;
  const turn = asked;
  // An upload asks at once: the answer to an earlier question may come after its own.
  const isLate = () => turn !== asked;
  try {
    // Conditional where the server sends an ETag: the browser keeps and compares it.
    const response = await fetch(section.dataset.poll ?? "", { cache: "no-cache" });
    if (!response.ok) throw new Error(`The list answered ${response.status}`);
    const now = Date.parse(response.headers.get("Date") ?? "") || Date.now();
    const body = await response.text();
    if (isLate()) return;
    render(body, now);
    failures = 0;
  } catch {
    if (isLate()) return;
    failures += 1;
  }
  // One missed answer is nothing to talk about.
  /** @type {HTMLElement | null} */
  const notice = section.querySelector('[data-notice="poll-failed"]');
  if (notice) notice.hidden = failures < 2;
  schedule();
}

/**
 * @param {string} body
 * @param {number} now the server's clock, in ms
 */
function render(body, now) {
  const isActive = rows(section, "jobs").some((row) => row.dataset.status === "running");
  if (body === shown && !isActive) return;
  shown = body;
  /** @type {ListedJob[]} */
  const jobs = JSON.parse(body).items;
  syncRows(section, "jobs", "job", jobs.map((job) => job.job_id), rowMarkup);
  const byId = new Map(jobs.map((job) => [job.job_id, job]));
  for (const row of rows(section, "jobs")) {
    const job = byId.get(row.dataset.job ?? "");
    if (job) renderRow(row, job, now);
    else row.remove();
  }
  /** @type {HTMLElement | null} */
  const empty = section.querySelector(".empty-list");
  if (empty) empty.hidden = jobs.length > 0;
}

/**
 * @param {HTMLElement} row
 * @param {ListedJob} job
 * @param {number} now
 */
function renderRow(row, job, now) {
  const name = job.document_name || job.document_id || job.job_id;
  if (row.dataset.status && row.dataset.status !== job.status && isFinal(job.status)) {
    announce(`${name}: ${JOB_LABELS[job.status]}`);
  }
  row.dataset.status = job.status;
  row.dataset.liveness = job.liveness ?? "";
  row.querySelector("a")?.setAttribute("href", job.links.page);
  fill(row, {
    "job.document_name": name,
    "job.status": JOB_LABELS[job.status],
    "job.percent": format.percent(job.overall_progress_percent),
    "job.note": note(job),
    "job.elapsed": elapsed(job, now),
    "job.created": format.timestamp(new Date(job.created_at)),
  });
  const percent = job.overall_progress_percent;
  setBar(row.querySelector("progress"), percent, format.percent(percent));
}

/** The one thing worth knowing about a job in a list; mostly nothing. @param {ListedJob} job */
function note(job) {
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
  const end = job.finished_at ? Date.parse(job.finished_at) : now;
  return format.duration(Math.max(0, end - Date.parse(job.started_at)));
}

/** @param {string} text */
function announce(text) {
  const region = document.getElementById("jobs-announcement");
  if (region) region.textContent = text;
}
