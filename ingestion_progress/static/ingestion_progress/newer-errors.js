// @ts-check
/** How many errors have occurred since the card of errors was rendered. */

import { count } from "./format.js";
import { ngettext } from "./gettext.js";
import { FINAL_STATUSES } from "./labels.js";

/**
 * The numbers of the card are as old as the page that it was taken from. Until it is taken again,
 * it says how many errors of the stream it leaves out.
 * @param {import("./progress-events.d.ts").JobStateData | null | undefined} state
 */
export function renderNewerErrors(state) {
  /** @type {HTMLElement | null} */
  const note = document.querySelector("#attention [data-listed]");
  if (!note || !state) return;
  const isOfAttempt = note.dataset.attempt === String(state.attempt);
  const newer = isOfAttempt ? state.error_count - Number(note.dataset.listed) : 0;
  const isShown = newer > 0 && !FINAL_STATUSES.has(state.status);
  const number = ngettext("%(number)s newer", "%(number)s newer", newer, { number: count(newer) });
  const text = isShown ? ` · ${number}` : "";
  if (note.textContent !== text) note.textContent = text;
}
