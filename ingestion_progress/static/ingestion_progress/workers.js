// @ts-check
/** The rows of the worker pool. */

import { fill, rows, setBar, syncRows } from "./dom.js";
import { workerActivity } from "./format.js";
import { WORKER } from "./markup.js";

/** @typedef {import("./progress-events.d.ts").WorkerInfo} WorkerInfo */

/**
 * @param {HTMLElement} root
 * @param {WorkerInfo[]} workers
 */
export function renderWorkers(root, workers) {
  syncRows(root, "workers", "worker", workers.map((worker) => String(worker.id)), WORKER);
  const byNumber = new Map(workers.map((worker) => [String(worker.id), worker]));
  for (const row of rows(root, "workers")) {
    const worker = byNumber.get(row.dataset.worker ?? "");
    if (!worker) {
      row.remove();
      continue;
    }
    row.dataset.status = worker.status;
    fill(row, {
      "worker.number": String(worker.id),
      "worker.activity": workerActivity(worker.status, worker.current_chunk),
    });
    const bar = row.querySelector("progress");
    bar?.setAttribute("aria-label", `Worker ${worker.id}`);
    setBar(bar, worker.progress_percent);
  }
  /** @type {HTMLElement | null} */
  const empty = root.querySelector('[data-empty="workers"]');
  if (empty) empty.hidden = workers.length > 0;
}
