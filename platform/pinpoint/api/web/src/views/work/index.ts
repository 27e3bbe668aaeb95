/** View `work`: batches and jobs, newest first, and one of them in detail. */

import { isAbort } from "../../api_client";
import type { AppContext, MountedView, ViewDefinition } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import * as texts from "../../strings/work";
import type { PageState } from "../../url_state";
import { type Batch, type Job, type WorkUnit, readBatch, readJob } from "./answers";
import { UnitPanel, describeUnit } from "./unit_panel";
import { UploadForm } from "./upload_form";

const pageSize = 20;

class WorkView implements MountedView {
  readonly #context: AppContext;
  readonly #list = createElement("div.work-list");
  readonly #detail = createElement("div");
  readonly #upload: UploadForm;
  #abort = new AbortController();
  #panel: UnitPanel | null = null;
  #shown = "";

  constructor(panel: HTMLElement, context: AppContext) {
    this.#context = context;
    this.#upload = new UploadForm(context, (id) => context.state.set({ filters: { batch: id } }));
    panel.append(createElement("h1", texts.title), this.#upload.element, this.#list, this.#detail);
    this.update(context.state.get());
  }

  update(state: PageState): void {
    const { batch, job } = state.filters;
    const key = batch !== undefined ? `batch:${batch}` : job !== undefined ? `job:${job}` : "list";
    if (key === this.#shown) {
      return;
    }
    this.#shown = key;
    this.#clear();
    if (key === "list") {
      void this.#showLists();
      return;
    }
    const back = createElement(
      "button.quiet",
      { onclick: () => this.#context.state.set({ filters: {} }) },
      `← ${texts.back}`,
    );
    this.#panel = batch !== undefined
      ? new UnitPanel(this.#context, "batch", batch)
      : new UnitPanel(this.#context, "job", job ?? "");
    replaceChildren(this.#detail, back, this.#panel.element);
  }

  dispose(): void {
    this.#clear();
    this.#upload.dispose();
  }

  #clear(): void {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#panel?.dispose();
    this.#panel = null;
    replaceChildren(this.#list);
    replaceChildren(this.#detail);
  }

  async #showLists(): Promise<void> {
    const { client, showError } = this.#context;
    const { signal } = this.#abort;
    const canSeeJobs = client.hasScope("locate");
    try {
      const [batches, jobs] = await Promise.all([
        client.getJson<{ batches: Batch[] }>(`v1/batches?limit=${pageSize}`, signal),
        canSeeJobs ? client.getJson<{ jobs: Job[] }>(`v1/jobs?limit=${pageSize}`, signal) : { jobs: [] },
      ]);
      replaceChildren(
        this.#list,
        createElement("h2", texts.batches),
        this.#makeList(batches.batches.map(readBatch), texts.noBatches),
        createElement("h2", texts.jobs),
        this.#makeList(jobs.jobs.map(readJob), canSeeJobs ? texts.noJobs : texts.noJobScope),
      );
    } catch (error) {
      if (!isAbort(error)) {
        showError(error);
      }
    }
  }

  #makeList(units: readonly WorkUnit[], emptyText: string): HTMLElement {
    if (units.length === 0) {
      return createElement("p.muted", emptyText);
    }
    return createElement("ul.units", ...units.map((unit) => this.#makeRow(unit)));
  }

  #makeRow(unit: WorkUnit): HTMLElement {
    const open = () => this.#context.state.set({ filters: { [unit.kind]: unit.id } });
    return createElement(
      "li",
      createElement(
        "button.unit",
        { onclick: open },
        createElement("span.card-title", describeUnit(unit)),
        createElement("span.muted", `${unit.state} · ${texts.progress(unit.ended, unit.total)}`),
      ),
    );
  }
}

export const view: ViewDefinition = {
  mount: (panel, context) => new WorkView(panel, context),
};
