// @ts-check
/** What is known of a connection, and what one can do about it. */

import { CONNECTION_LABELS } from "./connection-state.js";
import { fill } from "./dom.js";
import { clock, duration } from "./format.js";
import { gettext } from "./gettext.js";

/** @typedef {import("./connection.js").ConnectionState} ConnectionState */
/** @typedef {Pick<import("./connection.js").ProgressConnection, "heardAt" | "retryAt" | "isSilent">} Connection */

/** States in which what is shown may be out of date. @type {ReadonlySet<string | null | undefined>} */
export const STALE = new Set(["reconnecting", "logged_out", "refused"]);

/**
 * The state, since when it has been so, and when the next try is.
 * @param {ConnectionState} state
 * @param {Connection} connection
 */
function connectionText(state, { heardAt, retryAt, isSilent }) {
  if (!STALE.has(state)) return labelOf(state);
  const age = performance.now() - heardAt;
  const isLost = state === "reconnecting";
  const noNews = gettext("No news for %(time)s", { time: duration(age) });
  const label = isLost && isSilent ? noNews : labelOf(state);
  const time = Number.isFinite(age) ? clock(new Date(Date.now() - age)) : "";
  const asOf = time && gettext("As of %(time)s", { time });
  return [label, asOf, isLost ? nextTry(retryAt) : ""].filter(Boolean).join(". ");
}

/** @param {number | null} retryAt */
function nextTry(retryAt) {
  const seconds = retryAt === null ? 0 : Math.ceil((retryAt - performance.now()) / 1000);
  if (seconds <= 0) return gettext("Trying again");
  return gettext("Trying again in %(time)s", { time: duration(seconds * 1000) });
}

/** Empty after the end. @param {ConnectionState} state */
export function labelOf(state) {
  const label = CONNECTION_LABELS[state];
  return label ? gettext(label) : "";
}

/**
 * Writes the text, and shows the button or the link that applies.
 * @param {HTMLElement} root
 * @param {ConnectionState} state
 * @param {Connection} connection
 */
export function renderConnection(root, state, connection) {
  fill(root, { "job.connection": connectionText(state, connection) });
  const offered = state === "reconnecting" && connection.retryAt !== null ? "retry" : state;
  /** @type {NodeListOf<HTMLElement>} */
  const offers = root.querySelectorAll("[data-offer]");
  for (const offer of offers) {
    const leadsNowhere = offer instanceof HTMLAnchorElement && !offer.href;
    offer.hidden = offer.dataset.offer !== offered || leadsNowhere;
  }
}
