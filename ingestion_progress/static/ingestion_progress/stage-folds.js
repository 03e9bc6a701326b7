// @ts-check
/**
 * Which stages are folded in a job that has many. `stage_folds.py` computes the same for the page
 * as the server renders it.
 */

import { fill } from "./dom.js";
import { count } from "./format.js";
import { gettext } from "./gettext.js";

/** @typedef {import("./progress-events.d.ts").StageProgress} StageProgress */

const MANY_STAGES = 12;
const LONGEST_SHOWN = 12;
const LEAST_FOLDED = 4;
/** @type {Record<string, string>} */
const FOLDS = { completed: "done", skipped: "done", pending: "pending", not_run: "pending" };

/** Shown status, whether items failed, milliseconds. @typedef {[string, boolean, number]} Folded */

/**
 * The fold of each stage: "done", "pending", or empty if the stage is always shown. While the job
 * runs, stages that are done or have not started are folded. After its end the longest done stages
 * are shown, because its page is about them.
 * @param {Folded[]} stages
 * @param {boolean} isOver
 */
export function folds(stages, isOver) {
  if (stages.length <= MANY_STAGES) return stages.map(() => "");
  const found = stages.map(([status, failed]) => (failed ? "" : (FOLDS[status] ?? "")));
  if (!isOver) return found;
  const done = [...found.keys()].filter((place) => found[place] === "done");
  done.sort((one, other) => stages[other][2] - stages[one][2]);
  for (const place of done.slice(0, LONGEST_SHOWN)) found[place] = "";
  return found.map((fold) => (number(found, fold) >= LEAST_FOLDED ? fold : ""));
}

/**
 * @param {HTMLElement} card
 * @param {HTMLElement[]} rows
 * @param {Record<string, StageProgress>} stages
 * @param {boolean} isOver
 */
export function renderFolds(card, rows, stages, isOver) {
  const found = folds(
    rows.map(({ dataset: { stage = "", status = "", failed } }) => {
      return [status, Boolean(failed), stages[stage]?.duration_ms ?? 0];
    }),
    isOver,
  );
  const many = rows.length > MANY_STAGES ? "true" : "";
  if (card.dataset.many !== many) card.dataset.many = many;
  rows.forEach((row, place) => {
    if (row.dataset.folded !== found[place]) row.dataset.folded = found[place];
  });
  const [done, pending] = ["done", "pending"].map((fold) => count(number(found, fold)));
  fill(card, {
    "job.fold_done": isOver
      ? gettext("Show %(number)s shorter", { number: done })
      : gettext("Show %(number)s done", { number: done }),
    "job.fold_pending": gettext("Show %(number)s not started", { number: pending }),
  });
}

/**
 * @param {string[]} found
 * @param {string} fold
 */
function number(found, fold) {
  return found.filter((each) => each === fold).length;
}
