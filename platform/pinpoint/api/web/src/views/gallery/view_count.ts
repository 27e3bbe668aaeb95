/** The number of images in view, from the tiles that the map shows. */

import type { Map as MapLibreMap } from "maplibre-gl";
import { pointZoom } from "./gallery_layers";
import { isBetween, readViewBox } from "./view_box";

export interface ViewCount {
  images: number;
  /** Images that are drawn as points; less than `images` if tiles hold only a sample. */
  drawn: number;
  /** Whether whole cells were counted, of which parts may be out of view. */
  isOfCells: boolean;
  /** H3 resolution of the cells; null without cells. */
  resolution: number | null;
}

/** Count the images of the cells whose center is in view, or of the points in view. */
export function countInView(map: MapLibreMap, sourceId: string): ViewCount {
  const [west, south, east, north] = readViewBox(map);
  const isInside = ([lon, lat]: [number, number]) =>
    lat >= south && lat <= north && isBetween(lon, west, east);
  const features = map.querySourceFeatures(sourceId, { sourceLayer: "images" });
  if (Math.floor(map.getZoom()) < pointZoom) {
    return countCells(features, isInside);
  }
  const ids = new Set<string>();
  let leftOut = 0;
  const seen = new Set<string>();
  for (const { properties, geometry } of features) {
    if (geometry.type !== "Point" || properties["id"] === undefined) {
      continue;
    }
    if (isInside(geometry.coordinates as [number, number])) {
      ids.add(String(properties["id"]));
      // All points of a tile have the same number; tiles with equal numbers are one here.
      const left = Number(properties["images_left_out"] ?? 0);
      if (left > 0 && !seen.has(String(left))) {
        seen.add(String(left));
        leftOut += left;
      }
    }
  }
  return { images: ids.size + leftOut, drawn: ids.size, isOfCells: false, resolution: null };
}

type Features = ReturnType<MapLibreMap["querySourceFeatures"]>;

function countCells(features: Features, isInside: (position: [number, number]) => boolean): ViewCount {
  const cells = new Map<string, { images: number; box: [number, number, number, number] }>();
  for (const { properties, geometry } of features) {
    const id = properties["cell"];
    if (typeof id !== "string" || (geometry.type !== "Polygon" && geometry.type !== "MultiPolygon")) {
      continue;
    }
    const rings = geometry.type === "Polygon" ? geometry.coordinates : geometry.coordinates.flat();
    const cell = cells.get(id) ?? { images: Number(properties["images"]), box: [180, 90, -180, -90] };
    // A cell is cut at the edges of tiles; its parts make one box.
    for (const [lon = 0, lat = 0] of rings.flat()) {
      const [west, south, east, north] = cell.box;
      cell.box = [Math.min(west, lon), Math.min(south, lat), Math.max(east, lon), Math.max(north, lat)];
    }
    cells.set(id, cell);
  }
  let images = 0;
  for (const { images: number, box } of cells.values()) {
    if (isInside([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])) {
      images += number;
    }
  }
  const [first] = cells.keys();
  const resolution = first === undefined ? null : Number.parseInt(first.charAt(1), 16);
  return { images, drawn: images, isOfCells: true, resolution };
}
