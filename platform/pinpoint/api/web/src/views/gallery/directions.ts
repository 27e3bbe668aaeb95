/** Geometry on the sphere: a field of view as a polygon, bearings, distances. */

import type { Position } from "./areas";

export const earthRadiusM = 6_371_008.8;
const radians = Math.PI / 180;

export interface LatLon {
  readonly lat: number;
  readonly lon: number;
}

/** Point at a distance and bearing from another one; bearing in degrees from north. */
export function moveBy({ lat, lon }: LatLon, distanceM: number, bearingDeg: number): Position {
  const angle = distanceM / earthRadiusM;
  const [phi, theta] = [lat * radians, bearingDeg * radians];
  const sine = Math.sin(phi) * Math.cos(angle) + Math.cos(phi) * Math.sin(angle) * Math.cos(theta);
  const end = Math.asin(Math.min(1, Math.max(-1, sine)));
  const turn = Math.atan2(
    Math.sin(theta) * Math.sin(angle) * Math.cos(phi),
    Math.cos(angle) - Math.sin(phi) * Math.sin(end),
  );
  return [lon + turn / radians, end / radians];
}

/** Initial bearing from one point to another, degrees from north in [0, 360). */
export function bearingTo(from: LatLon, to: LatLon): number {
  const [phi1, phi2] = [from.lat * radians, to.lat * radians];
  const turn = (to.lon - from.lon) * radians;
  const y = Math.sin(turn) * Math.cos(phi2);
  const x = Math.cos(phi1) * Math.sin(phi2) - Math.sin(phi1) * Math.cos(phi2) * Math.cos(turn);
  return normalizeDegrees(Math.atan2(y, x) / radians);
}

/** Degrees in [0, 360). */
export function normalizeDegrees(degrees: number): number {
  const turned = ((degrees % 360) + 360) % 360;
  return turned === 360 ? 0 : turned;
}

/** Ring of a field of view: a sector of a circle, or a line without a known angle. */
export function outlineView(
  point: LatLon,
  headingDeg: number,
  fieldOfViewDeg: number | null,
  radiusM: number,
): Position[] {
  const center: Position = [point.lon, point.lat];
  const angle = Math.min(fieldOfViewDeg ?? 0, 360);
  if (angle === 0) {
    return [center, moveBy(point, radiusM, headingDeg), center];
  }
  const steps = Math.max(2, Math.ceil(angle / 6));
  const arc = Array.from({ length: steps + 1 }, (_, step) =>
    moveBy(point, radiusM, headingDeg - angle / 2 + (angle * step) / steps),
  );
  return angle === 360 ? arc : [center, ...arc, center];
}

/** Meters of one CSS pixel on a map with tiles of 512 px. */
export function metersPerPixel(lat: number, zoom: number): number {
  return (2 * Math.PI * 6_378_137 * Math.cos(lat * radians)) / (512 * 2 ** zoom);
}

/** Great-circle distance, meters. */
export function distanceBetween(from: LatLon, to: LatLon): number {
  const [phi1, phi2] = [from.lat * radians, to.lat * radians];
  const sine = (degrees: number) => Math.sin((degrees * radians) / 2) ** 2;
  const h = sine(to.lat - from.lat) + Math.cos(phi1) * Math.cos(phi2) * sine(to.lon - from.lon);
  return 2 * earthRadiusM * Math.asin(Math.min(1, Math.sqrt(h)));
}
