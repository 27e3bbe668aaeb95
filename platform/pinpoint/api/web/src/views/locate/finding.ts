/** An answer in words: the finding or the abstention, and apart from it what the photo claims. */

import { type Child, createElement } from "../../dom";
import { formatArea, formatDistance, formatPoint, formatProbability, formatTime } from "../../format";
import { strings } from "../../strings";
import type { Answer, C2paClaim, Claim, LatLon } from "./answer_types";

const texts = strings.locate;

/** Name of the place of a finding: a coarse one, the most probable one, or the nearest city. */
export function namePlace(answer: Answer): string | null {
  const { place, posterior, candidates } = answer;
  const named = posterior?.names.filter(({ probability }) => probability >= 0.5).at(-1)?.name;
  if (place !== null || named !== undefined) {
    return place ?? named ?? null;
  }
  const nearest = candidates[0]?.nearest_place ?? null;
  return nearest === null ? null : texts.place(`${nearest.name}, ${nearest.country}`);
}

export function showFinding(answer: Answer): HTMLElement {
  const { point, posterior, credible_discs, granularity, verified } = answer;
  const regions = posterior?.credible_regions ?? [];
  const areaOf = (probability: number) =>
    regions.find((region) => region.probability === probability)?.area_km2 ?? null;
  return createElement(
    "section",
    { class: "finding", "aria-label": texts.finding },
    createElement(
      "div",
      { class: "badges" },
      verified && makeBadge("verified", texts.verified),
      !answer.calibrated && makeBadge("caution", texts.uncalibrated),
      answer.candidates.some(({ near_duplicate }) => near_duplicate) && makeBadge("", texts.nearDuplicate),
    ),
    createElement("h2", {}, namePlace(answer) ?? texts.finding),
    point !== null && showPoint(point),
    granularity !== "exact" && createElement("p", {}, texts.coarse[granularity]),
    createElement(
      "dl",
      { class: "measures" },
      ...credible_discs.flatMap(({ radius_m, probability }): Child[] => {
        const area = areaOf(probability);
        const region = area === null ? "" : ` · ${texts.region90(formatArea(area))}`;
        return makeMeasure(formatProbability(probability), texts.within(formatDistance(radius_m)) + region);
      }),
    ),
    posterior !== null && showProbabilities(answer),
    createElement("p", { class: "muted" }, verified ? texts.verifiedAnswer : texts.notVerified),
    !answer.calibrated && createElement("p", { class: "muted" }, texts.notCalibrated),
  );
}

/** A state of its own: no place is shown as if it were a finding. */
export function showAbstention(answer: Answer): HTMLElement {
  const { abstention_reason, posterior, candidates, citations } = answer;
  const reason = abstention_reason ?? "";
  const missing = (["photo", "street"] as const).filter((kind) => !citations[kind]?.length);
  return createElement(
    "section",
    { class: "abstention", "aria-label": texts.abstained },
    createElement("h2", {}, texts.abstained),
    createElement("p", {}, texts.abstentionReasons[reason] ?? texts.abstentionOther(reason)),
    createElement(
      "dl",
      { class: "measures" },
      ...(posterior === null
        ? []
        : [
            ...(posterior.p_not_in_gallery === null
              ? []
              : makeMeasure(formatProbability(posterior.p_not_in_gallery), texts.notInGallery)),
            ...makeMeasure(formatProbability(posterior.p_outside_candidates), texts.outsideCandidates),
          ]),
    ),
    createElement("h3", {}, texts.whatHelps),
    createElement(
      "ul",
      {},
      ...missing.map((kind) => createElement("li", {}, texts.missingKind[kind])),
      ...texts.abstentionAdvice.map((text) => createElement("li", {}, text)),
    ),
    createElement("p", {}, createElement("a", { href: "#view=gallery&show=gaps" }, texts.showGaps)),
    candidates.length > 0 && createElement("p", { class: "muted" }, texts.showAnyway),
  );
}

function showPoint(point: LatLon): HTMLElement {
  const text = formatPoint(point);
  const note = createElement("span", { class: "muted", role: "status" });
  const copy = () =>
    navigator.clipboard?.writeText(text).then(
      () => note.replaceChildren(texts.copied),
      () => note.replaceChildren(texts.notCopied),
    );
  return createElement(
    "p",
    { class: "point" },
    createElement("span", { class: "coordinates" }, text),
    // The clipboard exists in secure contexts only.
    window.isSecureContext &&
      createElement("button", { type: "button", class: "quiet small", onclick: () => void copy() }, texts.copy),
    note,
  );
}

function showProbabilities({ posterior }: Answer): HTMLElement {
  const rows = [...(posterior?.names ?? [])].map(({ name, probability }) => makeBar(name, probability));
  const radii = (posterior?.probability_within_km ?? []).map(({ radius_km, probability }) =>
    makeBar(texts.withinKm(radius_km.toLocaleString("en")), probability),
  );
  return createElement(
    "details",
    { class: "probabilities" },
    createElement("summary", {}, texts.probabilities),
    createElement("ul", { class: "bars" }, ...rows, ...radii),
  );
}

/** A row with a bar of the length `share`, from 0 to 1; the number is part of the text. */
export function makeBar(label: string, share: number, value: string = formatProbability(share)): HTMLElement {
  return createElement(
    "li",
    { class: "bar", style: { "--share": String(Math.min(1, Math.max(0, share))) } },
    createElement("span", {}, label),
    createElement("span", { class: "value" }, value),
  );
}

export function makeBadge(kind: string, text: string): HTMLElement {
  return createElement("span", { class: `badge ${kind}` }, text);
}

function makeMeasure(value: string, meaning: string): HTMLElement[] {
  return [createElement("dt", {}, value), createElement("dd", {}, meaning)];
}

export function showClaims(claims: readonly Claim[]): HTMLElement {
  return createElement(
    "section",
    { class: "claims", "aria-label": texts.claims },
    createElement("h2", {}, texts.claims),
    createElement("p", { class: "muted" }, texts.claimsNote),
    ...claims.flatMap((claim) => [
      claims.length > 1 && createElement("h3", {}, texts.yourPhoto(claim.photo + 1)),
      describeClaim(claim),
      claim.c2pa === undefined ? null : describeC2pa(claim.c2pa),
    ]),
  );
}

function describeClaim(claim: Claim): HTMLElement {
  const area = [...claim.inside_regions, ...claim.inside_discs].find(({ probability }) => probability === 0.9);
  return makeFacts([
    ...describePosition(claim),
    area === undefined ? null : area.inside ? texts.claimInside : texts.claimOutside,
    claim.heading_deg === null ? null : texts.claimHeading(Math.round(claim.heading_deg)),
  ]);
}

function describeC2pa(c2pa: C2paClaim): HTMLElement {
  const signer = [c2pa.signer, c2pa.signer_organization].filter(Boolean).join(", ");
  return createElement(
    "div",
    {},
    createElement("h3", {}, texts.c2pa.title),
    makeFacts([
      texts.c2pa.states[c2pa.state] ?? c2pa.state,
      c2pa.state_reason,
      signer === "" ? null : texts.c2pa.signer(signer),
      c2pa.signed_at === null ? null : texts.c2pa.signedAt(formatTime(c2pa.signed_at)),
      c2pa.generator === null ? null : texts.c2pa.generator(c2pa.generator),
      c2pa.data_hash_matches === false ? texts.c2pa.changed : null,
      c2pa.declares_generative_ai ? texts.c2pa.generativeAi : null,
      ...(c2pa.state === "absent" ? [] : describePosition(c2pa)),
    ]),
  );
}

function describePosition(claim: Claim | C2paClaim): (string | HTMLElement | null)[] {
  const { point, agrees, distance_m } = claim;
  const agreement = agrees === null ? null : agrees ? texts.claimAgrees : texts.claimDisagrees;
  return [
    point === null ? texts.claimNone : texts.claimPoint(formatPoint(point), claim.position_source ?? "?"),
    claim.position_note,
    distance_m === null ? null : texts.claimDistance(formatDistance(distance_m)),
    agreement === null ? null : makeBadge(agrees === true ? "verified" : "caution", agreement),
    claim.captured_at === null
      ? null
      : texts.claimTime(formatTime(claim.captured_at), claim.time_source ?? "?") +
        (claim.time_assumed_utc ? ` ${texts.claimTimeUncertain}` : ""),
  ];
}

function makeFacts(facts: (string | HTMLElement | null)[]): HTMLElement {
  const items = facts.filter((fact) => fact !== null && fact !== "");
  return createElement("ul", { class: "facts" }, ...items.map((fact) => createElement("li", {}, fact)));
}
