// @ts-check
/** Tells screen readers which jobs have ended: each by its name, or only how many. */

import { gettext } from "./gettext.js";
import { FINAL_STATUSES } from "./labels.js";

const MAX_NAMED = 3;

/** @param {Array<[HTMLElement, string]>} rows with the status that each had before */
export function announceEndings(rows) {
  const ended = rows.filter(
    ([row, before]) => FINAL_STATUSES.has(row.dataset.status) && before && !FINAL_STATUSES.has(before),
  );
  if (!ended.length) return;
  const texts = ended.map(([row]) => `${textOf(row, "job.document_name")}: ${textOf(row, "job.status")}`);
  const region = document.getElementById("jobs-announcement");
  const text = texts.length > MAX_NAMED ? gettext("%(number)s jobs have ended", { number: texts.length }) : texts.join(", ");
  if (region) region.textContent = text;
}

/**
 * @param {HTMLElement} row
 * @param {string} field
 */
function textOf(row, field) {
  return row.querySelector(`[data-field="${field}"]`)?.textContent ?? "";
}
