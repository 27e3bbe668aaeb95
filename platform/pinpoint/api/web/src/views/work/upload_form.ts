/** Upload of photos into a new batch of a source. */

import type { AppContext } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import * as texts from "../../strings/work";
import type { Batch } from "./answers";

interface UploadAnswer {
  rejected?: { file: string }[];
}

export type UploadForm = ReturnType<typeof createUploadForm>;

export function createUploadForm(context: AppContext, onCreated: (batchId: string) => void) {
  const source = createElement("select", { id: "upload-source", required: true });
  const fileInput = createElement("input", { id: "upload-files", type: "file", multiple: true });
  const submitButton = createElement("button", { type: "submit", class: "primary" }, texts.start);
  const progress = createElement("progress", { max: 1, value: 0, hidden: true, "aria-label": texts.upload });
  const message = createElement("p.stage", { role: "status" });
  const abort = new AbortController();
  const element = createElement(
    "details.upload",
    createElement("summary", texts.upload),
    createElement(
      "form",
      { onsubmit: (event: Event) => void upload(event) },
      createElement("label", { htmlFor: "upload-source" }, texts.source),
      source,
      createElement("label", { htmlFor: "upload-files" }, texts.files),
      fileInput,
      submitButton,
      progress,
      message,
    ),
  );
  void loadSources();

  function dispose(): void {
    abort.abort();
  }

  async function loadSources(): Promise<void> {
    try {
      const { sources } = await context.client.getJson<{ sources: { id: string; name: string }[] }>(
        "v1/sources",
        abort.signal,
      );
      replaceChildren(source, ...sources.map(({ id, name }) => createElement("option", { value: id }, name)));
      submitButton.disabled = sources.length === 0;
      replaceChildren(message, sources.length === 0 ? texts.noSources : "");
    } catch (error) {
      context.showError(error);
    }
  }

  async function upload(event: Event): Promise<void> {
    event.preventDefault();
    const files = [...(fileInput.files ?? [])];
    if (files.length === 0) {
      replaceChildren(message, texts.chooseFiles);
      return;
    }
    submitButton.disabled = true;
    progress.hidden = false;
    const { client } = context;
    const { signal } = abort;
    const refused: string[] = [];
    try {
      const batch = await client.sendJson<Batch>("POST", "v1/batches", { source: source.value });
      // One file per request: a failed request costs one file, and the bar moves evenly.
      for (const [index, file] of files.entries()) {
        replaceChildren(message, texts.uploading(index + 1, files.length));
        const form = new FormData();
        form.append("files", file, file.name);
        const showProgress = (sent: number, total: number) => {
          progress.value = (index + sent / total) / files.length;
        };
        const answer = await client.upload<UploadAnswer>(`v1/batches/${batch.id}/images`, form, showProgress, signal);
        refused.push(...(answer.rejected ?? []).map((row) => row.file));
      }
      await client.sendJson("POST", `v1/batches/${batch.id}/close`);
      const note = refused.length > 0 ? ` ${texts.refusedFiles(refused.join(", "))}` : "";
      replaceChildren(message, texts.uploaded(files.length - refused.length) + note);
      onCreated(batch.id);
    } catch (error) {
      replaceChildren(message, "");
      context.showError(error);
    } finally {
      submitButton.disabled = false;
      progress.hidden = true;
    }
  }
  return { dispose, element };
}
