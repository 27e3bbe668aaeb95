/** View `quality`: reports of evaluations and calibrations, the latest of each kind first. */

import { isAbort } from "../../api_client";
import type { AppContext, MountedView, ViewDefinition } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import type { LayerGroup } from "../../map/layers";
import { strings } from "../../strings";
import type { PageState } from "../../url_state";
import { errorColors, showErrors } from "./error_layer";
import { makeReliabilityDiagram } from "./reliability_diagram";
import { type Metric, type Report, type ReportSummary, formatFigure } from "./reports";

const texts = strings.quality;
const pageSize = 50;

class QualityView implements MountedView {
  readonly #context: AppContext;
  readonly #content = createElement("div", { class: "quality" });
  #abort = new AbortController();
  #layers: LayerGroup | null = null;
  #shown: string | null = null;

  constructor(panel: HTMLElement, context: AppContext) {
    this.#context = context;
    panel.append(createElement("h1", {}, texts.title), this.#content);
    this.update(context.state.get());
  }

  update(state: PageState): void {
    const id = state.filters["report"] ?? "";
    if (id === this.#shown) {
      return;
    }
    this.#shown = id;
    this.dispose();
    this.#abort = new AbortController();
    void this.#load(id, this.#abort.signal);
  }

  dispose(): void {
    this.#abort.abort();
    this.#layers?.dispose();
    this.#layers = null;
    replaceChildren(this.#content);
  }

  async #load(id: string, signal: AbortSignal): Promise<void> {
    const { client, showError } = this.#context;
    try {
      if (id !== "") {
        const report = await client.getJson<Report>(`v1/reports/${encodeURIComponent(id)}`, signal);
        this.#showReport(report);
        return;
      }
      const { reports } = await client.getJson<{ reports: ReportSummary[] }>(`v1/reports?limit=${pageSize}`, signal);
      this.#showList(reports);
    } catch (error) {
      if (!isAbort(error)) {
        showError(error);
      }
    }
  }

  #showList(reports: ReportSummary[]): void {
    if (reports.length === 0) {
      replaceChildren(this.#content, createElement("p", {}, texts.none));
      return;
    }
    const latest = (["evaluation", "calibration"] as const).flatMap((kind) => {
      const report = reports.find((candidate) => candidate.kind === kind);
      return report === undefined
        ? []
        : [createElement("h2", {}, texts.latest[kind]), this.#makeLink(report), makeMetricTable(report.metrics)];
    });
    replaceChildren(
      this.#content,
      ...latest,
      createElement("h2", {}, texts.older),
      createElement("ul", {}, ...reports.map((report) => createElement("li", {}, this.#makeLink(report)))),
    );
  }

  #makeLink(report: ReportSummary): HTMLElement {
    const label = `${formatTime(report.created_at)} · ${texts.kinds[report.kind]} · ${report.bundle} · ${report.title}`;
    const onclick = () => this.#context.state.set({ filters: { report: report.id } });
    return createElement("button", { type: "button", class: "quiet report-link", onclick }, label);
  }

  #showReport(report: Report): void {
    const { map, state } = this.#context;
    const back = createElement(
      "button",
      { type: "button", class: "quiet", onclick: () => state.set({ filters: {} }) },
      `← ${texts.back}`,
    );
    const facts: [string, string][] = [
      [texts.bundle, report.bundle],
      [texts.made, formatTime(report.created_at)],
      [texts.queries, String(report.queries)],
    ];
    replaceChildren(
      this.#content,
      back,
      createElement("h2", {}, report.title),
      report.is_synthetic && createElement("p", { class: "notice" }, texts.synthetic),
      createElement(
        "dl",
        {},
        ...facts.flatMap(([name, value]) => [createElement("dt", {}, name), createElement("dd", {}, value)]),
      ),
      makeMetricTable(report.metrics),
      ...makeReliability(report),
      ...makeErrorLegend(report),
      ...makeNotes(report.notes),
    );
    if (report.errors !== null && report.errors.length > 0) {
      this.#layers = showErrors(map, report.errors);
      const longitudes = report.errors.map((error) => error.lon);
      const latitudes = report.errors.map((error) => error.lat);
      map.show([
        Math.min(...longitudes),
        Math.min(...latitudes),
        Math.max(...longitudes),
        Math.max(...latitudes),
      ]);
    }
  }
}

function makeMetricTable(metrics: readonly Metric[]): HTMLElement {
  const row = (metric: Metric) => {
    const format = (value: number | null) => formatFigure(value, metric.unit, texts.noValue);
    const interval = metric.low === null ? texts.noValue : `${format(metric.low)} – ${format(metric.high)}`;
    return createElement(
      "tr",
      {},
      createElement("th", { scope: "row" }, metric.name),
      createElement("td", {}, format(metric.value)),
      createElement("td", {}, interval),
    );
  };
  const heads = [texts.figure, texts.value, texts.interval];
  return createElement(
    "table",
    { class: "figures" },
    createElement("thead", {}, createElement("tr", {}, ...heads.map((head) => createElement("th", { scope: "col" }, head)))),
    createElement("tbody", {}, ...metrics.map(row)),
  );
}

function makeReliability(report: Report): Node[] {
  if (report.reliability.length === 0) {
    return [];
  }
  return [
    createElement("h3", {}, texts.reliability),
    makeReliabilityDiagram(report.reliability),
    createElement("p", { class: "hint" }, texts.reliabilityHint),
  ];
}

function makeErrorLegend(report: Report): Node[] {
  if (report.errors === null) {
    return [createElement("h3", {}, texts.errorMap), createElement("p", { class: "hint" }, texts.hidden)];
  }
  if (report.errors.length === 0) {
    return [];
  }
  const steps = texts.errorSteps.map((step, index) =>
    createElement(
      "li",
      {},
      createElement("span", { class: "swatch", style: { "background-color": errorColors[index] ?? "" } }),
      step,
    ),
  );
  return [
    createElement("h3", {}, texts.errorMap),
    createElement("p", { class: "hint" }, texts.errorMapHint(report.errors.length)),
    createElement("ul", { class: "legend" }, ...steps),
  ];
}

function makeNotes(notes: readonly string[]): Node[] {
  if (notes.length === 0) {
    return [];
  }
  const items = notes.map((note) => createElement("li", {}, note));
  return [createElement("h3", {}, texts.notes), createElement("ul", {}, ...items)];
}

function formatTime(time: string): string {
  return new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

export const view: ViewDefinition = {
  mount: (panel, context) => new QualityView(panel, context),
};
