/** View `work`: batches and jobs, newest first, and one of them in detail. */

import type { AppContext, ViewDefinition } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import * as texts from "../../strings/work";
import type { PageState } from "../../url_state";
import { type Batch, type Job, type WorkUnit, readBatch, readJob } from "./answers";
import { type UnitPanel, createUnitPanel, describeUnit } from "./unit_panel";
import { createUploadForm } from "./upload_form";

const pageSize = 20;

function createWorkView(panel: HTMLElement, context: AppContext) {
  const list = createElement("div.work-list");
  const detail = createElement("div");
  let abort = new AbortController();
  let unitPanel: UnitPanel | null = null;
  let shown = "";
  const upload = createUploadForm(context, (id) => context.state.set({ filters: { batch: id } }));
  panel.append(createElement("h1", texts.title), upload.element, list, detail);
  update(context.state.get());

  function update(state: PageState): void {
    const { batch, job } = state.filters;
    const key = batch !== undefined ? `batch:${batch}` : job !== undefined ? `job:${job}` : "list";
    if (key === shown) {
      return;
    }
    shown = key;
    clear();
    if (key === "list") {
      void showLists();
      return;
    }
    const back = createElement(
      "button.quiet",
      { onclick: () => context.state.set({ filters: {} }) },
      `← ${texts.back}`,
    );
    unitPanel =
      batch !== undefined ? createUnitPanel(context, "batch", batch) : createUnitPanel(context, "job", job ?? "");
    replaceChildren(detail, back, unitPanel.element);
  }

  function dispose(): void {
    clear();
    upload.dispose();
  }

  function clear(): void {
    abort.abort();
    abort = new AbortController();
    unitPanel?.dispose();
    unitPanel = null;
    replaceChildren(list);
    replaceChildren(detail);
  }

  async function showLists(): Promise<void> {
    const { client, showError } = context;
    const { signal } = abort;
    const canSeeJobs = client.hasScope("locate");
    try {
      const [batches, jobs] = await Promise.all([
        client.getJson<{ batches: Batch[] }>(`v1/batches?limit=${pageSize}`, signal),
        canSeeJobs ? client.getJson<{ jobs: Job[] }>(`v1/jobs?limit=${pageSize}`, signal) : { jobs: [] },
      ]);
      replaceChildren(
        list,
        createElement("h2", texts.batches),
        makeList(batches.batches.map(readBatch), texts.noBatches),
        createElement("h2", texts.jobs),
        makeList(jobs.jobs.map(readJob), canSeeJobs ? texts.noJobs : texts.noJobScope),
      );
    } catch (error) {
      showError(error);
    }
  }

  function makeList(units: readonly WorkUnit[], emptyText: string): HTMLElement {
    if (units.length === 0) {
      return createElement("p.muted", emptyText);
    }
    return createElement("ul.units", ...units.map((unit) => makeRow(unit)));
  }

  function makeRow(unit: WorkUnit): HTMLElement {
    const open = () => context.state.set({ filters: { [unit.kind]: unit.id } });
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
  return { update, dispose };
}

export const view: ViewDefinition = {
  mount: (panel, context) => createWorkView(panel, context),
};
