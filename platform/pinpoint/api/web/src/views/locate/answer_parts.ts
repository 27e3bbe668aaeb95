/** Small parts of an answer: badges, bars, lists of facts, names of places. */

import { type Child, createElement } from "../../dom";
import { formatProbability } from "../../format";
import * as texts from "../../strings/locate_answer";
import type { Answer, CitedImage } from "./answer_types";

export function makeBadge(kind: string, text: string): HTMLElement {
  return createElement("span", { class: `badge ${kind}` }, text);
}

/** A row with a bar of the length `share`, from 0 to 1; the number is part of the text. */
export function makeBar(label: string, share: number, value = formatProbability(share)): HTMLElement {
  return createElement(
    "li.bar",
    { style: { "--share": String(Math.min(1, share)) } },
    createElement("span", label),
    createElement("span.value", value),
  );
}

/** A list of the facts that are known. */
export function makeFacts(facts: readonly Child[]): HTMLElement {
  return createElement(
    "ul.facts",
    facts.filter(Boolean).map((fact) => createElement("li", fact)),
  );
}

/** A `details` element that is filled when it is opened for the first time. */
export function makeDetails(
  selector: "details" | `details.${string}`,
  summary: string,
  makeContent: () => HTMLElement,
): HTMLDetailsElement {
  const details = createElement(
    selector,
    { ontoggle: () => details.childElementCount < 2 && details.append(makeContent()) },
    createElement("summary", summary),
  ) as HTMLDetailsElement;
  return details;
}

/** City and country near an image; null if unknown. */
export function describePlace(image: CitedImage | undefined): string | null {
  const place = image?.nearest_place;
  return place ? `${place.name}, ${place.country}` : null;
}

/** Name of the place of a finding: a coarse one, the most probable one, or the nearest city. */
export function namePlace({ place, posterior, candidates }: Answer): string | null {
  const named = place ?? posterior?.names.filter(({ probability }) => probability >= 0.5).at(-1)?.name;
  const nearest = describePlace(candidates[0]);
  return named ?? (nearest && texts.near(nearest));
}
