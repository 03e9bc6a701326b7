// @ts-check
/** The card with the result of a job: loaded after the page, and again while the result grows. */

import { updateParts } from "../ingestion_progress/page-parts.js";

const PAUSE_MS = 5_000;
const END_DELAY_MS = 500;
/** The fields of the stream's data that the card shows. */
const SHOWN = ["total_chunks", "qdrant_writes", "neo4j_writes", "entities_total"];

let lastShown = "";
let loadedAt = -Infinity;
let isLoading = false;
/** @type {number | undefined} */
let timer;

document.addEventListener("progresschange", (event) => {
  const progress = /** @type {CustomEvent} */ (event).detail;
  const values = { ...progress, ...progress.metrics };
  const shown = SHOWN.map((name) => values[name]).join();
  if (shown === lastShown || isLoading) return;
  lastShown = shown;
  timer ??= setTimeout(() => void load(), Math.max(0, loadedAt + PAUSE_MS - performance.now()));
});
document.addEventListener("complete", loadSoon);
document.addEventListener("failure", loadSoon);
void load();

/** An attempt publishes or discards what it has written just before or after its last state. */
function loadSoon() {
  clearTimeout(timer);
  timer = setTimeout(() => (isLoading ? loadSoon() : void load()), END_DELAY_MS);
}

async function load() {
  clearTimeout(timer);
  timer = undefined;
  isLoading = true;
  const card = document.getElementById("result");
  const newest = await newestPage(card?.dataset.url ?? "").catch(() => null);
  if (newest) updateParts(newest, ["result"]);
  else card?.setAttribute("data-failed", ""); // it keeps what it shows, and a link
  isLoading = false;
  loadedAt = performance.now();
}

/** Null if there is none now. @param {string} url */
async function newestPage(url) {
  const response = await fetch(url, { headers: { "X-Requested-With": "fetch" } });
  if (!response.ok) return null;
  return new DOMParser().parseFromString(await response.text(), "text/html");
}
