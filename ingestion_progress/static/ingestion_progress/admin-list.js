// @ts-check
/**
 * Updates the active rows of the admin's list of jobs, or of the jobs about an object on its page,
 * from one stream of these jobs.
 */

import { watch } from "./client.js";
import { labelOf } from "./connection-text.js";
import { setBar } from "./dom.js";
import { count, duration, exactPercent, jobLabel, timestamp } from "./format.js";
import { gettext } from "./gettext.js";
import { FINAL_STATUSES, LIVENESS_LABELS } from "./labels.js";
import { label } from "./names.js";
import { failures } from "./stage-texts.js";
import { translateStored } from "./stored-sentences.js";

/** @typedef {import("./client.js").WatchedJob} WatchedJob */
/** @typedef {import("./progress-events.d.ts").JobStateData} JobStateData */

const EMPTY = "-";
const TICK_MS = 1_000;
// Several jobs may begin at once.
const ARRIVALS_MS = 1_000;

const connection = document.getElementById("progress-connection");
/** The rows of the jobs that were active when they were made. @type {Map<string, HTMLElement>} */
const rows = new Map();
/** What the stream has said of each job. @type {Map<string, WatchedJob>} */
const watched = new Map();
/** Running jobs, and when the browser heard of them. @type {Map<string, [WatchedJob, number]>} */
const running = new Map();
let isLive = false;
let isRefreshing = false;

if (connection) start(connection);

/** @param {HTMLElement} line */
function start(line) {
  readRows();
  const followsArrivals = "arrivals" in line.dataset;
  if (!rows.size && !followsArrivals) return;
  watch(line.dataset.stream ?? "", {
    ...(followsArrivals ? {} : { jobs: [...rows.keys()] }),
    keepaliveSeconds: Number(line.dataset.keepaliveSeconds),
    viewer: line.dataset.viewer,
    onJob: (job) => {
      const isNew = followsArrivals && !watched.has(job.id) && !rows.has(job.id);
      watched.set(job.id, job);
      render(job);
      if (isNew) refreshSoon();
    },
    onConnection: (state) => {
      isLive = state === "live";
      line.textContent = state === "refused" ? gettext("You may not watch these jobs") : labelOf(state);
      line.hidden = !line.textContent;
      line.dataset.state = state;
    },
  });
  setInterval(tick, TICK_MS);
}

function readRows() {
  rows.clear();
  /** @type {NodeListOf<HTMLElement>} */
  const all = document.querySelectorAll(":is(#result_list, [data-jobs]) [data-job]");
  for (const { dataset, parentElement } of all) {
    const row = parentElement?.closest("tr");
    if (row && !FINAL_STATUSES.has(dataset.status)) rows.set(dataset.job ?? "", row);
  }
}

function refreshSoon() {
  if (isRefreshing) return;
  isRefreshing = true;
  setTimeout(refresh, ARRIVALS_MS);
}

/** Shows the rows that the server makes now, with jobs that have begun since. */
async function refresh() {
  try {
    const response = await fetch(location.href);
    if (!response.ok || response.redirected) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const [old, made] = [document, page].map((each) => each.querySelector("[data-jobs] [data-rows]"));
    if (!old || !made) return;
    old.replaceWith(made);
    readRows();
    for (const job of watched.values()) render(job);
  } catch {
    // The server is away: the next job that begins tries again.
  } finally {
    isRefreshing = false;
  }
}

/** @param {WatchedJob} job */
function render(job) {
  const row = rows.get(job.id);
  if (!row) return;
  const { progress, state } = job;
  if (!progress || !state) {
    if (job.error) setMark(row, "lost", translateStored(job.error.message), gettext("Deleted"));
    return;
  }
  setMark(row, ...markOf(state));
  const percent = progress.overall_progress_percent;
  const exact = exactPercent(percent);
  setBar(row.querySelector("progress"), percent);
  write(row.querySelector(".progress-bar > span"), exact);
  write(cell(row, "errors"), state.error_count ? count(state.error_count) : EMPTY);
  write(cell(row, "failed"), failures(state.failed_items ?? 0));
  write(cell(row, "stages"), stagesText(Object.values(progress.stages)));
  if (progress.timing.started_at) {
    writeStart(cell(row, "started"), new Date(progress.timing.started_at * 1000));
    write(cell(row, "elapsed"), duration(progress.timing.elapsed_ms));
  }
  if (state.status === "running") running.set(job.id, [job, performance.now()]);
  else running.delete(job.id);
}

/**
 * Class, title and text, as the server renders them.
 * @param {JobStateData} state
 * @returns {[string, string, string]}
 */
function markOf({ status, result, liveness, cancel_requested, failed_items = 0 }) {
  const isActive = !FINAL_STATUSES.has(status);
  const label = isActive && cancel_requested ? gettext("Cancelling") : jobLabel(status, failed_items);
  if (!liveness || liveness === "working" || liveness === "queued") {
    return [result ?? status, result === "partial" ? gettext("Succeeded with errors") : jobLabel(status, 0), label];
  }
  return [liveness, gettext(LIVENESS_LABELS[liveness]), `${label} · ${gettext(liveness)}`];
}

/**
 * @param {HTMLElement} row
 * @param {string} name
 * @param {string} title
 * @param {string} text
 */
function setMark(row, name, title, text) {
  /** @type {HTMLElement | null} */
  const mark = row.querySelector("[data-job] > .progress-mark");
  if (!mark) return;
  const classes = `progress-mark progress-mark-${name}`;
  if (mark.className !== classes) mark.className = classes;
  if (mark.title !== title) mark.title = title;
  write(mark, text);
}

/**
 * The stages in progress.
 * @param {import("./progress-events.d.ts").StageProgress[]} stages
 */
function stagesText(stages) {
  return stages
    .filter(({ status }) => status === "in_progress")
    .map(({ name, processed, total }) => `${label(name)} ${[processed, ...(total ? [total] : [])].map(count).join("/")}`)
    .join(", ");
}

/**
 * The start of a job that has started since, in the browser's time zone; the server renders the
 * others in its own.
 * @param {HTMLElement | null} target
 * @param {Date} start
 */
function writeStart(target, start) {
  if (target?.textContent !== EMPTY) return;
  const time = document.createElement("time");
  time.dateTime = start.toISOString();
  time.textContent = timestamp(start);
  target.replaceChildren(time);
}

/** The clocks of running jobs go on between two events. */
function tick() {
  if (!isLive) return;
  for (const [id, [job, heardAt]] of running) {
    const row = rows.get(id);
    const elapsed = (job.progress?.timing.elapsed_ms ?? 0) + performance.now() - heardAt;
    if (row && job.progress?.timing.started_at) write(cell(row, "elapsed"), duration(elapsed));
  }
}

/**
 * @param {Element} row
 * @param {string} name
 * @returns {HTMLElement | null}
 */
function cell(row, name) {
  return row.querySelector(`[data-cell="${name}"]`);
}

/**
 * @param {Element | null} target
 * @param {string} text
 */
function write(target, text) {
  if (!target || target.textContent === text) return;
  target.textContent = text;
  if (target.hasAttribute("title")) target.setAttribute("title", text);
}
