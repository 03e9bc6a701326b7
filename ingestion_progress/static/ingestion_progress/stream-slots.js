// @ts-check
/**
 * Counts the streams of a browser to one server, in all its tabs together.
 *
 * Over HTTP/1.1 a browser opens six connections per origin. Three stay free for pages, forms and
 * requests. HTTP/2 and HTTP/3 have no such limit. Browsers have Web Locks only on https and
 * localhost: elsewhere nothing counts.
 */

/** The first is left for named jobs: a list without a stream is as well off with polling. */
const SLOTS = [3, 2, 1];
const SLOTS_OF_LISTS = [1, 2];
/** The browser may take a moment to release the locks of a tab that was closed. */
const RETRY_MS = 200;

/**
 * A function that releases the slot; null if all are taken.
 * @param {string} url of the stream
 * @param {boolean} hasNames it is a stream of named jobs
 * @returns {Promise<(() => void) | null>}
 */
export async function takeSlot(url, hasNames) {
  const { origin } = new URL(url, document.baseURI);
  if (!navigator.locks || isMultiplexed(origin)) return () => {};
  const slots = hasNames ? SLOTS : SLOTS_OF_LISTS;
  const release = await firstFree(origin, slots);
  if (release) return release;
  await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  return firstFree(origin, slots);
}

/** Has the browser loaded something from there over HTTP/2 or HTTP/3? @param {string} origin */
function isMultiplexed(origin) {
  /** @type {PerformanceResourceTiming[]} */
  const loaded = [];
  for (const kind of ["navigation", "resource"]) {
    loaded.push(.../** @type {any[]} */ (performance.getEntriesByType(kind)));
  }
  return loaded.some(
    ({ name, nextHopProtocol }) => /^h[23]/.test(nextHopProtocol) && new URL(name).origin === origin,
  );
}

/**
 * @param {string} origin
 * @param {number[]} slots
 */
async function firstFree(origin, slots) {
  for (const number of slots) {
    const release = await take(`ingestion-progress stream ${number} ${origin}`);
    if (release) return release;
  }
  return null;
}

/**
 * @param {string} lock
 * @returns {Promise<(() => void) | null>}
 */
function take(lock) {
  return new Promise((resolve) => {
    navigator.locks
      .request(lock, { ifAvailable: true }, (held) => {
        if (!held) return resolve(null);
        return new Promise((release) => resolve(() => release(undefined)));
      })
      .catch(() => resolve(() => {})); // this page may not use locks
  });
}
