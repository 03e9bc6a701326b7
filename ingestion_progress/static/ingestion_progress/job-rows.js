// @ts-check
/** The rows of running jobs: each is written when its own job changes, and only what differs. */

import * as format from "./format.js";
import { fill, setBar } from "./dom.js";
import { gettext } from "./gettext.js";
import { LIVENESS_LABELS } from "./labels.js";
import { translateStored } from "./stored-sentences.js";

/** @typedef {import("./progress-events.d.ts").JobStateData} JobState */

/** With more bars than this, each moves at once: the transitions would cost half of the work. */
const MAX_TRANSITIONS = 20;

export class JobRows {
  /** @type {Map<string, HTMLElement>} */
  #rows = new Map();
  /** The newest progress that the stream has sent, by id. @type {Map<string, Progress>} */
  #progress = new Map();
  /** @type {Set<string>} */
  #changed = new Set();
  #frame = 0;

  /**
   * @typedef {object} Progress
   * @property {number} percent
   * @property {number} receivedAt of `performance.now()`
   *
   * @param {HTMLElement} section
   */
  constructor(section) {
    this.section = section;
    this.find();
  }

  /** After rows were added or removed. */
  find() {
    const rows = /** @type {NodeListOf<HTMLElement>} */ (this.section.querySelectorAll("[data-job]"));
    this.#rows = new Map([...rows].map((row) => [row.dataset.job ?? "", row]));
    const hasMany = this.running.length > MAX_TRANSITIONS;
    if (hasMany !== this.section.hasAttribute("data-many")) {
      this.section.toggleAttribute("data-many", hasMany);
    }
  }

  /** @param {string} id */
  get(id) {
    return this.#rows.get(id);
  }

  get all() {
    return [...this.#rows.values()];
  }

  get running() {
    return this.all.filter((row) => row.dataset.status === "running");
  }

  /** @param {import("./progress-events.d.ts").JobPipelineProgressData} progress */
  advance({ job_id, overall_progress_percent, timing }) {
    const row = this.#rows.get(job_id);
    if (!row) return;
    if (timing.started_at && !row.dataset.since) row.dataset.since = String(timing.started_at * 1000);
    const percent = overall_progress_percent;
    if (this.#progress.get(job_id)?.percent === percent) return;
    this.#progress.set(job_id, { percent, receivedAt: performance.now() });
    this.#changed.add(job_id);
    this.#frame ||= requestAnimationFrame(() => this.#render());
  }

  /**
   * What the stream has sent since a moment is newer than a list: written into the list, before the
   * page becomes like it, so that no bar goes back and forth.
   * @param {Element} list
   * @param {number} moment
   */
  bringUpToDate(list, moment) {
    for (const [id, { percent, receivedAt }] of this.#progress) {
      const row = list.querySelector(`[data-job="${CSS.escape(id)}"]`);
      if (row && receivedAt > moment) showPercent(row, percent);
      if (!row && !this.#rows.has(id)) this.#progress.delete(id);
    }
  }

  #render() {
    this.#frame = 0;
    for (const id of this.#changed) {
      const row = this.#rows.get(id);
      const percent = this.#progress.get(id)?.percent;
      if (row && percent !== undefined) showPercent(row, percent);
    }
    this.#changed.clear();
  }

  /** Changes the row of a job that runs or has ended. @param {JobState} state */
  change(state) {
    const row = this.#rows.get(state.job_id);
    if (!row || state.status === "queued") return;
    set(row, "status", state.status);
    set(row, "liveness", state.liveness ?? "");
    set(row, "result", state.result ?? "");
    fill(row, {
      "job.status": format.jobLabel(state.status, state.failed_items ?? 0),
      "job.note": noteText(state),
    });
  }

  /** @param {number} now */
  tick(now) {
    for (const row of this.running) {
      const since = Number(row.dataset.since);
      if (since) fill(row, { "job.elapsed": format.duration(Math.max(0, now - since)) });
    }
  }
}

/**
 * @param {Element} row
 * @param {number} percent
 */
function showPercent(row, percent) {
  const text = format.percent(percent);
  setBar(row.querySelector("progress"), percent, text);
  fill(row, { "job.percent": text });
}

/**
 * @param {HTMLElement} row
 * @param {string} name
 * @param {string} value
 */
function set(row, name, value) {
  if (row.dataset[name] !== value) row.dataset[name] = value;
}

/** The text below the name; often empty. @param {JobState} state */
function noteText(state) {
  return [format.attemptNote(state.attempt), reason(state)].filter(Boolean).join(" · ");
}

/** Why a job does not move, or how it ended. @param {JobState} state */
function reason({ status, liveness, waiting_for, error_count, error }) {
  if (waiting_for) return format.waiting(waiting_for);
  if (liveness) return liveness === "working" ? "" : gettext(LIVENESS_LABELS[liveness]);
  if (status === "succeeded") return format.errorNote(error_count);
  return translateStored(error ?? "");
}
