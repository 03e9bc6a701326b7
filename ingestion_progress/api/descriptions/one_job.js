const source = new EventSource("$path");
source.addEventListener("pipeline_progress", (event) => {
  const progress = JSON.parse(event.data);
  console.log(progress.overall_progress_percent, progress.stages);
});
source.addEventListener("complete", () => source.close());
source.addEventListener("error", (event) => {
  if (event.data) { // sent by the server; without data it is the network: EventSource retries
    console.error(JSON.parse(event.data).message);
    source.close();
  }
});
