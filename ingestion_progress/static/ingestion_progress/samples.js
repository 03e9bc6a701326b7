// @ts-check
/** How the counts of an attempt grew: what the server has stored, and what the stream sends. */

/** @typedef {import("./progress-events.d.ts").PipelineProgressData} PipelineProgressData */

/**
 * As the API sends it.
 * @typedef {object} Sample
 * @property {number} elapsed_ms since the start of the attempt
 * @property {number} overall_progress_percent
 * @property {number[]} processed by stage
 * @property {number[]} total by stage; 0 while unknown
 * @property {number | null} busy_workers null in samples of older versions
 * @property {number | null} queue_depth
 */

const MAX_SAMPLES = 400;

export class Samples {
  /** @type {string[]} */
  stages = [];
  /** Oldest first. @type {Sample[]} */
  list = [];

  #startedAt = 0;

  /** Adds the state of a running job. @param {PipelineProgressData} progress */
  add(progress) {
    const { started_at: startedAt, elapsed_ms: elapsedMs } = progress.timing;
    if (!startedAt) return;
    if (Math.abs(startedAt - this.#startedAt) > 1 && this.#startedAt) this.list = [];
    this.#startedAt = startedAt;
    if (elapsedMs <= (this.list.at(-1)?.elapsed_ms ?? -1)) return;
    for (const name of Object.keys(progress.stages)) {
      if (!this.stages.includes(name)) this.stages.push(name);
    }
    const { active, queue_depth } = progress.worker_pool;
    this.list.push({
      elapsed_ms: elapsedMs,
      overall_progress_percent: progress.overall_progress_percent,
      processed: this.stages.map((name) => progress.stages[name]?.processed ?? 0),
      total: this.stages.map((name) => progress.stages[name]?.total ?? 0),
      busy_workers: active,
      queue_depth,
    });
    if (this.list.length > MAX_SAMPLES) {
      this.list = this.list.filter((_, index) => index % 2 || index === 0);
    }
  }

  /**
   * Puts what the server has stored before what the stream has sent.
   * @param {{stages: string[], samples: Sample[]}} stored
   */
  load({ stages, samples }) {
    const last = samples.at(-1)?.elapsed_ms ?? -1;
    const later = this.list.filter((sample) => sample.elapsed_ms > last);
    const names = [...stages, ...this.stages.filter((name) => !stages.includes(name))];
    const places = names.map((name) => this.stages.indexOf(name));
    /** @param {number[]} counts */
    const moved = (counts) => places.map((place) => counts[place] ?? 0);
    this.list = [
      ...samples,
      ...later.map((each) => ({
        ...each,
        processed: moved(each.processed),
        total: moved(each.total),
      })),
    ];
    this.stages = names;
  }

  /**
   * Milliseconds and processed items of one stage.
   * @param {string} stage
   * @returns {[number, number][]}
   */
  countsOf(stage) {
    const place = this.stages.indexOf(stage);
    return place < 0 ? [] : this.list.map((each) => [each.elapsed_ms, each.processed[place] ?? 0]);
  }
}
