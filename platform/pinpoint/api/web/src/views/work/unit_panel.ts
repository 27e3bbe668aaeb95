/** One batch or job: live counts, its items with errors in words, and what can be done with it. */

import type { AppContext } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import { saveFile } from "../../save_file";
import * as texts from "../../strings/work";
import {
  type Batch,
  type Job,
  type JobItem,
  type WorkItem,
  type WorkUnit,
  readBatch,
  readJob,
  readJobItem,
} from "./answers";

const pageSize = 50;
const firstPauseMs = 1_000;
const longestPauseMs = 10_000;
const stalledAfterS = 60;

export type UnitPanel = ReturnType<typeof createUnitPanel>;

export function createUnitPanel(context: AppContext, kind: "batch" | "job", id: string) {
  const section = createElement("section.work-unit");
  const head = createElement("div");
  const stalled = createElement("p.warning", { role: "status", hidden: true });
  const actions = createElement("div.actions");
  const filter = createElement("select", { onchange: () => void loadItems(true) });
  const body = createElement("tbody");
  const more = createElement("button", { hidden: true, onclick: () => void loadItems(false) }, texts.more);
  const abort = new AbortController();
  let timer = 0;
  let nextPauseMs = firstPauseMs;
  let cursor: string | null = null;
  let lastChange = Date.now();
  let ended = -1;
  const path = kind === "batch" ? `v1/batches/${id}` : `v1/jobs/${id}`;
  const columns = Object.values(texts.columns).map((text) => createElement("th", { scope: "col" }, text));
  section.append(
    head,
    stalled,
    actions,
    createElement("h3", texts.items),
    createElement("label", texts.filter, filter),
    createElement("table.work-items", createElement("thead", createElement("tr", ...columns)), body),
    more,
  );
  document.addEventListener("visibilitychange", () => schedule(0), { signal: abort.signal });
  void poll();

  function dispose(): void {
    clearTimeout(timer);
    abort.abort();
  }

  async function poll(): Promise<void> {
    const { client, showError } = context;
    const { signal } = abort;
    try {
      const unit =
        kind === "batch"
          ? readBatch(await client.getJson<Batch>(path, signal))
          : readJob(await client.getJson<Job>(path, signal));
      show(unit);
    } catch (error) {
      showError(error);
    }
  }

  function show(unit: WorkUnit): void {
    const isFirst = ended < 0;
    const hasMoved = unit.ended !== ended;
    ended = unit.ended;
    showHead(unit);
    if (isFirst) {
      const statuses = ["", ...Object.keys(unit.counts)];
      replaceChildren(
        filter,
        ...statuses.map((value) => createElement("option", { value }, value === "" ? texts.allItems : value)),
      );
    }
    if (hasMoved) {
      lastChange = Date.now();
      nextPauseMs = firstPauseMs;
      void loadItems(true);
    }
    showActions(unit);
    const stalledS = Math.round((Date.now() - lastChange) / 1_000);
    const isStalled = !unit.isOver && unit.ended < unit.total && stalledS >= stalledAfterS;
    stalled.hidden = !isStalled;
    replaceChildren(stalled, isStalled ? texts.stalled(stalledS) : "");
    if (!unit.isOver) {
      schedule(nextPauseMs);
      nextPauseMs = Math.min(longestPauseMs, nextPauseMs * 1.5);
    } else if (!isFirst) {
      context.announce(texts.ended(describeUnit(unit)));
    }
  }

  /** Poll again later; not while the page is hidden. */
  function schedule(pauseMs: number): void {
    clearTimeout(timer);
    if (!document.hidden && !abort.signal.aborted) {
      timer = window.setTimeout(() => void poll(), pauseMs);
    }
  }

  function showHead(unit: WorkUnit): void {
    const counts = Object.entries(unit.counts).filter(([, count]) => count > 0);
    replaceChildren(
      head,
      createElement("h2", describeUnit(unit)),
      createElement("p", texts.state(unit.state)),
      createElement("progress", {
        max: Math.max(1, unit.total),
        value: unit.ended,
        "aria-label": texts.progress(unit.ended, unit.total),
      }),
      createElement("p", texts.progress(unit.ended, unit.total)),
      createElement(
        "ul.counts",
        { "aria-label": texts.counts },
        ...counts.map(([name, count]) => createElement("li", `${name}: ${count.toLocaleString("en")}`)),
      ),
    );
  }

  function showActions(unit: WorkUnit): void {
    const { failed = 0, canceled = 0, completed = 0 } = unit.counts;
    const button = (text: string, action: () => Promise<void>) =>
      createElement("button", { onclick: () => void run(action) }, text);
    const send = (name: string) => async () => {
      await context.client.sendJson("POST", `${path}/${name}`);
    };
    const isBatch = unit.kind === "batch";
    replaceChildren(
      actions,
      isBatch && unit.state === "open" && button(texts.close, send("close")),
      isBatch && failed + canceled > 0 && button(texts.retry, send("retry")),
      !unit.isOver && button(texts.cancel, send("cancel")),
      !isBatch && completed > 0 && button(texts.results, () => download("results")),
      !isBatch && failed > 0 && button(texts.errors, () => download("errors")),
    );
  }

  async function run(action: () => Promise<void>): Promise<void> {
    try {
      await action();
      ended = -2;
      schedule(0);
    } catch (error) {
      context.showError(error);
    }
  }

  async function download(name: "results" | "errors"): Promise<void> {
    const url = await context.client.fetchBlobUrl(`${path}/${name}`, abort.signal);
    saveFile(url, `${name}.ndjson`);
  }

  async function loadItems(isFresh: boolean): Promise<void> {
    const parameters = new URLSearchParams({ limit: String(pageSize) });
    const isBatch = kind === "batch";
    if (filter.value !== "") {
      parameters.set(isBatch ? "status" : "state", filter.value);
    }
    if (!isFresh && cursor !== null) {
      parameters.set(isBatch ? "cursor" : "after", cursor);
    }
    try {
      const page = await context.client.getJson<{
        items: (WorkItem & JobItem)[];
        next: string | number | null;
      }>(`${path}/items?${parameters}`, abort.signal);
      const items = page.items.map((item) => (isBatch ? item : readJobItem(item)));
      const rows = items.map(makeItemRow);
      if (isFresh) {
        replaceChildren(body, ...(rows.length > 0 ? rows : [makeEmptyRow()]));
      } else {
        body.append(...rows);
      }
      cursor = page.next === null ? null : String(page.next);
      more.hidden = page.next === null;
    } catch (error) {
      context.showError(error);
    }
  }
  return { dispose, element: section };
}

export function describeUnit(unit: WorkUnit): string {
  const time = new Date(unit.created_at).toLocaleString();
  return unit.source === null ? texts.job(time) : texts.batch(unit.source, time);
}

function makeItemRow(item: WorkItem): HTMLElement {
  const reason = [item.error_message ?? item.error_code, item.attempts > 1 ? texts.attempts(item.attempts) : null];
  return createElement(
    "tr",
    createElement("td.file-name", item.file),
    createElement("td", item.status),
    createElement("td", reason.filter((text) => text !== null).join("; ")),
  );
}

function makeEmptyRow(): HTMLElement {
  return createElement("tr", createElement("td", { colSpan: 3 }, texts.noItems));
}
