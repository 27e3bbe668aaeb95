/** One batch or job: live counts, its items with errors in words, and what can be done with it. */

import { isAbort } from "../../api_client";
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

export class UnitPanel {
  readonly element = createElement("section.work-unit");
  readonly #context: AppContext;
  readonly #path: string;
  readonly #kind: "batch" | "job";
  readonly #head = createElement("div");
  readonly #stalled = createElement("p.warning", { role: "status", hidden: true });
  readonly #actions = createElement("div.actions");
  readonly #filter = createElement("select", { onchange: () => void this.#loadItems(true) });
  readonly #rows = createElement("tbody");
  readonly #more = createElement(
    "button",
    { hidden: true, onclick: () => void this.#loadItems(false) },
    texts.more,
  );
  readonly #abort = new AbortController();
  #timer = 0;
  #pauseMs = firstPauseMs;
  #cursor: string | null = null;
  #lastChange = Date.now();
  #ended = -1;

  constructor(context: AppContext, kind: "batch" | "job", id: string) {
    this.#context = context;
    this.#kind = kind;
    this.#path = kind === "batch" ? `v1/batches/${id}` : `v1/jobs/${id}`;
    const columns = Object.values(texts.columns).map((text) => createElement("th", { scope: "col" }, text));
    this.element.append(
      this.#head,
      this.#stalled,
      this.#actions,
      createElement("h3", texts.items),
      createElement("label", texts.filter, this.#filter),
      createElement(
        "table.work-items",
        createElement("thead", createElement("tr", ...columns)),
        this.#rows,
      ),
      this.#more,
    );
    document.addEventListener("visibilitychange", () => this.#schedule(0), { signal: this.#abort.signal });
    void this.#poll();
  }

  dispose(): void {
    clearTimeout(this.#timer);
    this.#abort.abort();
  }

  async #poll(): Promise<void> {
    const { client, showError } = this.#context;
    const { signal } = this.#abort;
    try {
      const unit =
        this.#kind === "batch"
          ? readBatch(await client.getJson<Batch>(this.#path, signal))
          : readJob(await client.getJson<Job>(this.#path, signal));
      this.#show(unit);
    } catch (error) {
      if (!isAbort(error)) {
        showError(error);
      }
    }
  }

  #show(unit: WorkUnit): void {
    const isFirst = this.#ended < 0;
    const hasMoved = unit.ended !== this.#ended;
    this.#ended = unit.ended;
    this.#showHead(unit);
    if (isFirst) {
      const statuses = ["", ...Object.keys(unit.counts)];
      replaceChildren(
        this.#filter,
        ...statuses.map((value) => createElement("option", { value }, value === "" ? texts.allItems : value)),
      );
    }
    if (hasMoved) {
      this.#lastChange = Date.now();
      this.#pauseMs = firstPauseMs;
      void this.#loadItems(true);
    }
    this.#showActions(unit);
    const stalledS = Math.round((Date.now() - this.#lastChange) / 1_000);
    const isStalled = !unit.isOver && unit.ended < unit.total && stalledS >= stalledAfterS;
    this.#stalled.hidden = !isStalled;
    replaceChildren(this.#stalled, isStalled ? texts.stalled(stalledS) : "");
    if (!unit.isOver) {
      this.#schedule(this.#pauseMs);
      this.#pauseMs = Math.min(longestPauseMs, this.#pauseMs * 1.5);
    } else if (!isFirst) {
      this.#context.announce(texts.ended(describeUnit(unit)));
    }
  }

  /** Poll again later; not while the page is hidden. */
  #schedule(pauseMs: number): void {
    clearTimeout(this.#timer);
    if (!document.hidden && !this.#abort.signal.aborted) {
      this.#timer = window.setTimeout(() => void this.#poll(), pauseMs);
    }
  }

  #showHead(unit: WorkUnit): void {
    const counts = Object.entries(unit.counts).filter(([, count]) => count > 0);
    replaceChildren(
      this.#head,
      createElement("h2", describeUnit(unit)),
      createElement("p", texts.state(unit.state)),
      createElement("progress", { max: Math.max(1, unit.total), value: unit.ended, "aria-label": texts.progress(unit.ended, unit.total) }),
      createElement("p", texts.progress(unit.ended, unit.total)),
      createElement(
        "ul.counts",
        { "aria-label": texts.counts },
        ...counts.map(([name, count]) => createElement("li", `${name}: ${count.toLocaleString("en")}`)),
      ),
    );
  }

  #showActions(unit: WorkUnit): void {
    const { failed = 0, canceled = 0, completed = 0 } = unit.counts;
    const button = (text: string, action: () => Promise<void>) =>
      createElement("button", { onclick: () => void this.#run(action) }, text);
    const send = (name: string) => async () => {
      await this.#context.client.sendJson("POST", `${this.#path}/${name}`);
    };
    const isBatch = unit.kind === "batch";
    replaceChildren(
      this.#actions,
      isBatch && unit.state === "open" && button(texts.close, send("close")),
      isBatch && failed + canceled > 0 && button(texts.retry, send("retry")),
      !unit.isOver && button(texts.cancel, send("cancel")),
      !isBatch && completed > 0 && button(texts.results, () => this.#download("results")),
      !isBatch && failed > 0 && button(texts.errors, () => this.#download("errors")),
    );
  }

  async #run(action: () => Promise<void>): Promise<void> {
    try {
      await action();
      this.#ended = -2;
      this.#schedule(0);
    } catch (error) {
      this.#context.showError(error);
    }
  }

  async #download(name: "results" | "errors"): Promise<void> {
    const url = await this.#context.client.fetchBlobUrl(`${this.#path}/${name}`, this.#abort.signal);
    saveFile(url, `${name}.ndjson`);
  }

  async #loadItems(isFresh: boolean): Promise<void> {
    const parameters = new URLSearchParams({ limit: String(pageSize) });
    const isBatch = this.#kind === "batch";
    if (this.#filter.value !== "") {
      parameters.set(isBatch ? "status" : "state", this.#filter.value);
    }
    if (!isFresh && this.#cursor !== null) {
      parameters.set(isBatch ? "cursor" : "after", this.#cursor);
    }
    try {
      const page = await this.#context.client.getJson<{
        items: (WorkItem & JobItem)[];
        next: string | number | null;
      }>(`${this.#path}/items?${parameters}`, this.#abort.signal);
      const items = page.items.map((item) => (isBatch ? item : readJobItem(item)));
      const rows = items.map(makeItemRow);
      if (isFresh) {
        replaceChildren(this.#rows, ...(rows.length > 0 ? rows : [makeEmptyRow()]));
      } else {
        this.#rows.append(...rows);
      }
      this.#cursor = page.next === null ? null : String(page.next);
      this.#more.hidden = page.next === null;
    } catch (error) {
      if (!isAbort(error)) {
        this.#context.showError(error);
      }
    }
  }
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
