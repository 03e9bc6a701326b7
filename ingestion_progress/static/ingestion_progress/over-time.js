// @ts-check
/** The charts of a job's page: what is stored, and what the stream adds. */

import { areaPath, spread, stepsPath, throughput } from "./charts.js";
import { count, duration, exactPercent, peak, rate } from "./format.js";
import { morph } from "./morph.js";

/** @typedef {import("./charts.js").Point} Point */
/** @typedef {import("./pipeline-progress.js").PipelineProgress} PipelineProgress */
/** @typedef {import("./samples.js").Sample} Sample */

const REDRAW_MS = 1_000;

export class OverTime {
  #card;
  #isLoading = false;
  #isLoaded = false;
  #drawnAt = -Infinity;
  #attempt = 0;

  /** @param {HTMLElement} card */
  constructor(card) {
    this.#card = card;
  }

  /** The state of the job has changed. @param {PipelineProgress} job */
  update(job) {
    const { progress, state } = job;
    if (!progress?.timing.started_at || !state) return;
    if (state.attempt !== this.#attempt) this.#isLoaded = false;
    this.#attempt = state.attempt;
    if (!this.#isLoaded) void this.load(job);
    else if (performance.now() - this.#drawnAt >= REDRAW_MS) this.#draw(job);
  }

  /** Reads what the server has stored of the current attempt. @param {PipelineProgress} job */
  async load(job) {
    if (this.#isLoading) return;
    this.#isLoading = true;
    try {
      const response = await fetch(this.#card.dataset.samples ?? "");
      if (!response.ok) return;
      job.samples.load(await response.json());
      job.render();
    } catch {
      // The next state tries again.
      return;
    } finally {
      this.#isLoading = false;
    }
    this.#isLoaded = true;
    if (job.progress) this.#draw(job);
  }

  /** Takes what the server has drawn again. @param {Element | null} fresh */
  replace(fresh) {
    if (fresh) morph(this.#card, fresh);
  }

  /** @param {PipelineProgress} job */
  #draw(job) {
    this.#drawnAt = performance.now();
    const { progress } = job;
    const list = job.samples.list;
    if (!progress || list.length < 2) return;
    const wholeMs = Math.max(progress.timing.elapsed_ms, list[list.length - 1].elapsed_ms);
    const end = this.#card.querySelector('[data-over-time="end"]');
    if (end) end.textContent = duration(wholeMs);
    /** @param {(sample: Sample) => number | null} valueOf @returns {Point[]} */
    const points = (valueOf) =>
      list.flatMap((sample) => {
        const value = valueOf(sample);
        return value === null ? [] : [[(100 * sample.elapsed_ms) / wholeMs, value]];
      });
    const percent = progress.overall_progress_percent;
    const line = points((sample) => sample.overall_progress_percent);
    this.#show("progress", areaPath([...line, [100, percent]], 100), exactPercent(percent));
    const rates = throughput(countsOf(list, job.state?.attempt ?? 1), wholeMs);
    const highest = Math.max(0, ...rates);
    this.#show("throughput", stepsPath(spread(rates), highest), peak(rate(highest, 1000)));
    const busy = points((sample) => sample.busy_workers);
    const waiting = points((sample) => sample.queue_depth);
    const mostBusy = Math.max(0, ...busy.map(([, value]) => value));
    const mostWaiting = Math.max(0, ...waiting.map(([, value]) => value));
    const ceiling = Math.max(progress.worker_pool.max, mostBusy);
    this.#show("busy", stepsPath(busy, ceiling), peak(count(mostBusy)));
    this.#show("waiting", stepsPath(waiting, mostWaiting), peak(count(mostWaiting)));
  }

  /**
   * @param {string} name
   * @param {string} path
   * @param {string} text
   */
  #show(name, path, text) {
    const chart = this.#card.querySelector(`[data-chart="${name}"]`);
    const area = chart?.querySelector("path");
    const note = chart?.querySelector(".chart-note");
    if (area && area.getAttribute("d") !== path) area.setAttribute("d", path);
    if (note && note.textContent !== text) note.textContent = text;
  }
}

/**
 * Milliseconds and items of all stages.
 * @param {Sample[]} list
 * @param {number} attempt
 * @returns {Point[]}
 */
function countsOf(list, attempt) {
  /** @type {Point[]} */
  const start = attempt === 1 ? [[0, 0]] : [];
  const sum = (/** @type {number[]} */ counts) => counts.reduce((before, each) => before + each, 0);
  return [...start, ...list.map((each) => /** @type {Point} */ ([each.elapsed_ms, sum(each.processed)]))];
}
