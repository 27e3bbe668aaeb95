/** An answer as GeoJSON features of the map. */

import { earthRadiusM, moveBy } from "../gallery/directions";
import type { Answer, CitedImage, LatLon, Polygonal, Ring } from "./answer_types";

export interface MapFeature {
  type: "Feature";
  id: number;
  properties: Record<string, string | number>;
  geometry: Polygonal | { type: "Point"; coordinates: [number, number] } | { type: "LineString"; coordinates: Ring };
}

const numVertices = 72;
/** The map cannot draw a polygon at the poles; Web Mercator ends here. */
const maxLat = 85.05;

/** Credible regions, or discs around the point if the answer is not calibrated; the largest first. */
export function makeRegions(answer: Answer | null): MapFeature[] {
  // An abstention has a guess without regions: they would look like a finding.
  if (answer === null || answer.abstention_reason !== null) {
    return [];
  }
  const { point, posterior, credible_discs } = answer;
  const areas: { probability: number; geometry: Polygonal }[] =
    posterior?.credible_regions ??
    (point === null
      ? []
      : credible_discs.map(({ probability, radius_m }) => ({
          probability,
          geometry: { type: "Polygon", coordinates: [outlineDisc(point, Math.max(radius_m, 1))] },
        })));
  return [...areas]
    .sort((a, b) => b.probability - a.probability)
    .map(({ probability, geometry }, id) => ({ type: "Feature", id, properties: { probability }, geometry }));
}

/** Candidates and their evidence, each image once; the best candidate last, which is drawn over all. */
export function makeImages(answer: Answer | null): MapFeature[] {
  const images = new Map<string, [CitedImage, string, number]>();
  for (const candidate of answer?.candidates ?? []) {
    images.set(candidate.image_id, [candidate, "candidate", candidate.weight]);
  }
  for (const image of answer?.candidates.flatMap(({ evidence }) => evidence) ?? []) {
    if (!images.has(image.image_id)) {
      images.set(image.image_id, [image, "evidence", 0]);
    }
  }
  return [...images.values()].reverse().map(([image, role, weight], id) => {
    const { image_id, source_kind: kind } = image;
    return makePoint(id, image, { image_id, kind, role, weight });
  });
}

/** What the photos claim, and the finding or the best guess of an abstention. */
export function makePoints(answer: Answer | null): MapFeature[] {
  const points = (answer?.claims ?? []).flatMap(({ point, c2pa }) => [point, c2pa.point]);
  const role = answer?.abstention_reason === null ? "finding" : "guess";
  return [
    ...points.flatMap((point, id) => (point ? [makePoint(id, point, { role: "claim" })] : [])),
    ...(answer?.point ? [makePoint(points.length, answer.point, { role })] : []),
  ];
}

/** Lines from a candidate to its evidence; none for other images. */
export function makeLinks(answer: Answer | null, imageId: string | null): MapFeature[] {
  const candidate = answer?.candidates.find(({ image_id }) => image_id === imageId);
  return (candidate?.evidence ?? []).map(({ source_kind: kind, lat, lon }, id) => {
    const { lon: startLon = 0, lat: startLat = 0 } = candidate ?? {};
    // Across the antimeridian the longitude continues, so that the line stays short.
    const endLon = lon + 360 * Math.round((startLon - lon) / 360);
    const coordinates: Ring = [
      [startLon, startLat],
      [endLon, lat],
    ];
    return { type: "Feature", id, properties: { kind }, geometry: { type: "LineString", coordinates } };
  });
}

function makePoint(id: number, { lat, lon }: LatLon, properties: MapFeature["properties"]): MapFeature {
  return { type: "Feature", id, properties, geometry: { type: "Point", coordinates: [lon, lat] } };
}

/**
 * Outline of a disc on the sphere: a ring of `[lon, lat]` in degrees. Longitudes are continuous and may
 * leave ±180°, as MapLibre expects it. A disc with a pole inside reaches the edge of the map.
 */
function outlineDisc(center: LatLon, radiusM: number): Ring {
  const reach = (radiusM / earthRadiusM) * (180 / Math.PI);
  const [hasNorth, hasSouth] = [center.lat + reach > 90, center.lat - reach < -90];
  if (hasNorth && hasSouth) {
    const [west, east] = [center.lon - 180, center.lon + 180];
    return [
      [west, -maxLat],
      [east, -maxLat],
      [east, maxLat],
      [west, maxLat],
      [west, -maxLat],
    ];
  }
  const ring: Ring = [];
  for (let vertex = 0; vertex <= numVertices; vertex += 1) {
    // The ring starts at the side of the pole that is inside, so that its longitude never jumps.
    const [lon, lat] = moveBy(center, radiusM, (360 * vertex) / numVertices - (hasNorth ? 0 : 180));
    ring.push([lon, Math.min(maxLat, Math.max(-maxLat, lat))]);
  }
  if (hasNorth || hasSouth) {
    const edge = hasNorth ? maxLat : -maxLat;
    const [first, last] = [ring[0], ring.at(-1)] as [[number, number], [number, number]];
    ring.push([last[0], edge], [first[0], edge], first);
  }
  return ring;
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
  const geometry = makeRegions(answer).at(-1)?.geometry;
  const positions: Ring =
    geometry?.type === "Polygon"
      ? (geometry.coordinates[0] ?? [])
      : geometry?.type === "MultiPolygon"
        ? geometry.coordinates.flatMap((rings) => rings[0] ?? [])
        : answer.candidates.slice(0, 5).map(({ lat, lon }) => [lon, lat]);
  const lats = [center.lat, ...positions.map(([, lat]) => lat)];
  const turns = [0, ...positions.map(([lon]) => ((((lon - center.lon + 180) % 360) + 360) % 360) - 180)];
  return [center.lon + Math.min(...turns), Math.min(...lats), center.lon + Math.max(...turns), Math.max(...lats)];
}
