"""What the OpenAPI document says about the streams, in prose and examples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

EXAMPLES = """\
**curl**

```sh
{curl}
```

**EventSource**

```js
{javascript}
```
"""

ONE_JOB_DESCRIPTION = """\
Server-Sent Events until the job ends. Every event stands for itself: `pipeline_progress` carries
the whole state, never a change to it, so nothing can be missed.

| event | data | meaning |
|---|---|---|
{events}

A comment line, `: keepalive`, comes on a silent stream (every 15 s by default).

**The end.** `complete` or `error`, then the server closes the stream. The end depends on the
job's status, not on a percentage. An unknown job is an `error` event with the code `not_found`,
not a 404: a browser shows a page the events of a stream, but not the status of a response.

**Resuming.** EventSource reconnects by itself and sends `Last-Event-ID`: the state comes only if
it moved on, and a client that has seen the final state gets 204, which ends the reconnecting.

"""

ONE_JOB_JAVASCRIPT = """\
const source = new EventSource("{path}");
source.addEventListener("pipeline_progress", (event) => {{
  const progress = JSON.parse(event.data);
  console.log(progress.overall_progress_percent, progress.stages);
}});
source.addEventListener("complete", () => source.close());
source.addEventListener("error", (event) => {{
  if (event.data) {{ // the server's word; without data it is the network, and EventSource retries
    console.error(JSON.parse(event.data).message);
    source.close();
  }}
}});"""

MANY_JOBS_DESCRIPTION = """\
Server-Sent Events of all jobs that are queued or running, of those of a `batch`, or of those named
in `jobs`, in one connection. The events are those of the stream of one job, each with the `job_id`
in its data.

| event | data | meaning |
|---|---|---|
{events}

A comment line, `: keepalive`, comes on a silent stream (every 15 s by default).

**Joining and leaving.** A job that is made later joins by itself, one that ends says so and
leaves; so does a new attempt. One that was named and is unknown is an `error` event with the code
`not_found`, and the rest goes on.

**The end.** The stream ends only at its maximum age, after which EventSource comes back; or, with
`until=idle`, with the event `idle`, once no job is active or all that were named have ended.

**Resuming.** With the `Last-Event-ID` that EventSource sends by itself, jobs that ended since are
sent as well, with their endings; some may come twice. Without one only active jobs are. Named jobs
are always sent.

"""

MANY_JOBS_JAVASCRIPT = """\
const source = new EventSource("{path}");
source.addEventListener("pipeline_progress", (event) => {{
  const progress = JSON.parse(event.data);
  console.log(progress.job_id, progress.overall_progress_percent);
}});
source.addEventListener("complete", (event) => console.log("done", JSON.parse(event.data).job_id));
source.addEventListener("error", (event) => {{
  if (!event.data) return; // the network: EventSource retries
  const {{ job_id, message }} = JSON.parse(event.data);
  console.error(job_id || "stream", message);
}});"""


@dataclass(frozen=True, kw_only=True)
class StreamTexts:
    summary: str
    prose: str
    example: str
    no_content: str

    def curl(self, path: str) -> str:
        return f"curl -N http://localhost:8000{path}"

    def javascript(self, path: str) -> str:
        return self.example.format(path=path)

    def description(self, rows: Iterable[str], curl: str, javascript: str) -> str:
        """Markdown; `rows` are those of the table of events."""
        text = self.prose + EXAMPLES
        return text.format(events="\n".join(rows), curl=curl, javascript=javascript)


ONE_JOB = StreamTexts(
    summary="Watch one job live",
    prose=ONE_JOB_DESCRIPTION,
    example=ONE_JOB_JAVASCRIPT,
    no_content="The client has seen the final state: stop reconnecting.",
)
MANY_JOBS = StreamTexts(
    summary="Watch many jobs live",
    prose=MANY_JOBS_DESCRIPTION,
    example=MANY_JOBS_JAVASCRIPT,
    no_content="With `until=idle`: the client has seen the end: stop reconnecting.",
)
