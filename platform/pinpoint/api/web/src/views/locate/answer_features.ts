/** An answer as GeoJSON features of the map. */

import type { Answer, Candidate, LatLon, Polygonal, Ring, SourceKind } from "./answer_types";
import { outlineDisc } from "./disc_outline";

export interface MapFeature {
  type: "Feature";
  id: number;
  properties: Record<string, string | number | boolean>;
  geometry: Polygonal | { type: "Point"; coordinates: [number, number] } | { type: "LineString"; coordinates: Ring };
}

export interface AnswerFeatures {
  /** Regions of a calibrated answer, or discs of one that is not; the largest first. */
  regions: MapFeature[];
  /** Candidates and their evidence; each image once. */
  images: MapFeature[];
  /** The finding, or the best guess of an abstention, and what the photo claims. */
  points: MapFeature[];
  /** Ids of the features in `images`, by image. */
  ids: Map<string, number>;
}

/** Convert an answer. An abstention has a guess, without regions: they would look like a finding. */
export function makeFeatures(answer: Answer | null): AnswerFeatures {
  const features: AnswerFeatures = { regions: [], images: [], points: [], ids: new Map() };
  if (answer === null) {
    return features;
  }
  const isFinding = answer.abstention_reason === null;
  const add = (group: MapFeature[], properties: MapFeature["properties"], geometry: MapFeature["geometry"]) =>
    group.push({ type: "Feature", id: group.length + 1, properties, geometry });
  for (const { probability, geometry } of isFinding ? listAreas(answer) : []) {
    add(features.regions, { probability }, geometry);
  }
  for (const image of listImages(answer.candidates)) {
    const { image_id, source_kind: kind, role, rank, weight } = image;
    features.ids.set(image_id, features.images.length + 1);
    add(features.images, { image_id, kind, role, rank, weight }, makePoint(image));
  }
  for (const { point } of answer.claims) {
    if (point !== null) {
      add(features.points, { role: "claim" }, makePoint(point));
    }
  }
  if (answer.point !== null) {
    add(features.points, { role: isFinding ? "finding" : "guess" }, makePoint(answer.point));
  }
  return features;
}

/** Lines from a candidate to its evidence; none for other images. */
export function makeLinks(answer: Answer | null, imageId: string | null): MapFeature[] {
  const candidate = answer?.candidates.find(({ image_id }) => image_id === imageId);
  if (candidate === undefined) {
    return [];
  }
  return candidate.evidence.map(({ source_kind, lat, lon }, index) => ({
    type: "Feature",
    id: index + 1,
    properties: { kind: source_kind },
    geometry: {
      type: "LineString",
      // Across the antimeridian the longitude continues, so that the line stays short.
      coordinates: [
        [candidate.lon, candidate.lat],
        [lon + 360 * Math.round((candidate.lon - lon) / 360), lat],
      ],
    },
  }));
}

interface PlacedImage extends LatLon {
  image_id: string;
  source_kind: SourceKind;
  role: "candidate" | "evidence";
  /** From 1; 0 for evidence. */
  rank: number;
  weight: number;
}

/** Evidence first and the best candidate last, which is drawn over all others. */
function listImages(candidates: readonly Candidate[]): PlacedImage[] {
  const images = new Map<string, PlacedImage>();
  for (const [index, candidate] of candidates.entries()) {
    images.set(candidate.image_id, { ...place(candidate), role: "candidate", rank: index + 1, weight: candidate.weight });
  }
  for (const { evidence } of candidates) {
    for (const image of evidence) {
      if (!images.has(image.image_id)) {
        images.set(image.image_id, { ...place(image), role: "evidence", rank: 0, weight: 0 });
      }
    }
  }
  return [...images.values()].reverse();
}

function place({ image_id, source_kind, lat, lon }: Candidate | Candidate["evidence"][number]) {
  return { image_id, source_kind, lat, lon };
}

interface ProbableArea {
  probability: number;
  geometry: Polygonal;
}

/** Credible regions, or discs around the point if the answer is not calibrated. */
export function listAreas(answer: Answer): ProbableArea[] {
  const { point, posterior, credible_discs } = answer;
  const areas: ProbableArea[] =
    posterior !== null
      ? [...posterior.credible_regions]
      : point === null
        ? []
        : credible_discs.map(({ probability, radius_m }) => ({
            probability,
            geometry: { type: "Polygon", coordinates: [outlineDisc(point, Math.max(radius_m, 1))] },
          }));
  return areas.sort((a, b) => b.probability - a.probability);
}

function makePoint({ lat, lon }: LatLon): { type: "Point"; coordinates: [number, number] } {
  return { type: "Point", coordinates: [lon, lat] };
}

/**
 * Box `[west, south, east, north]` of what the map shows first: the finding with the smallest area;
 * without a finding, the first candidates. The 90 % region often spans several countries.
 *
 * Longitudes are taken relative to the point, so that a box across ±180° stays small.
 */
export function computeBox(answer: Answer): [number, number, number, number] | null {
  const center = answer.point ?? answer.candidates[0];
  if (center === undefined) {
    return null;
  }
  const smallest = answer.abstention_reason === null ? listAreas(answer).at(-1) : undefined;
  const positions: Ring = [[center.lon, center.lat]];
  if (smallest !== undefined) {
    const { geometry } = smallest;
    const polygons = geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;
    positions.push(...polygons.flatMap((rings) => rings[0] ?? []));
  } else {
    positions.push(...answer.candidates.slice(0, 5).map(({ lat, lon }): [number, number] => [lon, lat]));
  }
  let [west, south, east, north] = [0, center.lat, 0, center.lat];
  for (const [lon, lat] of positions) {
    const offset = ((((lon - center.lon + 180) % 360) + 360) % 360) - 180;
    west = Math.min(west, offset);
    east = Math.max(east, offset);
    south = Math.min(south, lat);
    north = Math.max(north, lat);
  }
  return [center.lon + west, south, center.lon + east, north];
}
