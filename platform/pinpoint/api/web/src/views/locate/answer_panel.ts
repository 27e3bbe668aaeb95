/** An answer in words and cards: finding or abstention, claims, evidence, candidates. */

import { createElement } from "../../dom";
import { formatArea, formatDistance, formatPoint, formatProbability } from "../../format";
import { strings } from "../../strings";
import type { Thumbnails } from "../gallery/thumbnails";
import type { Answer, Candidate, Citation, CitedImage, Claim, SourceKind, Verification } from "./answer_types";
import { showExplanation } from "./explanation";

const texts = strings.locate;
const kinds: readonly SourceKind[] = ["photo", "street"];

export interface AnswerPanelOptions {
  thumbnails: Thumbnails;
  onHover(imageId: string | null): void;
  onCompare(imageId: string): void;
}

export class AnswerPanel {
  readonly element = createElement("div", { class: "answer-panel" });
  readonly #options: AnswerPanelOptions;
  readonly #cards = new Map<string, HTMLElement[]>();

  constructor(answer: Answer, options: AnswerPanelOptions) {
    this.#options = options;
    this.element.append(
      answer.abstention_reason === null ? showFinding(answer) : showAbstention(answer),
      showLegend(),
      ...answer.warnings.map((text) => createElement("p", { class: "warning" }, text)),
      showClaims(answer.claims),
      this.#showEvidence(answer),
      this.#showCandidates(answer),
      showExplanation(answer),
    );
  }

  /** Emphasize the cards of an image; `scroll` brings the first into view. */
  emphasize(imageId: string | null, { scroll = false } = {}): void {
    for (const [id, cards] of this.#cards) {
      for (const card of cards) {
        card.classList.toggle("emphasized", id === imageId);
      }
    }
    if (scroll && imageId !== null) {
      this.#cards.get(imageId)?.[0]?.scrollIntoView({ block: "nearest" });
    }
  }

  #showEvidence(answer: Answer): HTMLElement {
    const section = createElement("section", {}, createElement("h2", {}, texts.evidence));
    for (const kind of kinds) {
      const cited = answer.citations[kind] ?? [];
      section.append(
        createElement("h3", { class: `kind ${kind}` }, texts.evidenceOf[kind]),
        cited.length === 0
          ? createElement("p", { class: "muted" }, texts.noEvidence)
          : createElement("ul", { class: "cards" }, ...cited.map((image) => this.#makeCitation(image))),
      );
    }
    return section;
  }

  #showCandidates(answer: Answer): HTMLElement {
    const { candidates, num_candidates } = answer;
    return createElement(
      "section",
      {},
      createElement("h2", {}, texts.candidates(candidates.length, num_candidates)),
      createElement("ol", { class: "cards" }, ...candidates.map((row, index) => this.#makeCandidate(row, index))),
    );
  }

  #makeCitation(image: Citation): HTMLElement {
    const distance = image.distance_m;
    return this.#makeCard(image, image.file_name, [
      distance === null ? null : texts.distanceToFinding(formatDistance(distance)),
      image.similarity === null ? null : texts.similarity(image.similarity.toFixed(2)),
      describeVerification(image.verification),
    ]);
  }

  #makeCandidate(candidate: Candidate, index: number): HTMLElement {
    const place = candidate.nearest_place;
    const name = place === null ? candidate.file_name : `${place.name}, ${place.country}`;
    return this.#makeCard(candidate, `${texts.rank(index + 1)} ${name}`, [
      texts.weight(formatProbability(candidate.weight)),
      candidate.score === null ? null : texts.similarity(candidate.score.toFixed(2)),
      texts.supporting(candidate.evidence.length),
      describeVerification(candidate.verification),
    ]);
  }

  #makeCard(image: CitedImage, title: string, facts: (string | null)[]): HTMLElement {
    const { thumbnails, onHover, onCompare } = this.#options;
    const id = image.image_id;
    const credit = [image.attribution, texts.license(image.license ?? texts.unknownLicense)];
    const card = createElement(
      "li",
      {
        class: `card ${image.source_kind}`,
        dataset: { image: id },
        onmouseenter: () => onHover(id),
        onmouseleave: () => onHover(null),
        onfocusin: () => onHover(id),
        onfocusout: () => onHover(null),
      },
      thumbnails.createFrame({ id, source_kind: image.source_kind }),
      createElement(
        "div",
        { class: "card-text" },
        createElement("span", { class: "card-title" }, title),
        createElement("span", {}, facts.filter((fact) => fact !== null).join(" · ")),
        createElement("span", { class: "muted" }, credit.filter(Boolean).join(" · ")),
      ),
      createElement(
        "button",
        {
          type: "button",
          class: "quiet",
          "aria-label": texts.compareWith(title),
          onclick: () => onCompare(id),
        },
        texts.compare,
      ),
    );
    this.#cards.set(id, [...(this.#cards.get(id) ?? []), card]);
    return card;
  }
}

function describeVerification(verification: Verification | null): string | null {
  if (verification === null || verification.inliers === 0) {
    return null;
  }
  const points = texts.inliers(verification.inliers);
  return verification.verified ? `${points}, ${texts.verified}` : points;
}

function showFinding(answer: Answer): HTMLElement {
  const { point, posterior, credible_discs } = answer;
  const regions = posterior?.credible_regions ?? [];
  const area = (probability: number) =>
    regions.find((region) => region.probability === probability)?.area_km2 ?? null;
  const [half, ninety] = [area(0.5), area(0.9)];
  return createElement(
    "section",
    { class: "finding", "aria-label": texts.finding },
    createElement("h2", {}, answer.place ?? texts.foundAt(point === null ? "–" : formatPoint(point))),
    point !== null && answer.place !== null && createElement("p", {}, formatPoint(point)),
    createElement(
      "ul",
      { class: "radii" },
      ...credible_discs.map(({ radius_m, probability }) =>
        createElement("li", {}, texts.within(formatDistance(radius_m), formatProbability(probability))),
      ),
      ...(posterior?.names ?? []).map(({ name, probability }) =>
        createElement("li", {}, `${name}: ${formatProbability(probability)}`),
      ),
    ),
    half !== null && ninety !== null &&
      createElement("p", { class: "muted" }, texts.regionsNote(formatArea(half), formatArea(ninety))),
    createElement(
      "p",
      { class: answer.verified ? "verified" : "muted" },
      answer.verified ? texts.verifiedAnswer : texts.notVerified,
    ),
    !answer.calibrated && createElement("p", { class: "warning" }, texts.notCalibrated),
  );
}

/** A state of its own: no place is shown as if it were found. */
function showAbstention(answer: Answer): HTMLElement {
  const reason = answer.abstention_reason ?? "";
  return createElement(
    "section",
    { class: "abstention", "aria-label": texts.abstained },
    createElement("h2", {}, texts.abstained),
    createElement("p", {}, texts.abstentionReasons[reason] ?? texts.abstentionOther(reason)),
    answer.candidates.length > 0 && createElement("p", { class: "muted" }, texts.showAnyway),
  );
}

function showClaims(claims: readonly Claim[]): HTMLElement {
  const items = claims.flatMap((claim) => {
    const lines = [
      claim.point === null
        ? texts.claimNone
        : texts.claimPoint(formatPoint(claim.point), claim.position_source ?? "?"),
      claim.position_note,
      claim.captured_at === null ? null : texts.claimTime(claim.captured_at, claim.time_source ?? "?"),
      claim.distance_m === null
        ? null
        : (claim.agrees === false ? texts.claimDisagrees : texts.claimAgrees)(formatDistance(claim.distance_m)),
    ];
    return lines.filter((line) => line !== null && line !== "");
  });
  return createElement(
    "section",
    { class: "claims", "aria-label": texts.claims },
    createElement("h2", {}, texts.claims),
    createElement("ul", {}, ...items.map((line) => createElement("li", {}, line))),
    createElement("p", { class: "muted" }, texts.claimsNote),
  );
}

function showLegend(): HTMLElement {
  const { title, ...entries } = texts.legend;
  return createElement(
    "ul",
    { class: "map-legend", "aria-label": title },
    ...Object.entries(entries).map(([name, text]) =>
      createElement("li", {}, createElement("span", { class: `swatch ${name}`, "aria-hidden": "true" }), text),
    ),
  );
}
