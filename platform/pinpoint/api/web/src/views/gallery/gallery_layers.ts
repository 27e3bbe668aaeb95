/** Map layers of the gallery: cells and points from the server's tiles, never the whole gallery. */

import type { Map as MapLibreMap, MapMouseEvent } from "maplibre-gl";
import type { AppContext } from "../../context";
import { type LayerRow, createLayerGroup } from "../../map/layers";
import { closeRing } from "./areas";
import { type LatLon, metersPerPixel } from "./directions";
import { type GalleryFilters, type ListArea, type MapLayerChoice, toQuery } from "./filters";
import { cellClasses, chooseCellColor, readColor } from "./palette";

/** Lowest zoom at which a tile has images as points; a constant of the server. */
export const pointZoom = 11;
const clickRadiusPx = 6;

export interface LayerListeners {
  /** A cell, or a place with several images. */
  openList(area: ListArea): void;
  openImage(id: string): void;
  /** Whether a click belongs to something else, such as a drawing. */
  isBusy(): boolean;
  /** Tiles could not be loaded; `isTooSlow` if the server gave up counting. */
  onTileError(isTooSlow: boolean): void;
}

const tiledSources = ["images", "gaps"] as const;

export type GalleryLayers = ReturnType<typeof createGalleryLayers>;

export function createGalleryLayers({ client, map: view }: AppContext, listeners: LayerListeners) {
  const group = createLayerGroup(view, "gallery");
  let shown: GalleryFilters | null = null;
  let stopListening = () => {};

  const makeTileUrl = (name: string, filters: GalleryFilters) => {
    const root = client.resolveUrl(`ogc/collections/${name}/tiles/WebMercatorQuad`);
    const query = String(toQuery(filters));
    return `${root}/{z}/{x}/{y}${query && `?${query}`}`;
  };
  const showFilters = ({ show, area }: GalleryFilters) => {
    group.setVisible("gaps", show === "gaps");
    const features = area ? [makeFeature({ type: "Polygon", coordinates: [closeRing(area)] })] : [];
    group.setFeatures("area", features);
    group.paint();
  };
  const findFeatures = (map: MapLibreMap, x: number, y: number, radiusPx: number, layers: string[]) =>
    map.queryRenderedFeatures(
      [
        [x - radiusPx, y - radiusPx],
        [x + radiusPx, y + radiusPx],
      ],
      { layers: layers.map(group.fullId).filter((id) => map.getLayer(id)) },
    );
  const open = (map: MapLibreMap, { point: { x, y }, lngLat }: MapMouseEvent) => {
    if (listeners.isBusy()) {
      return;
    }
    const points = findFeatures(map, x, y, clickRadiusPx, ["points"]);
    const ids = new Set(points.map(({ properties }) => String(properties["id"])));
    const [id] = ids;
    if (ids.size === 1 && id !== undefined) {
      listeners.openImage(id);
    } else if (ids.size > 1) {
      const { lat, lng: lon } = lngLat.wrap();
      // Half of a pixel more, because tiles round positions.
      const radiusPx = clickRadiusPx * Math.SQRT2 + 0.5;
      listeners.openList({
        type: "near",
        lat,
        lon,
        radiusM: Math.max(1, radiusPx * metersPerPixel(lat, map.getZoom())),
      });
    } else {
      const [cell] = findFeatures(map, x, y, 0, ["gaps", "cells"]);
      if (cell !== undefined) {
        listeners.openList({ type: "cell", cell: String(cell.properties["cell"]) });
      }
    }
  };
  const listen = (map: MapLibreMap) => {
    const onClick = (event: MapMouseEvent) => open(map, event);
    const noteError = ({ sourceId, error }: { sourceId?: string; error: Error & { status?: number } }) => {
      if (tiledSources.some((name) => group.fullId(name) === sourceId)) {
        listeners.onTileError(error.status === 503);
      }
    };
    map.on("click", onClick);
    map.on("error", noteError as never);
    stopListening = () => {
      map.off("click", onClick);
      map.off("error", noteError as never);
    };
    ["cells", "gaps", "points"].forEach(group.showPointer);
  };

  return {
    group,
    /** Add sources and layers for the filters, and listen to the map. */
    add: (filters: GalleryFilters) => {
      shown = filters;
      for (const name of tiledSources) {
        group.addSource(name, { type: "vector", tiles: [makeTileUrl(name, filters)], maxzoom: 18 });
      }
      for (const name of ["area", "selection", "highlight"]) {
        group.setFeatures(name, []);
      }
      group.addLayers(() => listLayers(shown?.show ?? "all"));
      view.whenReady(listen);
      showFilters(filters);
    },
    /** Load the tiles of other filters. */
    setFilters: (filters: GalleryFilters) => {
      for (const name of tiledSources) {
        const url = makeTileUrl(name, filters);
        if (shown !== null && makeTileUrl(name, shown) !== url) {
          group.setTiles(name, [url]);
        }
      }
      shown = filters;
      showFilters(filters);
    },
    /** Load all tiles again, because an image has moved. */
    reload: () => view.whenReady((map) => tiledSources.forEach((name) => map.refreshTiles(group.fullId(name)))),
    /** Mark a position, such as that of the list entry under the pointer. */
    highlight: (point: LatLon | null) => group.setFeatures("highlight", point ? [makePoint(point)] : []),
    dispose: () => {
      stopListening();
      group.dispose();
    },
  };
}

/** Layers from bottom to top, in the page's colors. */
function listLayers(show: MapLayerChoice): LayerRow[] {
  const color = chooseCellColor(show);
  const area = readColor("--gallery-cells");
  const selection = readColor("--gallery-selection");
  const background = readColor("--color-background");
  const kind = ["match", ["get", "source_kind"], "street", readColor("--color-street"), readColor("--color-internet")];
  const byZoom = (...stops: number[]) => ["interpolate", ["linear"], ["zoom"], ...stops];
  const opacities = cellClasses.flatMap(([least, opacity], index) => (index === 0 ? [opacity] : [least, opacity]));
  // Transparent, not hidden: the number in view is that of the tiles.
  const cellOpacity = show === "gaps" ? 0 : ["step", ["get", "images"], ...opacities];
  const circle = (fill: unknown, radius: unknown, stroke: unknown, width: unknown) => ({
    "circle-color": fill,
    "circle-radius": radius,
    "circle-stroke-color": stroke,
    "circle-stroke-width": width,
  });
  const fill = (fillColor: unknown, opacity: unknown, outline: unknown = fillColor) => ({
    "fill-color": fillColor,
    "fill-opacity": opacity,
    "fill-outline-color": outline,
  });
  const ofType = (type: string, comparison = "==") => [comparison, ["geometry-type"], type];
  const isPoint = { above: true, filter: ofType("Point") };
  const tiled = (name: string) => ({ "source-layer": name });
  return [
    [
      "cells",
      "images",
      "fill",
      fill(color, cellOpacity),
      { ...tiled("images"), maxzoom: pointZoom, filter: ["has", "cell"] },
    ],
    ["gaps", "gaps", "fill", fill(kind, 0.55), tiled("gaps")],
    [
      "points",
      "images",
      "circle",
      circle(kind, byZoom(11, 2.5, 15, 5, 19, 8), background, byZoom(11, 0.4, 15, 1.2)),
      { ...tiled("images"), minzoom: pointZoom, filter: ["has", "id"] },
    ],
    ["area-fill", "area", "fill", fill(area, 0.08)],
    ["area-line", "area", "line", { "line-color": area, "line-width": 2, "line-dasharray": [3, 2] }],
    ["view-fill", "selection", "fill", fill(selection, 0.35), { filter: ofType("Polygon") }],
    ["view-line", "selection", "line", { "line-color": selection, "line-width": 2 }, { filter: ofType("Point", "!=") }],
    ["selection", "selection", "circle", circle(selection, 8, background, 3), isPoint],
    ["highlight", "highlight", "circle", circle("rgba(0, 0, 0, 0)", 9, selection, 3), isPoint],
  ];
}

/** A feature without properties. */
export function makeFeature(geometry: GeoJSON.Geometry): GeoJSON.Feature {
  return { type: "Feature", properties: {}, geometry };
}

export function makePoint({ lat, lon }: LatLon): GeoJSON.Feature {
  return makeFeature({ type: "Point", coordinates: [lon, lat] });
}
