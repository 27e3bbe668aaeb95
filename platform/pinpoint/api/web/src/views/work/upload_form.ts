/** Upload of photos into a new batch of a source. */

import { isAbort } from "../../api_client";
import type { AppContext } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import * as texts from "../../strings/work";
import type { Batch } from "./answers";


interface UploadAnswer {
  rejected?: { file: string }[];
}

export class UploadForm {
  readonly element: HTMLElement;
  readonly #context: AppContext;
  readonly #source = createElement("select", { id: "upload-source", required: true });
  readonly #files = createElement("input", { id: "upload-files", type: "file", multiple: true });
  readonly #submit = createElement("button", { type: "submit", class: "primary" }, texts.start);
  readonly #progress = createElement("progress", { max: 1, value: 0, hidden: true, "aria-label": texts.upload });
  readonly #message = createElement("p.stage", { role: "status" });
  readonly #abort = new AbortController();
  readonly #onCreated: (batchId: string) => void;

  constructor(context: AppContext, onCreated: (batchId: string) => void) {
    this.#context = context;
    this.#onCreated = onCreated;
    this.element = createElement(
      "details.upload",
      createElement("summary", texts.upload),
      createElement(
        "form",
        { onsubmit: (event: Event) => void this.#upload(event) },
        createElement("label", { htmlFor: "upload-source" }, texts.source),
        this.#source,
        createElement("label", { htmlFor: "upload-files" }, texts.files),
        this.#files,
        this.#submit,
        this.#progress,
        this.#message,
      ),
    );
    void this.#loadSources();
  }

  dispose(): void {
    this.#abort.abort();
  }

  async #loadSources(): Promise<void> {
    try {
      const { sources } = await this.#context.client.getJson<{ sources: { id: string; name: string }[] }>(
        "v1/sources",
        this.#abort.signal,
      );
      replaceChildren(this.#source, ...sources.map(({ id, name }) => createElement("option", { value: id }, name)));
      this.#submit.disabled = sources.length === 0;
      replaceChildren(this.#message, sources.length === 0 ? texts.noSources : "");
    } catch (error) {
      if (!isAbort(error)) {
        this.#context.showError(error);
      }
    }
  }

  async #upload(event: Event): Promise<void> {
    event.preventDefault();
    const files = [...(this.#files.files ?? [])];
    if (files.length === 0) {
      replaceChildren(this.#message, texts.chooseFiles);
      return;
    }
    this.#submit.disabled = true;
    this.#progress.hidden = false;
    const { client } = this.#context;
    const { signal } = this.#abort;
    const refused: string[] = [];
    try {
      const batch = await client.sendJson<Batch>("POST", "v1/batches", { source: this.#source.value });
      // One file per request: a failed request costs one file, and the bar moves evenly.
      for (const [index, file] of files.entries()) {
        replaceChildren(this.#message, texts.uploading(index + 1, files.length));
        const form = new FormData();
        form.append("files", file, file.name);
        const showProgress = (sent: number, total: number) => {
          this.#progress.value = (index + sent / total) / files.length;
        };
        const answer = await client.upload<UploadAnswer>(`v1/batches/${batch.id}/images`, form, showProgress, signal);
        refused.push(...(answer.rejected ?? []).map((row) => row.file));
      }
      await client.sendJson("POST", `v1/batches/${batch.id}/close`);
      const note = refused.length > 0 ? ` ${texts.refusedFiles(refused.join(", "))}` : "";
      replaceChildren(this.#message, texts.uploaded(files.length - refused.length) + note);
      this.#onCreated(batch.id);
    } catch (error) {
      replaceChildren(this.#message, "");
      if (!isAbort(error)) {
        this.#context.showError(error);
      }
    } finally {
      this.#submit.disabled = false;
      this.#progress.hidden = true;
    }
  }
}
