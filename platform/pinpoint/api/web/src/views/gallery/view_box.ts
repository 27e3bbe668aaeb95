/** The box of the map's view. */

import type { Map as MapLibreMap } from "maplibre-gl";

/** `[west, south, east, north]` in degrees; `west > east` crosses the antimeridian. */
export function readViewBox(map: MapLibreMap): [number, number, number, number] {
  const bounds = map.getBounds();
  const [west, east] = [bounds.getWest(), bounds.getEast()];
  const south = Math.max(-90, bounds.getSouth());
  const north = Math.min(90, bounds.getNorth());
  if (east - west >= 360) {
    return [-180, south, 180, north];
  }
  return [wrapLongitude(west), south, wrapLongitude(east), north];
}

/** Whether a longitude is in a range of longitudes that may cross the antimeridian. */
export function isBetween(lon: number, west: number, east: number): boolean {
  const wrapped = wrapLongitude(lon);
  return west <= east ? wrapped >= west && wrapped <= east : wrapped >= west || wrapped <= east;
}

function wrapLongitude(lon: number): number {
  return ((((lon + 180) % 360) + 360) % 360) - 180;
}
