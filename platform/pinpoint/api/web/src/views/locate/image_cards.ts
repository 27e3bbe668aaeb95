/** Cards of gallery images: citations, candidates, and the evidence of a candidate. */

import { createElement, replaceChildren } from "../../dom";
import { formatDistance, formatProbability } from "../../format";
import { strings } from "../../strings";
import type { Thumbnails } from "../gallery/thumbnails";
import type { Candidate, Citation, CitedImage, Evidence, ImageCredit, Verification } from "./answer_types";
import { makeBadge, makeBar } from "./finding";

const texts = strings.locate;

export interface ImageCardsOptions {
  readonly thumbnails: Thumbnails;
  /** The pointer or the focus is on the card of an image; null when it leaves. */
  onHover(imageId: string | null): void;
  onCompare(imageId: string): void;
}

/** Makes cards and remembers them by image. */
export class ImageCards {
  readonly #options: ImageCardsOptions;
  readonly #cards = new Map<string, HTMLElement[]>();
  readonly #toggles = new Map<string, (isOpen: boolean) => void>();
  #emphasized: string | null = null;

  constructor(options: ImageCardsOptions) {
    this.#options = options;
  }

  emphasize(imageId: string | null): void {
    this.#mark(this.#emphasized, false);
    this.#emphasized = imageId;
    this.#mark(imageId, true);
  }

  /** Bring the visible card of an image into view and move the focus to it; false if it has none. */
  focusCard(imageId: string): boolean {
    const card = this.#cards.get(imageId)?.find((row) => row.offsetParent !== null);
    card?.scrollIntoView({ block: "nearest" });
    card?.querySelector<HTMLElement>("button")?.focus({ preventScroll: true });
    return card !== undefined;
  }

  /** Show the evidence of a candidate. */
  openCandidate(imageId: string): void {
    this.#toggles.get(imageId)?.(true);
  }

  makeCitation(image: Citation): HTMLElement {
    const copies = image.copies.map((copy) => texts.copyOf(describeCredit(copy)));
    return this.#makeCard(image, {
      title: texts.distanceToFinding(formatDistance(image.distance_m)),
      facts: [namePlace(image), texts.similarity(image.similarity.toFixed(2))],
      badges: [makeVerificationBadge(image.verification)],
      credits: copies,
    });
  }

  makeCandidate(candidate: Candidate, rank: number): HTMLElement {
    const { image_id, evidence } = candidate;
    const card = this.#makeCard(candidate, {
      title: `${rank}. ${namePlace(candidate) ?? candidate.file_name ?? ""}`,
      facts: [texts.similarity(candidate.score.toFixed(2)), texts.weight(formatProbability(candidate.weight))],
      badges: [
        makeVerificationBadge(candidate.verification),
        candidate.near_duplicate ? makeBadge("", texts.nearDuplicate) : null,
      ],
      credits: [],
    });
    if (evidence.length > 0) {
      card.append(...this.#makeEvidenceToggle(image_id, evidence));
    }
    return card;
  }

  /** A button and the list that it opens; 48 candidates have hundreds of evidence images. */
  #makeEvidenceToggle(candidateId: string, evidence: readonly Evidence[]): HTMLElement[] {
    const list = createElement("ul", { class: "evidence-list", hidden: true });
    const set = (isOpen: boolean) => {
      button.setAttribute("aria-expanded", String(isOpen));
      list.hidden = !isOpen;
      if (isOpen && list.childElementCount === 0) {
        replaceChildren(list, ...evidence.map((image) => this.#makeEvidence(image)));
      }
    };
    const button = createElement(
      "button",
      { type: "button", class: "quiet small evidence-toggle", onclick: () => set(list.hidden === true) },
      texts.supporting(evidence.length),
    );
    button.setAttribute("aria-expanded", "false");
    this.#toggles.set(candidateId, set);
    return [button, list];
  }

  #makeEvidence(image: Evidence): HTMLElement {
    const { attention } = image;
    const card = this.#makeCard(image, {
      title: texts.distanceToCandidate(formatDistance(image.distance_m)),
      facts: [texts.similarity(image.similarity.toFixed(2))],
      badges: [],
      credits: [],
    });
    if (attention !== null) {
      const text = formatProbability(attention);
      card.append(createElement("ul", { class: "bars attention" }, makeBar(texts.attention, attention, text)));
    }
    return card;
  }

  #makeCard(
    image: CitedImage,
    { title, facts, badges, credits }: {
      title: string;
      facts: (string | null)[];
      badges: (HTMLElement | null)[];
      credits: string[];
    },
  ): HTMLElement {
    const { thumbnails, onHover, onCompare } = this.#options;
    const { image_id: id, source_kind } = image;
    const compare = createElement(
      "button",
      {
        type: "button",
        class: "picture",
        "aria-label": texts.compareWith(`${title}, ${image.file_name ?? texts.deleted}`),
        title: texts.compare,
        onclick: () => onCompare(id),
      },
      thumbnails.createFrame({ id, source_kind }),
    );
    const card = createElement(
      "li",
      {
        class: `card ${source_kind}`,
        dataset: { image: id },
        onmouseover: (event: Event) => {
          event.stopPropagation();
          onHover(id);
        },
        onmouseleave: () => onHover(null),
        onfocusin: (event: Event) => {
          event.stopPropagation();
          onHover(id);
        },
        onfocusout: () => onHover(null),
      },
      compare,
      createElement(
        "div",
        { class: "card-text" },
        createElement("span", { class: "card-title" }, title, ...badges),
        createElement("span", {}, facts.filter((fact) => fact !== null).join(" · ")),
        ...[describeCredit(image), ...credits].map((credit) => createElement("span", { class: "credit" }, credit)),
      ),
    );
    const cards = this.#cards.get(id);
    if (cards === undefined) {
      this.#cards.set(id, [card]);
    } else {
      cards.push(card);
    }
    return card;
  }

  #mark(imageId: string | null, isEmphasized: boolean): void {
    for (const card of imageId === null ? [] : (this.#cards.get(imageId) ?? [])) {
      card.classList.toggle("emphasized", isEmphasized);
    }
  }
}

/** File, source, attribution and license: whom the license wants named. */
export function describeCredit({ file_name, source, license, attribution }: ImageCredit): string {
  if (file_name === null) {
    return texts.deleted;
  }
  const parts = [file_name, source, attribution, texts.license(license ?? texts.unknownLicense)];
  return parts.filter((part) => part !== null && part !== "").join(" · ");
}

function namePlace({ nearest_place }: CitedImage): string | null {
  return nearest_place === null ? null : `${nearest_place.name}, ${nearest_place.country}`;
}

/** Result of the comparison by local features; null if the image was not compared. */
function makeVerificationBadge(verification: Verification | null): HTMLElement | null {
  if (verification === null) {
    return null;
  }
  const { inliers, verified, status, false_match_rate } = verification;
  if (verified) {
    const rate = false_match_rate === null ? "" : ` · ${texts.falseMatches(formatProbability(false_match_rate))}`;
    return makeBadge("verified", `${texts.verified} · ${texts.inliers(inliers)}${rate}`);
  }
  const reason = texts.verificationStatus[status];
  return makeBadge("", inliers > 0 ? texts.inliers(inliers) : (reason ?? status));
}
