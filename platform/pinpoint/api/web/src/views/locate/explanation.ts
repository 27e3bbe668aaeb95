/** Why the answer is as it is: ranks of the search, what the ranker moved and attended to, what was dropped. */

import { createElement } from "../../dom";
import { formatProbability } from "../../format";
import { strings } from "../../strings";
import type { Answer, Channels, DroppedImage, ExplainedCandidate } from "./answer_types";
import { makeBar } from "./finding";
import type { ImageCardsOptions } from "./image_cards";

const texts = strings.locate;
const maxRows = 12;
const maxAttended = 8;

export function showExplanation(answer: Answer, options: ImageCardsOptions): HTMLElement {
  const { explanation, ranker, ranker_fallback_reason, bundle, index } = answer;
  const matched = (answer.matches ?? []).filter(({ query_points }) => query_points.length > 0);
  const best = matched[0];
  return createElement(
    "section",
    { class: "explanation", "aria-label": texts.why },
    createElement("p", {}, texts.whyRanker[ranker] ?? ranker),
    ranker_fallback_reason !== null && createElement("p", {}, texts.fallback(ranker_fallback_reason)),
    best === undefined
      ? createElement("p", {}, answer.matches === null ? texts.notCompared : texts.noMatchedImage)
      : createElement(
          "button",
          { type: "button", onclick: () => options.onCompare(best.image_id) },
          texts.showMatches(best.query_points.length, matched.length),
        ),
    ...(explanation === null ? [createElement("p", {}, texts.notExplained)] : []),
    ...(explanation === null ? [] : showRanks(answer, explanation.candidates, options)),
    ...showAttention(answer),
    explanation !== null && explanation.num_dropped > 0 &&
      showDropped(explanation.num_dropped, explanation.dropped, options),
    ...showTimings(answer.timings_ms),
    createElement("h3", {}, texts.provenance),
    createElement("p", { class: "muted" }, texts.made(bundle.name, index.build ?? "–")),
    createElement("p", { class: "muted" }, bundle.note),
    createElement("p", { class: "muted" }, answer.calibration_note),
  );
}

function showRanks(
  answer: Answer,
  candidates: readonly ExplainedCandidate[],
  { onHover, onCompare }: ImageCardsOptions,
): HTMLElement[] {
  const names = new Map(answer.candidates.map(({ image_id, file_name }) => [image_id, file_name]));
  const hasReranker = candidates.some(({ rerank_logit }) => rerank_logit !== null);
  const makeRow = (row: ExplainedCandidate) => {
    const { image_id: id } = row;
    const name = names.get(id) ?? id.slice(0, 8);
    const image = createElement("button", { type: "button", class: "quiet small", onclick: () => onCompare(id) }, name);
    const cells: (string | HTMLElement)[] = [
      String(row.rank + 1),
      describeMove(row.retrieval_rank - row.rank),
      image,
      describeChannels(row.channels),
      ...(hasReranker ? [row.rerank_logit?.toFixed(2) ?? "–"] : []),
      formatProbability(row.weight),
      row.num_inliers === null ? "–" : String(row.num_inliers),
    ];
    const properties = { onmouseenter: () => onHover(id), onmouseleave: () => onHover(null) };
    return createElement("tr", properties, ...cells.map((cell) => createElement("td", {}, cell)));
  };
  const { rank, moved, image, channels, logit, weight, inliers } = texts.columns;
  const columns = [rank, moved, image, channels, ...(hasReranker ? [logit] : []), weight, inliers];
  const body = createElement("tbody", {}, ...candidates.slice(0, maxRows).map(makeRow));
  const rest = candidates.slice(maxRows);
  const more = createElement(
    "button",
    {
      type: "button",
      onclick: () => {
        body.append(...rest.map(makeRow));
        more.remove();
      },
    },
    texts.showAll(candidates.length),
  );
  return [
    createElement("h3", {}, texts.ranks),
    createElement(
      "div",
      { class: "table-scroll", tabindex: "0", role: "group", "aria-label": texts.ranks },
      createElement(
        "table",
        {},
        createElement("thead", {}, createElement("tr", {}, ...columns.map((text) => createElement("th", { scope: "col" }, text)))),
        body,
      ),
    ),
    ...(rest.length > 0 ? [more] : []),
    createElement("p", { class: "muted" }, texts.channelNote),
    ...(answer.no_match_logit === null
      ? []
      : [createElement("p", { class: "muted" }, texts.noMatch(answer.no_match_logit.toFixed(2)))]),
  ];
}

function describeMove(moved: number): string {
  return moved === 0 ? "–" : `${moved > 0 ? "▲" : "▼"} ${Math.abs(moved)}`;
}

/** `image 3 (0.41)`: the rank from 1, none if the channel did not return the image, and the similarity. */
function describeChannels(channels: Channels): string {
  const describe = ([name, { rank, score }]: [string, Channels[string]]) =>
    `${name} ${rank === null ? "–" : rank + 1} (${score.toFixed(2)})`;
  return Object.entries(channels).map(describe).join(", ");
}

/** The evidence of the best candidate, by the reranker's attention. */
function showAttention({ candidates }: Answer): HTMLElement[] {
  const heading = createElement("h3", {}, texts.attended);
  const [best] = candidates;
  const attended = (best?.evidence ?? []).filter(({ attention }) => attention !== null);
  if (best === undefined || attended.length === 0) {
    return [heading, createElement("p", { class: "muted" }, texts.noAttention)];
  }
  const shares = attended.map(({ attention }) => attention ?? 0);
  const rows = [...attended]
    .sort((a, b) => (b.attention ?? 0) - (a.attention ?? 0))
    .slice(0, maxAttended)
    .map(({ file_name, source_kind, attention }) =>
      makeBar(`${file_name ?? texts.deleted} · ${texts.kindOf[source_kind]}`, attention ?? 0),
    );
  const none = Math.max(0, 1 - shares.reduce((sum, share) => sum + share, 0));
  return [
    heading,
    createElement("p", { class: "muted" }, texts.attendedNote(best.file_name ?? texts.deleted)),
    createElement("ul", { class: "bars" }, ...rows, makeBar(texts.attendedNone, none)),
  ];
}

function showDropped(count: number, dropped: readonly DroppedImage[], { thumbnails }: ImageCardsOptions): HTMLElement {
  const list = createElement("ul", { class: "dropped" });
  const fill = () => {
    if (details.open && list.childElementCount === 0) {
      list.append(
        ...dropped.map(({ image_id: id, source_kind, drop_reason, channels }) =>
          createElement(
            "li",
            {},
            thumbnails.createFrame({ id, source_kind }),
            createElement("span", {}, texts.dropReasons[drop_reason] ?? drop_reason),
            createElement("span", { class: "muted" }, describeChannels(channels)),
          ),
        ),
      );
    }
  };
  const details: HTMLDetailsElement = createElement(
    "details",
    { ontoggle: fill },
    createElement("summary", {}, texts.droppedCount(count)),
    count > dropped.length && createElement("p", { class: "muted" }, texts.droppedShown(dropped.length)),
    list,
  );
  return details;
}

function showTimings(timings_ms: Readonly<Record<string, number>>): HTMLElement[] {
  const { total, ...stages } = timings_ms;
  const entries = Object.entries(stages);
  const longest = Math.max(1, ...entries.map(([, time]) => time));
  return entries.length === 0
    ? []
    : [
        createElement("h3", {}, texts.stages),
        createElement(
          "ul",
          { class: "bars" },
          ...entries.map(([stage, time]) =>
            makeBar(texts.stageNames[stage] ?? stage, time / longest, texts.milliseconds(time.toFixed(0))),
          ),
        ),
        createElement("p", { class: "muted" }, texts.total(texts.milliseconds((total ?? 0).toFixed(0)))),
      ];
}
