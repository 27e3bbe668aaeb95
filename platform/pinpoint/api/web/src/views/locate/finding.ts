/** An answer in words: the finding or the abstention, and apart from it what the photo claims. */

import { createElement } from "../../dom";
import { formatArea, formatDistance, formatPoint, formatProbability, formatTime } from "../../format";
import * as texts from "../../strings/locate_answer";
import { photoNumber } from "../../strings/locate_credit";
import { makeBadge, makeBar, makeDetails, makeFacts, namePlace } from "./answer_parts";
import type { Answer, Claim, ClaimPosition } from "./answer_types";

export function showFinding(answer: Answer): HTMLElement {
  const { point, posterior, granularity, verified, calibrated, candidates } = answer;
  const measures = answer.credible_discs.map(({ radius_m, probability }) => {
    const region = posterior?.credible_regions.find((row) => row.probability === probability);
    const radius = texts.within(formatDistance(radius_m));
    return [probability, region ? `${radius} · ${texts.regionOf(formatArea(region.area_km2))}` : radius] as const;
  });
  return createElement(
    "section.finding",
    { "aria-label": texts.finding },
    createElement(
      "div.badges",
      verified && makeBadge("verified", texts.verified),
      !calibrated && makeBadge("caution", texts.uncalibrated),
      candidates.some((row) => row.near_duplicate) && makeBadge("", texts.nearDuplicate),
    ),
    createElement("h2", namePlace(answer) ?? texts.finding),
    point && createElement("p.coordinates", formatPoint(point)),
    granularity !== "exact" && createElement("p", texts.coarse(granularity)),
    makeMeasures(measures),
    posterior && makeDetails("details", texts.probabilities, () => listProbabilities(posterior)),
    createElement("p.muted", verified ? texts.verifiedAnswer : texts.notVerified),
    !calibrated && createElement("p.muted", texts.notCalibrated),
  );
}

/** A state of its own: no place is shown as if it were a finding. */
export function showAbstention(answer: Answer): HTMLElement {
  const { posterior, candidates, citations } = answer;
  const reason = answer.abstention_reason ?? "";
  const missing = (["photo", "street"] as const).filter((kind) => !citations[kind]?.length);
  return createElement(
    "section.abstention",
    { "aria-label": texts.abstained },
    createElement("h2", texts.abstained),
    createElement("p", texts.abstentionReasons[reason] ?? reason),
    posterior &&
      makeMeasures([
        [posterior.p_not_in_gallery, texts.notInGallery],
        [posterior.p_outside_candidates, texts.outsideCandidates],
      ]),
    createElement("h3", texts.whatHelps),
    makeFacts([
      ...missing.map((kind) => texts.noEvidence[kind]),
      ...texts.advice,
      createElement("a", { href: "#view=gallery&show=gaps" }, texts.showGaps),
    ]),
    candidates.length > 0 && createElement("p", texts.showAnyway),
  );
}

export function showClaims(claims: readonly Claim[]): HTMLElement {
  return createElement(
    "section.claims",
    createElement("h2", texts.claims),
    createElement("p.muted", texts.claimsNote),
    claims.flatMap((claim) => [
      claims.length > 1 && createElement("h3", photoNumber(claim.photo + 1)),
      makeFacts([
        claim.point ? null : texts.claimNone,
        ...describePosition(claim),
        claim.heading_deg !== null && texts.claimHeading(claim.heading_deg.toFixed()),
      ]),
      ...showC2pa(claim),
    ]),
  );
}

/** The C2PA manifest of a photo. Its texts are the signer's, who may be anybody. */
function showC2pa({ c2pa }: Claim): HTMLElement[] {
  const { state, generator, signed_at } = c2pa;
  const signer = [c2pa.signer, c2pa.signer_organization].filter(Boolean).join(", ");
  return [
    createElement("h3", `${texts.c2pa}: ${texts.c2paStates[state] ?? state}`),
    makeFacts([
      c2pa.state_reason,
      ...c2pa.failure_codes,
      signer && texts.signer(signer),
      signed_at && texts.signedAt(formatTime(signed_at)),
      generator && texts.generator(generator),
      c2pa.data_hash_matches === false && texts.changed,
      c2pa.declares_generative_ai && texts.generativeAi,
      ...describePosition(c2pa),
    ]),
  ];
}

function describePosition(claim: ClaimPosition): (string | HTMLElement | null)[] {
  const { point, agrees, distance_m, captured_at } = claim;
  return [
    point && texts.claimPoint(formatPoint(point), claim.position_source ?? "?"),
    claim.position_note,
    distance_m === null ? null : texts.toFinding(formatDistance(distance_m)),
    agrees === null ? null : makeBadge(agrees ? "verified" : "caution", agrees ? texts.agrees : texts.disagrees),
    captured_at &&
      texts.claimTime(formatTime(captured_at), claim.time_source ?? "?") +
        (claim.time_assumed_utc ? texts.timeUncertain : ""),
  ];
}

function listProbabilities({ names, probability_within_km }: NonNullable<Answer["posterior"]>): HTMLElement {
  return createElement(
    "ul.bars",
    names.map(({ name, probability }) => makeBar(name, probability)),
    probability_within_km.map(({ radius_km, probability }) =>
      makeBar(texts.within(formatDistance(radius_km * 1_000)), probability),
    ),
  );
}

/** Probabilities with what they mean; those that are not known are left out. */
function makeMeasures(measures: readonly (readonly [number | null, string])[]): HTMLElement {
  return createElement(
    "dl.measures",
    measures.flatMap(([probability, meaning]) =>
      probability === null ? [] : [createElement("dt", formatProbability(probability)), createElement("dd", meaning)],
    ),
  );
}
