/** Why the answer is as it is: ranks of the search, what the ranker moved, what was dropped. */

import { createElement } from "../../dom";
import { formatProbability } from "../../format";
import { strings } from "../../strings";
import type { Answer, Candidate, Explanation } from "./answer_types";

const texts = strings.locate;
const maxRows = 12;

export function showExplanation(answer: Answer): HTMLElement {
  const section = createElement(
    "details",
    { class: "explanation" },
    createElement("summary", {}, texts.why),
    createElement("p", {}, texts.whyRanker[answer.ranker] ?? answer.ranker),
    answer.ranker_fallback_reason !== null &&
      createElement("p", {}, texts.fallback(answer.ranker_fallback_reason)),
  );
  if (answer.explanation !== null) {
    section.append(
      createElement("div", { class: "table-scroll", tabindex: "0", role: "group", "aria-label": texts.why },
        makeRankTable(answer.explanation, answer.candidates)),
      ...listDropped(answer.explanation),
    );
  }
  section.append(makeStageTable(answer.timings_ms));
  section.append(
    createElement("p", { class: "muted" }, texts.made(answer.bundle.name, answer.index.build)),
    createElement("p", { class: "muted" }, answer.bundle.note),
    createElement("p", { class: "muted" }, answer.calibration_note),
  );
  return section;
}

function makeRankTable(explanation: Explanation, candidates: readonly Candidate[]): HTMLElement {
  const names = new Map(candidates.map(({ image_id, file_name }) => [image_id, file_name]));
  const columns = Object.values(texts.columns);
  const rows = explanation.candidates.slice(0, maxRows).map((row) => {
    const moved = row.retrieval_rank - row.rank;
    const channels = Object.entries(row.channels).map(([name, { rank }]) => `${name} ${rank + 1}`);
    return [
      String(row.rank + 1),
      moved === 0 ? "–" : `${moved > 0 ? "▲" : "▼"} ${Math.abs(moved)}`,
      names.get(row.image_id) ?? row.image_id.slice(0, 8),
      channels.join(", "),
      row.rerank_logit === null ? "–" : row.rerank_logit.toFixed(2),
      formatProbability(row.weight),
      row.num_inliers === null ? "–" : String(row.num_inliers),
      Object.entries(row.num_evidence).map(([kind, count]) => `${count} ${kind}`).join(", "),
    ];
  });
  return createElement(
    "table",
    {},
    createElement("thead", {}, makeRow("th", columns)),
    createElement("tbody", {}, ...rows.map((cells) => makeRow("td", cells))),
  );
}

function makeRow(tag: "th" | "td", cells: readonly string[]): HTMLElement {
  const properties = tag === "th" ? { scope: "col" } : {};
  return createElement("tr", {}, ...cells.map((text) => createElement(tag, properties, text)));
}

function listDropped(explanation: Explanation): HTMLElement[] {
  if (explanation.num_dropped === 0) {
    return [];
  }
  const counts = new Map<string, number>();
  for (const { drop_reason } of explanation.dropped) {
    counts.set(drop_reason, (counts.get(drop_reason) ?? 0) + 1);
  }
  const items = [...counts].map(([reason, count]) =>
    createElement("li", {}, `${count} × ${texts.dropReasons[reason] ?? reason}`),
  );
  return [
    createElement("p", {}, texts.droppedCount(explanation.num_dropped)),
    createElement("ul", {}, ...items),
  ];
}

function makeStageTable(timings_ms: Readonly<Record<string, number>>): HTMLElement {
  const rows = Object.entries(timings_ms).map(([stage, time]) => makeRow("td", [stage, time.toFixed(0)]));
  return createElement(
    "table",
    { class: "stages" },
    createElement("caption", {}, texts.stages),
    createElement("thead", {}, makeRow("th", Object.values(texts.stageColumns))),
    createElement("tbody", {}, ...rows),
  );
}
