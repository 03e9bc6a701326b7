// @ts-check
/** The time by the clock of the server: that of the browser may be wrong. */

/** Loading the page takes a moment, too. */
const TOLERANCE_MS = 10_000;

const renderedAt = 1000 * Number(globalThis.document?.documentElement.dataset.now);
const difference = renderedAt ? renderedAt - Date.now() : 0;
const offset = Math.abs(difference) > TOLERANCE_MS ? difference : 0;

/** Unix milliseconds; on another page than the server's own the time of the browser. */
export function serverNow() {
  return Date.now() + offset;
}
