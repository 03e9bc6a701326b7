// @ts-check
/** Replays a job that has ended: a slider over its stored samples shows a past moment. */

import { duration, exactPercent } from "./format.js";
import { gettext } from "./gettext.js";
import { FINAL_STATUSES } from "./labels.js";
import { morph } from "./morph.js";
import { renderProgress } from "./render.js";
import { Samples } from "./samples.js";
import { renderTimeline } from "./timeline.js";
import { rows } from "./dom.js";

/** @typedef {import("./pipeline-progress.js").PipelineProgress} PipelineProgress */
/** @typedef {import("./progress-events.d.ts").PipelineProgressData} PipelineProgressData */
/** @typedef {import("./progress-events.d.ts").StageProgress} StageProgress */
/** @typedef {import("./samples.js").Sample} Sample */

/** A whole replay takes this long, if there are enough samples. */
const PLAY_MS = 12_000;
const LEAST_FRAME_MS = 60;

export class Replay {
  #root;
  #charts;
  #slider;
  /** How the job ended, as it was shown. @type {Element | null} */
  #end = null;
  /** @type {PipelineProgressData | null} */
  #progress = null;
  #samples = new Samples();
  /** When each stage ran, and its status at the end. @type {Map<string, [string, string, string]>} */
  #stages = new Map();
  /** @type {Promise<boolean> | null} */
  #loading = null;
  /** @type {number | undefined} */
  #player;

  /**
   * @param {HTMLElement} root
   * @param {HTMLElement} charts the card with the addresses of the samples and the snapshot
   */
  constructor(root, charts) {
    this.#root = root;
    this.#charts = charts;
    this.#slider = /** @type {HTMLInputElement} */ (this.#part("moment"));
    document.querySelector('[data-slot="replay"]')?.append(root);
    this.#slider.addEventListener("input", () => {
      this.#stop();
      void this.#show();
    });
    // Before the first move the number of moments must be known.
    for (const type of ["focus", "pointerenter"]) {
      this.#slider.addEventListener(type, () => void this.#load());
    }
    this.#part("play").addEventListener("click", () => void this.#toggle());
    this.#part("end").addEventListener("click", () => {
      this.#slider.focus();
      this.#slider.value = this.#slider.max;
      this.#stop();
      void this.#show();
    });
  }

  get isActive() {
    return this.#end !== null;
  }

  /** Shows the slider if the job has ended, with more than one sample. */
  offer() {
    const hasEnded = FINAL_STATUSES.has(this.#job?.dataset.status);
    this.#root.hidden = !hasEnded || this.#charts.hidden;
    if (!this.#progress) this.#setMax(Number(this.#charts.dataset.moments));
  }

  /** The last position is the end of the job. @param {number} moments */
  #setMax(moments) {
    const isAtEnd = this.#slider.value === this.#slider.max;
    this.#slider.max = String(moments);
    if (isAtEnd) this.#slider.value = this.#slider.max;
  }

  get #job() {
    /** @type {PipelineProgress | null} */
    const job = document.querySelector("pipeline-progress");
    return job;
  }

  /** @param {string} name @returns {HTMLElement} */
  #part(name) {
    return /** @type {HTMLElement} */ (this.#root.querySelector(`[data-replay="${name}"]`));
  }

  /** Reads the samples and the final state once. False if that failed. */
  #load() {
    this.#loading ??= this.#read().catch(() => {
      this.#loading = null;
      this.#part("text").textContent = gettext("The samples could not be read.");
      return false;
    });
    return this.#loading;
  }

  async #read() {
    const { samples = "", snapshot = "" } = this.#charts.dataset;
    const [stored, progress] = await Promise.all([samples, snapshot].map(readJson));
    this.#samples.load(stored);
    this.#progress = progress;
    this.#setMax(this.#samples.list.length);
    return true;
  }

  async #toggle() {
    if (this.#player) return this.#stop();
    if (!(await this.#load())) return;
    const last = Number(this.#slider.max);
    if (Number(this.#slider.value) >= last) this.#slider.value = "0";
    this.#part("play").textContent = gettext("Pause");
    void this.#show();
    this.#player = setInterval(() => {
      this.#slider.value = String(Number(this.#slider.value) + 1);
      if (Number(this.#slider.value) >= last) this.#stop();
      void this.#show();
    }, Math.max(LEAST_FRAME_MS, PLAY_MS / Math.max(1, last)));
  }

  #stop() {
    clearInterval(this.#player);
    this.#player = undefined;
    this.#part("play").textContent = gettext("Replay");
  }

  /** Shows the moment of the slider; its last one is the end of the job. */
  async #show() {
    if (!(await this.#load())) return;
    const job = this.#job;
    const sample = this.#samples.list[Number(this.#slider.value)];
    if (!job || !this.#progress) return;
    if (sample) {
      if (!this.#end) this.#begin(job);
      this.#render(job, this.#progress, sample);
    } else this.#showEnd(job);
    const text = sample
      ? gettext("After %(time)s: %(percent)s", {
          time: duration(sample.elapsed_ms),
          percent: exactPercent(sample.overall_progress_percent),
        })
      : gettext("The end of the job");
    this.#part("text").textContent = text;
    this.#slider.setAttribute("aria-valuetext", text);
    this.#part("end").hidden = !sample;
    this.#moveCursors(sample ? (100 * sample.elapsed_ms) / this.#wholeMs : 100);
  }

  get #wholeMs() {
    const last = this.#samples.list.at(-1)?.elapsed_ms ?? 0;
    return Math.max(1, last, this.#progress?.timing.elapsed_ms ?? 0);
  }

  /** @param {PipelineProgress} job */
  #begin(job) {
    this.#end = /** @type {Element} */ (job.cloneNode(true));
    job.dataset.replay = this.#root.dataset.replaying = "true";
    for (const { dataset } of rows(job, "stages")) {
      const { stage = "", start = "", end = "", status = "" } = dataset;
      this.#stages.set(stage, [start, end, status]);
    }
  }

  /** @param {PipelineProgress} job */
  #showEnd(job) {
    if (!this.#end) return;
    for (const selector of REPLAYED) {
      const [shown, end] = [job.querySelector(selector), this.#end.querySelector(selector)];
      if (shown && end) morph(shown, end);
    }
    delete job.dataset.replay;
    this.#end = null;
    delete this.#root.dataset.replaying;
  }

  /**
   * @param {PipelineProgress} job
   * @param {PipelineProgressData} progress at the end
   * @param {Sample} sample
   */
  #render(job, progress, sample) {
    /** @type {Record<string, StageProgress>} */
    const stages = {};
    for (const [name, stage] of Object.entries(progress.stages)) {
      stages[name] = this.#pastStage(stage, sample);
    }
    const timing = { ...progress.timing, elapsed_ms: sample.elapsed_ms };
    const past = {
      ...progress,
      stages,
      timing,
      overall_progress_percent: sample.overall_progress_percent,
    };
    renderProgress(job, past, null);
    for (const row of rows(job, "stages")) {
      const [start, end] = this.#stages.get(row.dataset.stage ?? "") ?? ["", ""];
      Object.assign(row.dataset, { start, end });
    }
    const attempt = job.state?.attempt ?? 2;
    renderTimeline(job, {
      progress: past,
      elapsedMs: sample.elapsed_ms,
      leftMs: 0,
      isOver: false,
      attempt,
      samples: this.#samples,
      isReplayed: true,
    });
  }

  /**
   * @param {StageProgress} stage at the end
   * @param {Sample} sample
   * @returns {StageProgress}
   */
  #pastStage(stage, { elapsed_ms, processed, total }) {
    const place = this.#samples.stages.indexOf(stage.name);
    const [start, end] = this.#stages.get(stage.name) ?? ["", ""];
    if (!start || elapsed_ms < Number(start)) {
      return { ...stage, ...NOT_BEGUN, processed: processed[place] ?? 0, total: total[place] ?? 0 };
    }
    if (end && elapsed_ms >= Number(end)) return stage;
    const [done, whole] = [processed[place] ?? 0, total[place] ?? 0];
    return {
      ...stage,
      status: "in_progress",
      processed: done,
      total: whole,
      in_flight: 0,
      progress_percent: whole ? Math.min(100, (100 * done) / whole) : 0,
      duration_ms: elapsed_ms - Number(start),
      is_complete: false,
    };
  }

  /** @param {number} percent of the time */
  #moveCursors(percent) {
    for (const cursor of this.#charts.querySelectorAll(".chart-cursor")) {
      cursor.toggleAttribute("hidden", percent >= 100);
      for (const name of ["x1", "x2"]) cursor.setAttribute(name, String(percent));
    }
  }
}

/** The parts of the job that show a past moment. */
const REPLAYED = [".overall", ".stage-list", ".column"];

const NOT_BEGUN = /** @type {const} */ ({
  status: "pending",
  in_flight: 0,
  progress_percent: 0,
  duration_ms: 0,
  is_complete: false,
});

/** @param {string} url */
async function readJson(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(String(response.status));
  return response.json();
}
