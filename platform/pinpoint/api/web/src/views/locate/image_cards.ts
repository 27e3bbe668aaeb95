/** Cards of gallery images: citations, candidates, and the evidence of a candidate. */

import { type Child, createElement } from "../../dom";
import { formatDistance, formatProbability } from "../../format";
import * as texts from "../../strings/locate_answer";
import { deleted } from "../../strings/locate_credit";
import type { Thumbnails } from "../gallery/thumbnails";
import { describePlace, makeBadge, makeDetails } from "./answer_parts";
import type { Candidate, Citation, CitedImage, Verification } from "./answer_types";
import { describeCredit } from "./credit";

export interface CardOptions {
  readonly thumbnails: Thumbnails;
  /** Names of the stages of a query. */
  readonly stageNames: Readonly<Record<string, string>>;
  onCompare(imageId: string): void;
}

export function makeCitation(image: Citation, options: CardOptions): HTMLElement {
  return makeCard(
    image,
    texts.toFinding(formatDistance(image.distance_m)),
    [describePlace(image), texts.similarity(image.similarity.toFixed(2))],
    options,
    makeVerificationBadge(image.verification),
    image.copies.map((copy) => texts.copyOf(describeCredit(copy))),
  );
}

/** A candidate; 48 candidates have hundreds of evidence images, which are shown on demand. */
export function makeCandidate(candidate: Candidate, index: number, options: CardOptions): HTMLElement {
  const { evidence, score, weight, verification } = candidate;
  const card = makeCard(
    candidate,
    `${index + 1}. ${describePlace(candidate) ?? candidate.file_name ?? ""}`,
    [texts.similarity(score.toFixed(2)), texts.weight(formatProbability(weight))],
    options,
    makeVerificationBadge(verification),
  );
  if (evidence.length > 0) {
    const makeEvidence = () =>
      createElement(
        "ul.cards",
        evidence.map((image) => {
          const { attention, distance_m, similarity } = image;
          const facts = [
            texts.similarity(similarity.toFixed(2)),
            attention === null ? null : texts.attention(formatProbability(attention)),
          ];
          return makeCard(image, texts.toCandidate(formatDistance(distance_m)), facts, options);
        }),
      );
    card.append(makeDetails("details.evidence", texts.supporting(evidence.length), makeEvidence));
  }
  return card;
}

function makeCard(
  image: CitedImage,
  title: string,
  facts: readonly (string | null)[],
  { thumbnails, onCompare }: CardOptions,
  badge: Child = null,
  credits: readonly string[] = [],
): HTMLElement {
  const { image_id: id, source_kind } = image;
  const label = texts.compare(`${title}, ${image.file_name ?? deleted}`);
  return createElement(
    "li",
    { class: `card ${source_kind}`, dataset: { image: id } },
    createElement(
      "button.picture",
      { "aria-label": label, title: label, onclick: () => onCompare(id) },
      thumbnails.createFrame({ id, source_kind }),
    ),
    createElement(
      "div.card-text",
      createElement("span.card-title", title, badge),
      createElement("span", facts.filter(Boolean).join(" · ")),
      [describeCredit(image), ...credits].map((credit) => createElement("span.credit", credit)),
    ),
  );
}

/** Result of the comparison by local features; null if the image was not compared. */
function makeVerificationBadge(verification: Verification | null): HTMLElement | null {
  if (verification === null) {
    return null;
  }
  const { inliers, verified, status, false_match_rate: rate } = verification;
  const points = inliers > 0 ? texts.inliers(inliers) : (texts.verificationStatus[status] ?? status);
  return verified
    ? makeBadge(
        "verified",
        [texts.verified, points, rate !== null && texts.falseMatches(formatProbability(rate))]
          .filter(Boolean)
          .join(" · "),
      )
    : makeBadge("", points);
}
