// @ts-check
/**
 * Updates the rows of the list from the stream of all active jobs, and the list itself from the
 * server's page when a job begins, waits or ends. Without the stream it polls.
 *
 * One stream and not one per job: a browser opens six HTTP/1.1 connections per origin in all. Tabs
 * with the same list share it.
 */

import { announceEndings } from "./announcements.js";
import { Arrivals } from "./arrivals.js";
import { STALE, renderConnection } from "./connection-text.js";
import { ProgressConnection } from "./connection.js";
import { localiseTimes } from "./dom.js";
import { JobRows } from "./job-rows.js";
import { FINAL_STATUSES } from "./labels.js";
import { morph } from "./morph.js";

/** @typedef {import("./progress-events.d.ts").ManyJobsEventMap} ManyJobsEventMap */

const ACTIVE_POLL_MS = 2_000;
const IDLE_POLL_MS = 15_000;
const BATCHES_POLL_MS = 5_000;
const MAX_POLL_MS = 30_000;
const MIN_DELAY_MS = 300;
const TICK_MS = 1_000;
const TIMES_MS = 30_000;

const section = /** @type {HTMLElement} */ (document.getElementById("jobs"));
const head = /** @type {HTMLElement} */ (document.getElementById("list-head"));
const rows = new JobRows(section);
const arrivals = new Arrivals(section, onRows);

/** @type {number | undefined} */
let timer;
/** @type {number | undefined} */
let clock;
/** @type {number | undefined} */
let batchesTimer;
let hasActiveBatches = false;
let failures = 0;
let requestCount = 0;
let requestedAt = -Infinity;
/** @type {import("./connection.js").ConnectionState} */
let connection = "connecting";
/** When the server last answered a poll, in milliseconds of `performance.now()`. */
let answeredAt = -Infinity;
let isLive = false;
let hasNoAccess = false;
/** The last status and liveness that the stream has sent, by id. @type {Map<string, string>} */
const states = new Map();
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
    onFailure: ({ job_id, code }) => onChange(job_id, code, true),
    onConnection,
  },
  {
    isOfMany: true,
    keepaliveMs: 1000 * Number(section.dataset.keepaliveSeconds) || undefined,
    viewer: section.dataset.viewer,
  },
);

localiseTimes(document);
runClock();
findActiveBatches();
document.addEventListener("visibilitychange", schedule);
document.addEventListener("uploaded", () => void refresh());
setInterval(() => document.hidden || isStale() || localiseTimes(section), TIMES_MS);
setInterval(() => STALE.has(connection) && showConnection(), TICK_MS);
head.querySelector("button")?.addEventListener("click", () => stream.retryNow());
stream.open();

/** @param {import("./connection.js").ConnectionState} state */
function onConnection(state) {
  connection = state;
  isLive = state === "live";
  showConnection();
  if (state === "refused") return showRefusal("forbidden");
  if (state === "logged_out") return showRefusal("logged-out");
  // Deleted and inactive jobs are not on the stream.
  if (isLive) void refresh();
  else schedule();
}

/** @param {import("./progress-events.d.ts").JobPipelineProgressData} progress */
function onProgress(progress) {
  rows.advance(progress);
  // The bar of a batch is the mean of all of its jobs, of which the list shows some.
  if (!hasActiveBatches || hasNoAccess || batchesTimer || document.hidden) return;
  batchesTimer = setTimeout(() => {
    batchesTimer = undefined;
    if (performance.now() - requestedAt >= BATCHES_POLL_MS) void refresh();
  }, BATCHES_POLL_MS);
}

function findActiveBatches() {
  hasActiveBatches = section.querySelector(".batch-row[data-active]") !== null;
}

/** @param {ManyJobsEventMap["job_state"]} state */
function onState(state) {
  const row = rows.get(state.job_id);
  const before = row?.dataset.status ?? "";
  rows.change(state);
  if (row && FINAL_STATUSES.has(state.status)) announceEndings([[row, before]]);
  onChange(state.job_id, `${state.status} ${state.liveness ?? ""}`, FINAL_STATUSES.has(state.status));
}

/** Beside the title; there is a notice for one who may not see the list. */
function showConnection() {
  /** @type {HTMLElement | null} */
  const line = head.querySelector(".connection");
  if (!line) return;
  line.hidden = connection === "logged_out" || connection === "refused";
  head.dataset.connection = connection;
  const { retryAt, isSilent } = stream;
  const heardAt = Math.max(stream.heardAt, answeredAt);
  renderConnection(head, connection, { heardAt, retryAt, isSilent: isSilent && heardAt > answeredAt });
}

/**
 * Requests the list after a change that may move a job to another group.
 * @param {string} id
 * @param {string} state
 * @param {boolean} isEnd
 */
function onChange(id, state, isEnd) {
  const before = states.get(id);
  if (before === state) return;
  states.set(id, state);
  const isKnown = before === undefined && rows.get(id) !== undefined;
  if (hasNoAccess || (isKnown && !isEnd)) return;
  clearTimeout(timer);
  const delay = Math.max(MIN_DELAY_MS, requestedAt + ACTIVE_POLL_MS - performance.now());
  timer = setTimeout(() => void refresh(), delay);
}

function schedule() {
  if (hasNoAccess || (isLive && !failures)) return;
  clearTimeout(timer);
  if (document.hidden) return;
  const isActive = rows.all.some((row) => !FINAL_STATUSES.has(row.dataset.status));
  const interval = isActive ? ACTIVE_POLL_MS : IDLE_POLL_MS;
  timer = setTimeout(() => void refresh(), Math.min(MAX_POLL_MS, interval * 2 ** failures));
}

async function refresh() {
  clearTimeout(timer);
  if (hasNoAccess) return;
  requestCount += 1;
  requestedAt = performance.now();
  const number = requestCount;
  // An upload asks at once: the response to an earlier request can come after its own.
  const isOutdated = () => number !== requestCount;
  try {
    const response = await fetch(section.dataset.poll ?? "", {
      cache: "no-cache",
      headers: { "X-Requested-With": "fetch" },
    });
    if (isRefused(response)) return showRefusal(response.status === 403 ? "forbidden" : "logged-out");
    if (!response.ok) throw new Error(`The list responded with ${response.status}`);
    const date = Date.parse(response.headers.get("Date") ?? "");
    const body = await response.text();
    if (isOutdated()) return;
    clockOffsetMs = (date || Date.now()) - Date.now();
    render(body);
    answeredAt = performance.now();
    failures = 0;
  } catch {
    if (isOutdated()) return;
    failures += 1;
  }
  show("poll-failed", isStale());
  runClock();
  schedule();
}

/** A login page is not the list, even with the status 200. @param {Response} response */
function isRefused({ status, redirected }) {
  return status === 401 || status === 403 || redirected;
}

/** @param {"forbidden" | "logged-out"} notice */
function showRefusal(notice) {
  hasNoAccess = true;
  stream.close();
  runClock();
  show("poll-failed", false);
  show(notice, true);
}

/**
 * @param {string} name
 * @param {boolean} isShown
 */
function show(name, isShown) {
  /** @type {HTMLElement | null} */
  const notice = section.querySelector(`[data-notice="${name}"]`);
  if (notice && notice.hidden !== !isShown) notice.hidden = !isShown;
}

/** After two failed requests; a single one is not reported. */
function isStale() {
  return failures >= 2 || hasNoAccess;
}

/** @param {string} body the page */
function render(body) {
  const page = new DOMParser().parseFromString(body, "text/html");
  localiseTimes(page);
  const before = rows.all.map((row) => ({ id: row.dataset.job ?? "", status: row.dataset.status ?? "" }));
  for (const part of ["throughput", "tabs", "pages"]) {
    const [current, wanted] = [document, page].map((each) => each.querySelector(`[data-part=${part}]`));
    if (current && wanted) morph(current, wanted);
  }
  const groups = page.querySelector("[data-part=groups]");
  if (groups) {
    rows.bringUpToDate(groups, requestedAt);
    arrivals.update(groups);
    findActiveBatches();
  }
  /** @type {HTMLElement | null} */
  const empty = section.querySelector(".empty-list");
  const hasJobs = groups?.firstElementChild != null;
  if (empty && empty.hidden !== hasJobs) empty.hidden = hasJobs;
  announceEndings(before.flatMap(({ id, status }) => {
    const row = rows.get(id);
    return row ? [[row, status]] : [];
  }));
}

function onRows() {
  rows.find();
  runClock();
}

/** The clocks of running jobs; they stop while the data may be stale. */
function runClock() {
  const isNeeded = !isStale() && rows.running.length > 0;
  if (isNeeded) clock ??= setInterval(tick, TICK_MS);
  else {
    clearInterval(clock);
    clock = undefined;
  }
}

function tick() {
  if (!document.hidden) rows.tick(Date.now() + clockOffsetMs);
}
