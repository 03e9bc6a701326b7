/** Uploads documents to another origin, and shows their jobs until they end. */

import { type FormEvent, useState } from "react";
import { CONNECTION_LABELS, type WatchedJob } from "ingestion-progress-client";
import { useJobs } from "ingestion-progress-client/react";

const SERVER = new URLSearchParams(location.search).get("server") ?? "http://localhost:8000";
const API = `${SERVER}/api/v1/admin/ingestion`;

/** From the application's own back end, for each connection anew. A public server needs none. */
const token = async () => (await fetch("/token")).text();

export function Documents() {
  const [ids, setIds] = useState<string[]>([]);
  const [refusals, setRefusals] = useState<string[]>([]);
  const stream = ids.length ? `${API}/progress` : null;
  const { jobs, connection } = useJobs(stream, { jobs: ids, token });

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = event.currentTarget;
    for (const file of new FormData(form).getAll("file") as File[]) {
      try {
        const id = await upload(file);
        setIds((known) => [...known, id]);
      } catch (error) {
        setRefusals((known) => [...known, `${file.name}: ${(error as Error).message}`]);
      }
    }
    form.reset();
  }

  return (
    <>
      <h1>Documents</h1>
      <form onSubmit={(event) => void submit(event)}>
        <label>
          Documents <input type="file" name="file" multiple required />
        </label>
        <button>Ingest</button>
      </form>
      {stream && <p role="status">{CONNECTION_LABELS[connection]}</p>}
      <ul>
        {refusals.map((refusal) => <li key={refusal}>{refusal}</li>)}
        {ids.map((id) => <li key={id}>{jobs[id] ? describe(jobs[id]) : "…"}</li>)}
      </ul>
    </>
  );
}

/** The id of the job. Throws an error with the server's reason. */
async function upload(file: File): Promise<string> {
  const body = new FormData();
  body.append("file", file);
  const response = await fetch(`${API}/jobs`, { method: "POST", body });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.message);
  return answer.job_id;
}

function describe({ status, progress, error }: WatchedJob) {
  if (!progress) return error?.message ?? "…";
  const percent = `${progress.overall_progress_percent} %`;
  return `${progress.document_name}: ${percent}, ${error?.message ?? status}`;
}
