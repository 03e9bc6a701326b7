// @ts-check
/**
 * The markup of `<pipeline-progress>` where no server rendered it. The templates in
 * `templates/ingestion_progress/partials/` have the same; a browser test compares the two.
 */

const METRICS = {
  total_chunks: "Chunks",
  total_images: "Images",
  entities_total: "Entities",
  relations_total: "Relations",
  neo4j_writes: "Graph writes",
  qdrant_writes: "Vector writes",
  error_count: "Errors",
};

export const STAGE = `
<li class="stage" data-unit="">
  <span class="symbol" aria-hidden="true"></span>
  <span class="stage-name"><bdi data-field="stage.label"></bdi></span>
  <span class="stage-status" data-field="stage.status"></span>
  <progress class="bar" max="100"></progress>
  <span class="stage-percent" data-field="stage.percent"></span>
  <span class="stage-detail"><bdi data-field="stage.detail"></bdi></span>
  <span class="stage-flight" data-field="stage.in_flight"></span>
  <span class="stage-duration" data-field="stage.duration"></span>
</li>`;

export const WORKER = `
<li class="worker">
  <span class="worker-number"><span class="visually-hidden">Worker </span><span data-field="worker.number"></span></span>
  <span class="worker-activity"><bdi data-field="worker.activity"></bdi></span>
  <progress class="bar" max="100"></progress>
</li>`;

export const COUNTER = `
<div><dt><bdi data-field="metric.label"></bdi></dt><dd data-field="metric.value">0</dd></div>`;

const NOTICES = `
<p class="notice" data-notice="liveness-queued" hidden>Waiting for a worker to take the job.</p>
<p class="notice" data-notice="liveness-starved" hidden><strong>No worker has taken the job yet.</strong> If none is running, start one.</p>
<p class="notice" data-notice="liveness-working" hidden data-field="job.activity"></p>
<p class="notice" data-notice="liveness-stalled" hidden><strong>No progress for a while.</strong> The job is alive; a large item or a slow service may hold it up.</p>
<p class="notice" data-notice="liveness-lost" hidden><strong>No sign of life.</strong> The process that ran the job seems to be gone.</p>
<p class="notice" data-notice="stopping" hidden>Stopping: the job ends after what it is working on.</p>
<p class="notice" data-notice="succeeded" hidden>The document is ingested. <span class="error-note" data-field="job.error_note"></span></p>
<p class="notice" data-notice="failed" hidden><strong>The job failed.</strong> <bdi data-field="job.error"></bdi></p>
<p class="notice" data-notice="cancelled" hidden><strong>The job was cancelled.</strong> <bdi data-field="job.error"></bdi></p>
<p class="notice" data-notice="lost" hidden><strong>The job was lost:</strong> its process ended without a word. <bdi data-field="job.error"></bdi></p>
<p class="notice" data-notice="not_found" hidden><strong>There is no such job (any more).</strong> It may have been deleted.</p>`;

/**
 * @param {number} level the level of the topmost heading, 1 to 5
 */
export function skeleton(level) {
  const [top, section] = [`h${level}`, `h${level + 1}`];
  const metrics = Object.entries(METRICS).map(
    ([name, label]) =>
      `<div data-metric="${name}"><dt>${label}</dt><dd data-field="metric.value">0</dd></div>`,
  );
  return `
<header class="job-head">
  <${top} class="job-title"><bdi data-field="job.document_name"></bdi></${top}>
  <p class="badge"><span class="symbol" aria-hidden="true"></span><span class="visually-hidden">Status: </span><span data-field="job.status"></span></p>
</header>
<section class="card overall" aria-label="Overall progress">
  <p class="overall-percent" data-field="job.percent">–</p>
  <dl class="timing">
    <div><dt>Elapsed</dt><dd data-field="job.elapsed">–</dd></div>
    <div class="timing-remaining"><dt>Remaining</dt><dd data-field="job.remaining">–</dd></div>
    <div><dt>Started</dt><dd><time data-field="job.started">–</time></dd></div>
  </dl>
  <progress class="bar bar-large" max="100" value="0" aria-label="Overall progress" data-bar="job"></progress>
  <div class="overall-foot">
    <div class="notices">${NOTICES}</div>
    <p class="connection" data-field="job.connection"></p>
  </div>
</section>
<div class="columns">
  <section class="card stages">
    <${section}>Stages</${section}>
    <ol class="stage-list" role="list" data-list="stages"></ol>
  </section>
  <div class="column">
    <section class="card workers">
      <div class="card-head">
        <${section}>Workers</${section}>
        <p class="card-note"><span data-field="job.busy"></span><span data-field="job.waiting"></span></p>
      </div>
      <ul class="worker-list" role="list" data-list="workers"></ul>
      <p class="empty" data-empty="workers">No workers.</p>
    </section>
    <section class="card metrics">
      <${section}>Metrics</${section}>
      <dl class="metric-list" data-list="metrics">${metrics.join("")}</dl>
    </section>
  </div>
</div>
<p class="visually-hidden" role="status" data-announcer></p>`;
}
