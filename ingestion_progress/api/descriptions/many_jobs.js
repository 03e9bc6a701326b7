const source = new EventSource("$path");
source.addEventListener("pipeline_progress", (event) => {
  const progress = JSON.parse(event.data);
  console.log(progress.job_id, progress.overall_progress_percent);
});
source.addEventListener("complete", (event) => console.log("done", JSON.parse(event.data).job_id));
source.addEventListener("error", (event) => {
  if (!event.data) return; // the network: EventSource retries
  const { job_id, message } = JSON.parse(event.data);
  console.error(job_id || "stream", message);
});
