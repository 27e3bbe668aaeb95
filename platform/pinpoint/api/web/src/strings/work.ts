/** Texts of the view `work`. */
export const title = "Batches and jobs";
export const batches = "Batches";
export const jobs = "Locate jobs";
export const noBatches = "No batch yet. A batch takes photos into the gallery.";
export const noJobs = "No job yet. `pinpoint locate --job` and POST /v1/jobs/locate create jobs.";
export const noJobScope = "Your key cannot see jobs: it lacks the scope `locate`.";
export const more = "Show more";
export const back = "All batches and jobs";
export const upload = "Add photos to the gallery";
export const source = "Source";
export const noSources = "There is no source yet. Create one with `pinpoint sources add` or POST /v1/sources.";
export const files = "Photos";
export const start = "Upload";
export const chooseFiles = "Choose photos first.";
export const uploading = (done: number, all: number) => `Uploading photo ${done} of ${all} …`;
export const uploaded = (count: number) => `${count} photos are uploaded. They are now decoded and indexed.`;
export const refusedFiles = (names: string) => `Refused: ${names}`;
export const batch = (source: string, time: string) => `Batch of ${source}, ${time}`;
export const job = (time: string) => `Job of ${time}`;
export const state = (state: string) => `State: ${state}`;
export const progress = (done: number, all: number) => `${done} of ${all} items ended`;
export const counts = "Items by status";
export const items = "Items";
export const filter = "Show";
export const allItems = "All items";
export const columns = { file: "File", status: "Status", reason: "Reason" } as const;
export const attempts = (count: number) => `${count} attempts`;
export const noItems = "None";
export const retry = "Retry failed and canceled files";
export const cancel = "Cancel";
export const results = "Download results (NDJSON)";
export const errors = "Download errors (NDJSON)";
export const close = "Close the batch";
export const stalled = (seconds: number) =>
  `Nothing has moved for ${seconds} s. Look at \`pinpoint status\`: a worker may be stopped, or busy with ` +
  "earlier batches.";
export const ended = (title: string) => `${title} has ended.`;
