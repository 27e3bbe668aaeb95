/** Why the answer is as it is: ranks of the search, what the ranker moved and attended to, what was dropped. */

import { createElement } from "../../dom";
import { formatProbability } from "../../format";
import * as texts from "../../strings/locate_answer";
import { deleted } from "../../strings/locate_credit";
import { makeBar, makeDetails } from "./answer_parts";
import type { Answer, Channels, Explanation } from "./answer_types";
import type { CardOptions } from "./image_cards";

const maxAttended = 8;

export function showExplanation(answer: Answer, options: CardOptions): HTMLElement {
  const { explanation, ranker, ranker_fallback_reason, bundle, index, no_match_logit } = answer;
  const best = answer.matches?.find(({ query_points }) => query_points.length > 0);
  const muted = (text: string) => createElement("p.muted", text);
  return createElement(
    "section.explanation",
    createElement("p", texts.rankers[ranker] ?? ranker),
    ranker_fallback_reason && createElement("p", texts.fallback(ranker_fallback_reason)),
    best
      ? createElement(
          "button",
          { onclick: () => options.onCompare(best.image_id) },
          texts.showMatches(best.query_points.length),
        )
      : createElement("p", texts.noMatchedImage),
    createElement("h3", texts.ranks),
    explanation ? showRanks(answer, explanation, options) : muted(texts.notExplained),
    explanation && muted(texts.rankNote),
    no_match_logit !== null && muted(texts.noMatch(no_match_logit.toFixed(2))),
    createElement("h3", texts.attended),
    showAttention(answer) ?? muted(texts.noAttention),
    explanation && explanation.num_dropped > 0 && showDropped(explanation, options),
    createElement("h3", texts.stages),
    showTimings(answer.timings_ms, options),
    muted(texts.made(bundle.name, index.build ?? "–")),
    muted(bundle.note),
    muted(answer.calibration_note),
  );
}

function showRanks(answer: Answer, { candidates }: Explanation, { onCompare }: CardOptions): HTMLElement {
  const names = new Map(answer.candidates.map(({ image_id, file_name }) => [image_id, file_name]));
  const makeCells = (tag: "th" | "td", cells: readonly (string | HTMLElement)[]) =>
    cells.map((cell) => createElement(tag, cell));
  const rows = candidates.map((row) => {
    const { image_id: id, rank, rerank_logit, num_inliers } = row;
    const moved = row.retrieval_rank - rank;
    const cells = [
      String(rank + 1),
      moved === 0 ? "–" : `${moved > 0 ? "▲" : "▼"} ${Math.abs(moved)}`,
      createElement("button.quiet.small", { onclick: () => onCompare(id) }, names.get(id) ?? id.slice(0, 8)),
      describeChannels(row.channels),
      rerank_logit?.toFixed(2) ?? "–",
      formatProbability(row.weight),
      String(num_inliers ?? "–"),
    ];
    return createElement("tr", { dataset: { image: id } }, makeCells("td", cells));
  });
  return createElement(
    "div.table-scroll",
    { tabIndex: 0, role: "group", "aria-label": texts.ranks },
    createElement(
      "table",
      createElement("thead", createElement("tr", makeCells("th", texts.columns))),
      createElement("tbody", rows),
    ),
  );
}

/** `image 3 (0.41)`: the rank from 1, none if the channel did not return the image, and the similarity. */
function describeChannels(channels: Channels): string {
  return Object.entries(channels)
    .map(([name, { rank, score }]) => `${name} ${rank === null ? "–" : rank + 1} (${score.toFixed(2)})`)
    .join(", ");
}

/** The evidence of the best candidate, by the reranker's attention; null without attention. */
function showAttention({ candidates }: Answer): HTMLElement | null {
  const attended = (candidates[0]?.evidence ?? []).flatMap(({ attention, ...image }) =>
    attention === null ? [] : [{ ...image, attention }],
  );
  const sum = attended.reduce((total, { attention }) => total + attention, 0);
  return attended.length === 0
    ? null
    : createElement(
        "ul.bars",
        attended
          .sort((a, b) => b.attention - a.attention)
          .slice(0, maxAttended)
          .map(({ file_name, source_kind, attention }) =>
            makeBar(`${file_name ?? deleted} · ${texts.kinds[source_kind]}`, attention),
          ),
        makeBar(texts.attendedNone, Math.max(0, 1 - sum)),
      );
}

function showDropped({ num_dropped, dropped }: Explanation, { thumbnails }: CardOptions): HTMLElement {
  const makeList = () =>
    createElement(
      "ul.dropped",
      dropped.map(({ image_id: id, source_kind, drop_reason, channels }) =>
        createElement(
          "li",
          thumbnails.createFrame({ id, source_kind }),
          createElement("span", texts.dropReasons[drop_reason] ?? drop_reason),
          createElement("span.muted", describeChannels(channels)),
        ),
      ),
    );
  return makeDetails("details", texts.dropped(num_dropped, dropped.length), makeList);
}

function showTimings(timings_ms: Readonly<Record<string, number>>, { stageNames }: CardOptions): HTMLElement {
  const longest = Math.max(1, ...Object.values(timings_ms));
  return createElement(
    "ul.bars",
    Object.entries(timings_ms).map(([stage, time]) =>
      makeBar(stageNames[stage] ?? stage, time / longest, texts.milliseconds(time)),
    ),
  );
}
