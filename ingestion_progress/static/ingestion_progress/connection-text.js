// @ts-check
/** What is known of a connection, and what one can do about it. */

import { CONNECTION_LABELS } from "./connection.js";
import { fill } from "./dom.js";
import { clock, duration } from "./format.js";

/** @typedef {import("./connection.js").ConnectionState} ConnectionState */
/** @typedef {Pick<import("./connection.js").ProgressConnection, "heardAt" | "retryAt" | "isSilent">} Connection */

/** States in which what is shown may be out of date. @type {ReadonlySet<string | null | undefined>} */
export const STALE = new Set(["reconnecting", "logged_out", "refused"]);

/**
 * The state, since when it has been so, and when the next try is.
 * @param {ConnectionState} state
 * @param {Connection} connection
 */
export function connectionText(state, { heardAt, retryAt, isSilent }) {
  if (!STALE.has(state)) return CONNECTION_LABELS[state];
  const age = performance.now() - heardAt;
  const isLost = state === "reconnecting";
  const label = isLost && isSilent ? `No news for ${duration(age)}` : CONNECTION_LABELS[state];
  const asOf = Number.isFinite(age) ? `As of ${clock(new Date(Date.now() - age))}` : "";
  return [label, asOf, isLost ? nextTry(retryAt) : ""].filter(Boolean).join(". ");
}

/** @param {number | null} retryAt */
function nextTry(retryAt) {
  const seconds = retryAt === null ? 0 : Math.ceil((retryAt - performance.now()) / 1000);
  return seconds > 0 ? `Trying again in ${duration(seconds * 1000)}` : "Trying again";
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
