/** An answer as a panel: finding or abstention, claims, and tabs with evidence, candidates and reasons. */

import { createElement } from "../../dom";
import * as texts from "../../strings/locate_answer";
import { namePlace } from "./answer_parts";
import type { Answer } from "./answer_types";
import { type Dossier, createDossier } from "./dossier";
import { showExplanation } from "./explanation";
import { showAbstention, showClaims, showFinding } from "./finding";
import { type CardOptions, makeCandidate, makeCitation } from "./image_cards";
import { createTabs } from "./tabs";

const kinds = ["photo", "street"] as const;

export interface AnswerPanelOptions extends CardOptions, Dossier {
  /** The pointer or the focus is on the card of an image; null when it leaves. */
  onHover(imageId: string | null): void;
}

export interface AnswerPanel {
  readonly element: HTMLElement;
  /** The answer in a few words. */
  readonly title: string;
  /** Emphasize the cards of an image. */
  emphasize(imageId: string | null): void;
  /** Move the focus to the card of an image, also if it is only evidence of a candidate. */
  focusImage(imageId: string): void;
}

export function createAnswerPanel(answer: Answer, options: AnswerPanelOptions): AnswerPanel {
  const { candidates, citations, num_candidates } = answer;
  const isFinding = answer.abstention_reason === null;
  const showEvidence = () =>
    createElement(
      "section",
      kinds.flatMap((kind) => {
        const cited = citations[kind] ?? [];
        return [
          createElement("h3", { class: `kind ${kind}` }, `${texts.kinds[kind]} (${cited.length})`),
          cited.length > 0
            ? createElement(
                "ul.cards",
                cited.map((image) => makeCitation(image, options)),
              )
            : createElement("p.muted", texts.noEvidence[kind]),
        ];
      }),
    );
  const showCandidates = () =>
    createElement(
      "section",
      candidates.length === 0 && createElement("p.muted", texts.noCandidates),
      createElement(
        "ol.cards",
        candidates.map((row, index) => makeCandidate(row, index, options)),
      ),
    );
  const tabs = createTabs([
    [texts.evidence, showEvidence],
    [texts.candidates(candidates.length, num_candidates), showCandidates],
    [texts.why, () => showExplanation(answer, options)],
  ]);
  const hover = ({ target }: Event) =>
    options.onHover((target as Element).closest<HTMLElement>("[data-image]")?.dataset["image"] ?? null);
  const element = createElement(
    "div.answer-panel",
    {
      onmouseover: hover,
      onfocusin: hover,
      onmouseleave: () => options.onHover(null),
      onfocusout: () => options.onHover(null),
    },
    isFinding ? showFinding(answer) : showAbstention(answer),
    answer.warnings.map((text) => createElement("p.warning", text)),
    createDossier(options),
    showLegend(answer),
    showClaims(answer.claims),
    tabs.element,
  );
  const listCards = (imageId: string) => [...element.querySelectorAll<HTMLElement>(`[data-image="${imageId}"]`)];
  const focusCard = (imageId: string) => {
    const card = listCards(imageId).find((row) => row.checkVisibility());
    card?.scrollIntoView({ block: "nearest" });
    card?.querySelector("button")?.focus({ preventScroll: true });
    return card !== undefined;
  };
  return {
    element,
    title: isFinding ? (namePlace(answer) ?? texts.finding) : texts.abstainedShort,
    emphasize: (imageId) => {
      element.querySelectorAll(".emphasized").forEach((card) => card.classList.remove("emphasized"));
      if (imageId !== null) {
        listCards(imageId).forEach((card) => card.classList.add("emphasized"));
      }
    },
    focusImage: (imageId) => {
      if (focusCard(imageId)) {
        return;
      }
      tabs.show(1);
      const parent = candidates.find(({ evidence }) => evidence.some(({ image_id }) => image_id === imageId));
      if (!focusCard(imageId) && parent !== undefined) {
        const details = listCards(parent.image_id).at(-1)?.querySelector("details");
        details?.addEventListener("toggle", () => focusCard(imageId), { once: true });
        details?.setAttribute("open", "");
      }
    },
  };
}

function showLegend({ point, abstention_reason, claims }: Answer): HTMLElement {
  const isFinding = abstention_reason === null;
  const hasClaim = claims.some((claim) => claim.point ?? claim.c2pa.point);
  const isShown: Record<string, boolean> = {
    finding: point !== null && isFinding,
    guess: point !== null && !isFinding,
    regions: point !== null && isFinding,
    claim: hasClaim,
  };
  return createElement(
    "ul.map-legend",
    { "aria-label": texts.legend },
    Object.entries(texts.legendTexts)
      .filter(([name]) => isShown[name] ?? true)
      .map(([name, text]) => createElement("li", createElement("span", { class: `swatch ${name}` }), text)),
  );
}
