/** View `quality`: reports of evaluations and calibrations, the latest of each kind first. */

import { isAbort } from "../../api_client";
import type { AppContext, ViewDefinition } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import type { LayerGroup } from "../../map/layers";
import * as texts from "../../strings/quality";
import type { PageState } from "../../url_state";
import { errorColors, showErrors } from "./error_layer";
import { makeReliabilityDiagram } from "./reliability_diagram";
import { type Metric, type Report, type ReportSummary, formatFigure } from "./reports";

const pageSize = 50;

function createQualityView(panel: HTMLElement, context: AppContext) {
  const { client, map, state, showError } = context;
  const content = createElement("div.quality");
  let abort = new AbortController();
  let layers: LayerGroup | null = null;
  let shown: string | null = null;
  panel.append(createElement("h1", texts.title), content);
  update(state.get());

  function update(page: PageState): void {
    const id = page.filters["report"] ?? "";
    if (id !== shown) {
      shown = id;
      dispose();
      abort = new AbortController();
      void load(id, abort.signal);
    }
  }

  function dispose(): void {
    abort.abort();
    layers?.dispose();
    layers = null;
    replaceChildren(content);
  }

  async function load(id: string, signal: AbortSignal): Promise<void> {
    try {
      if (id !== "") {
        showReport(await client.getJson<Report>(`v1/reports/${encodeURIComponent(id)}`, signal));
        return;
      }
      const { reports } = await client.getJson<{ reports: ReportSummary[] }>(`v1/reports?limit=${pageSize}`, signal);
      showList(reports);
    } catch (error) {
      if (!isAbort(error)) {
        showError(error);
      }
    }
  }

  function showList(reports: ReportSummary[]): void {
    if (reports.length === 0) {
      replaceChildren(content, createElement("p", texts.none));
      return;
    }
    const latest = (["evaluation", "calibration"] as const).flatMap((kind) => {
      const report = reports.find((candidate) => candidate.kind === kind);
      return report === undefined
        ? []
        : [createElement("h2", texts.latest[kind]), makeLink(report), makeMetricTable(report.metrics)];
    });
    replaceChildren(
      content,
      ...latest,
      createElement("h2", texts.older),
      createElement("ul", reports.map((report) => createElement("li", makeLink(report)))),
    );
  }

  function makeLink(report: ReportSummary): HTMLElement {
    const label = `${formatTime(report.created_at)} · ${texts.kinds[report.kind]} · ${report.bundle} · ${report.title}`;
    const onclick = () => state.set({ filters: { report: report.id } });
    return createElement("button.quiet.report-link", { onclick }, label);
  }

  function showReport(report: Report): void {
    const facts = [
      [texts.bundle, report.bundle],
      [texts.made, formatTime(report.created_at)],
      [texts.queries, report.queries],
    ] as const;
    replaceChildren(
      content,
      createElement("button.quiet", { onclick: () => state.set({ filters: {} }) }, `← ${texts.back}`),
      createElement("h2", report.title),
      report.is_synthetic && createElement("p.notice", texts.synthetic),
      createElement(
        "dl",
        facts.flatMap(([name, value]) => [createElement("dt", name), createElement("dd", value)]),
      ),
      makeMetricTable(report.metrics),
      ...makeReliability(report),
      ...makeErrorLegend(report),
      ...makeNotes(report.notes),
    );
    if (report.errors?.length) {
      layers = showErrors(map, report.errors);
      const longitudes = report.errors.map((error) => error.lon);
      const latitudes = report.errors.map((error) => error.lat);
      map.show([Math.min(...longitudes), Math.min(...latitudes), Math.max(...longitudes), Math.max(...latitudes)]);
    }
  }
  return { update, dispose };
}

function makeMetricTable(metrics: readonly Metric[]): HTMLElement {
  const row = ({ name, value, low, high, unit }: Metric) => {
    const format = (figure: number | null) => formatFigure(figure, unit, texts.noValue);
    return createElement(
      "tr",
      createElement("th", { scope: "row" }, name),
      createElement("td", format(value)),
      createElement("td", low === null ? texts.noValue : `${format(low)} – ${format(high)}`),
    );
  };
  const heads = [texts.figure, texts.value, texts.interval];
  return createElement(
    "table.figures",
    createElement("thead", createElement("tr", heads.map((head) => createElement("th", { scope: "col" }, head)))),
    createElement("tbody", metrics.map(row)),
  );
}

function makeReliability({ reliability }: Report): Node[] {
  return reliability.length === 0
    ? []
    : [
        createElement("h3", texts.reliability),
        makeReliabilityDiagram(reliability),
        createElement("p.hint", texts.reliabilityHint),
      ];
}

function makeErrorLegend({ errors }: Report): Node[] {
  if (errors === null) {
    return [createElement("h3", texts.errorMap), createElement("p.hint", texts.hidden)];
  }
  if (errors.length === 0) {
    return [];
  }
  const steps = texts.errorSteps.map((step, index) =>
    createElement("li", createElement("span.swatch", { style: { "background-color": errorColors[index] ?? "" } }), step),
  );
  return [
    createElement("h3", texts.errorMap),
    createElement("p.hint", texts.errorMapHint(errors.length)),
    createElement("ul.legend", steps),
  ];
}

function makeNotes(notes: readonly string[]): Node[] {
  return notes.length === 0
    ? []
    : [createElement("h3", texts.notes), createElement("ul", notes.map((note) => createElement("li", note)))];
}

function formatTime(time: string): string {
  return new Date(time).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

export const view: ViewDefinition = {
  mount: (panel, context) => createQualityView(panel, context),
};
