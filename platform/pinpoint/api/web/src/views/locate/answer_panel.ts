/** An answer as a panel: finding or abstention, claims, and tabs with evidence, candidates and reasons. */

import { createElement } from "../../dom";
import { strings } from "../../strings";
import type { Answer, Candidate, SourceKind } from "./answer_types";
import { showExplanation } from "./explanation";
import { showAbstention, showClaims, showFinding } from "./finding";
import { ImageCards, type ImageCardsOptions } from "./image_cards";
import { Tabs } from "./tabs";

const texts = strings.locate;
const kinds: readonly SourceKind[] = ["photo", "street"];

export class AnswerPanel {
  readonly element: HTMLElement;
  readonly #answer: Answer;
  readonly #cards: ImageCards;
  readonly #tabs: Tabs;

  constructor(answer: Answer, options: ImageCardsOptions) {
    this.#answer = answer;
    this.#cards = new ImageCards(options);
    const { candidates, num_candidates } = answer;
    this.#tabs = new Tabs(texts.answerParts, [
      { id: "evidence", title: texts.evidence, make: () => this.#showEvidence() },
      {
        id: "candidates",
        title: texts.candidates(candidates.length, num_candidates),
        make: () => this.#showCandidates(),
      },
      { id: "why", title: texts.why, make: () => showExplanation(answer, options) },
    ]);
    this.element = createElement(
      "div",
      { class: "answer-panel" },
      answer.abstention_reason === null ? showFinding(answer) : showAbstention(answer),
      ...answer.warnings.map((text) => createElement("p", { class: "warning" }, text)),
      showLegend(answer),
      showClaims(answer.claims),
      this.#tabs.element,
    );
  }

  /** Emphasize the cards of an image. */
  emphasize(imageId: string | null): void {
    this.#cards.emphasize(imageId);
  }

  /** Move the focus to the card of an image; in the tab shown, or as a candidate or its evidence. */
  focusImage(imageId: string): void {
    if (this.#cards.focusCard(imageId)) {
      return;
    }
    this.#tabs.show("candidates");
    const supported = this.#answer.candidates.find(({ evidence }) =>
      evidence.some(({ image_id }) => image_id === imageId),
    );
    if (!this.#cards.focusCard(imageId) && supported !== undefined) {
      this.#cards.openCandidate(supported.image_id);
      this.#cards.focusCard(imageId);
    }
  }

  #showEvidence(): HTMLElement {
    const section = createElement("section", { "aria-label": texts.evidence });
    if (this.#answer.abstention_reason === null) {
      section.append(createElement("p", { class: "muted" }, texts.evidenceNote));
    }
    for (const kind of kinds) {
      const cited = this.#answer.citations[kind] ?? [];
      section.append(
        createElement("h3", { class: `kind ${kind}` }, `${texts.evidenceOf[kind]} (${cited.length})`),
        cited.length === 0
          ? createElement("p", { class: "muted" }, texts.noEvidence[kind])
          : createElement("ul", { class: "cards" }, ...cited.map((image) => this.#cards.makeCitation(image))),
      );
    }
    return section;
  }

  #showCandidates(): HTMLElement {
    const make = (candidate: Candidate, index: number) => this.#cards.makeCandidate(candidate, index + 1);
    const { candidates } = this.#answer;
    return createElement(
      "section",
      { "aria-label": texts.candidates(candidates.length, this.#answer.num_candidates) },
      createElement("p", { class: "muted" }, candidates.length === 0 ? texts.noCandidates : texts.candidatesNote),
      createElement("ol", { class: "cards" }, ...candidates.map(make)),
    );
  }
}

function showLegend(answer: Answer): HTMLElement {
  const isFinding = answer.abstention_reason === null;
  const { finding, guess, regions, photo, street, claim } = texts.legend;
  const entries: [string, string | false][] = [
    ["finding", answer.point !== null && isFinding && finding],
    ["guess", answer.point !== null && !isFinding && guess],
    ["regions", answer.point !== null && isFinding && regions],
    ["photo", photo],
    ["street", street],
    ["claim", answer.claims.some(({ point }) => point !== null) && claim],
  ];
  return createElement(
    "ul",
    { class: "map-legend", "aria-label": texts.legend.title },
    ...entries.map(
      ([name, text]) =>
        text !== false &&
        createElement("li", {}, createElement("span", { class: `swatch ${name}`, "aria-hidden": "true" }), text),
    ),
  );
}
