/** Answers of the routes of batches and jobs, as far as the view shows them. */

export interface Batch {
  id: string;
  source: string;
  state: string;
  is_processed: boolean;
  created_at: string;
  items: number;
  received: number;
  stored: number;
  indexed: number;
  updated: number;
  duplicate: number;
  rejected: number;
  failed: number;
  canceled: number;
}

export interface Job {
  id: string;
  state: string;
  created_at: string;
  counts: {
    total: number;
    completed: number;
    failed: number;
    canceled: number;
    open: number;
  };
}

export interface WorkItem {
  id: string;
  file: string | null;
  status: string;
  error_code: string | null;
  error_message: string | null;
  attempts: number;
}

interface JobItem extends Omit<WorkItem, "status"> {
  state: string;
  custom_id: string | null;
  url: string | null;
}

export interface Page<Row> {
  rows: Row[];
  next: string | null;
}

/** What batches and jobs have in common. */
export interface WorkUnit {
  kind: "batch" | "job";
  id: string;
  state: string;
  created_at: string;
  source: string | null;
  total: number;
  ended: number;
  isOver: boolean;
  counts: Record<string, number>;
}

const endedStates = new Set(["completed", "failed", "expired", "canceled"]);

export function readBatch(batch: Batch): WorkUnit {
  const { received, stored, indexed, updated, duplicate, rejected, failed, canceled } = batch;
  return {
    kind: "batch",
    id: batch.id,
    state: batch.state,
    created_at: batch.created_at,
    source: batch.source,
    total: batch.items,
    ended: batch.items - received - stored,
    isOver: batch.is_processed,
    counts: { received, stored, indexed, updated, duplicate, rejected, failed, canceled },
  };
}

export function readJob(job: Job): WorkUnit {
  const { total, completed, failed, canceled, open } = job.counts;
  return {
    kind: "job",
    id: job.id,
    state: job.state,
    created_at: job.created_at,
    source: null,
    total,
    ended: completed + failed + canceled,
    isOver: endedStates.has(job.state),
    counts: { open, completed, failed, canceled },
  };
}

export function readJobItem(item: JobItem): WorkItem {
  return { ...item, file: item.file ?? item.custom_id ?? item.url, status: item.state };
}

export type { JobItem };
