/** The specification of `pipeline_progress`, as its users wrote it: what is sent is exactly that. */

import type * as sent from "../../ingestion_progress/static/ingestion_progress/progress-events.d.ts";

export interface PipelineProgressData {
  document_id: string;
  document_name: string;
  total_chunks: number;
  total_images: number;
  stages: {
    [key: string]: {
      name: string;
      status: "pending" | "in_progress" | "completed" | "error";
      processed: number;
      total: number;
      in_flight: number;
      progress_percent: number;
      duration_ms: number;
      is_complete: boolean;
    };
  };
  worker_pool: {
    active: number;
    max: number;
    queue_depth: number;
    workers: Array<{
      id: number;
      status: "idle" | "processing" | "error";
      current_chunk: string | null;
      progress_percent: number;
    }>;
  };
  metrics: {
    entities_total: number;
    relations_total: number;
    neo4j_writes: number;
    qdrant_writes: number;
  };
  timing: {
    started_at: number;
    elapsed_ms: number;
    estimated_remaining_ms: number;
  };
  overall_progress_percent: number;
}

type Same<A, B> =
  (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true : false;

export const isSame: Same<PipelineProgressData, sent.PipelineProgressData> = true;
