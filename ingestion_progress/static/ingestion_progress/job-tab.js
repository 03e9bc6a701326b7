// @ts-check
/** What the tab of a job's page shows while nobody looks at the page: title, icon, notification. */

import { jobLabel, percent } from "./format.js";
import { ENDING_MARKS, FINAL_STATUSES } from "./labels.js";
import { STALE } from "./connection-text.js";

/** @typedef {import("./pipeline-progress.js").PipelineProgress} PipelineProgress */

const CIRCUMFERENCE = 2 * Math.PI * 13;
/** Readable on light and on dark tabs. @type {Record<string, string>} */
const COLOURS = {
  running: "#2f7fd6",
  succeeded: "#2e9b57",
  partial: "#c98a1b",
  failed: "#d6453d",
  lost: "#a855a0",
};
const NEUTRAL = "#868e96";

const plainTitle = document.title;
/** @type {HTMLLinkElement | null} */
const icon = document.querySelector('link[rel="icon"]');
const plainIcon = icon?.href ?? "";
let isToNotify = false;

/** @param {PipelineProgress | null} job */
export function renderTab(job) {
  const status = job?.state?.status;
  if (!job?.state || !job.progress || !status) return;
  const failed = job.state.failed_items ?? 0;
  const shown = job.state.result ?? status;
  const done = job.progress.overall_progress_percent;
  if (FINAL_STATUSES.has(status)) {
    document.title = `${ENDING_MARKS[shown]} ${jobLabel(status, failed)} · ${plainTitle}`;
    setIcon(iconOf(shown, 100));
  } else if (STALE.has(job.connection)) {
    // A percentage would be out of date.
    document.title = plainTitle;
    setIcon(plainIcon);
  } else {
    document.title = `${percent(done)} · ${plainTitle}`;
    setIcon(iconOf(shown, Math.floor(done)));
  }
}

/** Offers a notification of the end, where the browser can show one. @param {HTMLElement | null} button */
export function offerNotification(button) {
  if (!button || !("Notification" in window) || Notification.permission === "denied") return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    isToNotify = !isToNotify && (await Notification.requestPermission()) === "granted";
    button.setAttribute("aria-pressed", String(isToNotify));
    if (Notification.permission === "denied") button.hidden = true;
  });
}

/** @param {PipelineProgress | null} job whose job has ended */
export function notifyOfEnd(job) {
  if (!isToNotify || !document.hidden || !job?.state) return;
  const { status, failed_items, job_id } = job.state;
  const body = job.progress?.document_name || job.progress?.document_id || "";
  const notification = new Notification(jobLabel(status, failed_items ?? 0), { body, tag: job_id });
  notification.addEventListener("click", () => window.focus());
}

/** @param {string} url */
function setIcon(url) {
  if (icon && icon.href !== url) icon.href = url;
}

/**
 * A ring that is as long as the percentage, or a mark.
 * @param {string} status
 * @param {number} done
 */
function iconOf(status, done) {
  const colour = COLOURS[status] ?? NEUTRAL;
  const length = (CIRCUMFERENCE * done) / 100;
  const ring = `<circle cx="16" cy="16" r="13" fill="none" stroke-width="5"`;
  const mark = ENDING_MARKS[status] ?? "";
  const text = `<text x="16" y="22" font-family="sans-serif" font-size="17" font-weight="700" text-anchor="middle" fill="${colour}">${mark}</text>`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">${ring} stroke="${NEUTRAL}" stroke-opacity=".35"/>${ring} stroke="${colour}" stroke-dasharray="${length} ${CIRCUMFERENCE}" transform="rotate(-90 16 16)"/>${text}</svg>`;
  return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}
