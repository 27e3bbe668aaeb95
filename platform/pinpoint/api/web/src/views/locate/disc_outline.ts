/** Discs on the sphere as polygons for the map. */

import type { LatLon, Ring } from "./answer_types";

const earthRadiusM = 6_371_008.8;
const numVertices = 72;
/** The map cannot draw a polygon at the poles; Web Mercator ends here. */
const maxLat = 85.05;

/**
 * Outline of a disc: a ring of `[lon, lat]` in degrees. Longitudes are continuous and may leave ±180°,
 * as MapLibre expects it. A disc with a pole inside reaches the edge of the map.
 */
export function outlineDisc(center: LatLon, radiusM: number): Ring {
  const angle = Math.min(radiusM, Math.PI * earthRadiusM) / earthRadiusM;
  const lat = toRadians(center.lat);
  const ring: Ring = [];
  for (let vertex = 0; vertex <= numVertices; vertex += 1) {
    const bearing = (2 * Math.PI * vertex) / numVertices;
    const sine = Math.sin(lat) * Math.cos(angle) + Math.cos(lat) * Math.sin(angle) * Math.cos(bearing);
    const east = Math.sin(bearing) * Math.sin(angle) * Math.cos(lat);
    const turn = Math.atan2(east, Math.cos(angle) - Math.sin(lat) * sine);
    ring.push([center.lon + toDegrees(turn), clampLat(toDegrees(Math.asin(clamp(sine, -1, 1))))]);
  }
  unwrap(ring);
  const reach = toDegrees(angle);
  const hasNorth = center.lat + reach > 90;
  const hasSouth = center.lat - reach < -90;
  if (hasNorth && hasSouth) {
    const [west, east] = [center.lon - 180, center.lon + 180];
    return [[west, -maxLat], [east, -maxLat], [east, maxLat], [west, maxLat], [west, -maxLat]];
  }
  if (hasNorth || hasSouth) {
    const edge = hasNorth ? maxLat : -maxLat;
    const [first, last] = [ring[0] as [number, number], ring[ring.length - 1] as [number, number]];
    ring.push([last[0], edge], [first[0], edge], first);
  }
  return ring;
}

/** Longitudes without jumps of a full turn. */
function unwrap(ring: Ring): void {
  for (let index = 1; index < ring.length; index += 1) {
    const previous = ring[index - 1] as [number, number];
    const current = ring[index] as [number, number];
    current[0] -= 360 * Math.round((current[0] - previous[0]) / 360);
  }
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

function clampLat(lat: number): number {
  return clamp(lat, -maxLat, maxLat);
}

function toRadians(degrees: number): number {
  return (degrees * Math.PI) / 180;
}

function toDegrees(radians: number): number {
  return (radians * 180) / Math.PI;
}
