/** Map layers of the gallery: cells and points from the server's tiles, never the whole gallery. */

import type {
  ExpressionSpecification,
  Map as MapLibreMap,
  MapGeoJSONFeature,
  MapMouseEvent,
} from "maplibre-gl";
import type { AppContext } from "../../context";
import { LayerGroup } from "../../map/layers";
import type { LatLon } from "./directions";
import { closeRing } from "./areas";
import { type GalleryFilters, type ListArea, toQuery } from "./filters";
import { metersPerPixel } from "./directions";
import { cellClasses, chooseCellColor, readColor } from "./palette";

/** Lowest zoom at which a tile has images as points; a constant of the server. */
export const pointZoom = 11;
const clickRadiusPx = 6;
const kindColor = (): ExpressionSpecification => [
  "match",
  ["get", "source_kind"],
  "street",
  readColor("--color-street"),
  readColor("--color-internet"),
];

export interface LayerListeners {
  /** A cell, or a place with several images. */
  openList(area: ListArea): void;
  openImage(id: string): void;
  /** Whether a click belongs to something else, such as a drawing. */
  isBusy(): boolean;
  /** Tiles could not be loaded; `isTooSlow` if the server gave up counting. */
  onTileError(isTooSlow: boolean): void;
}

export class GalleryLayers {
  readonly group: LayerGroup;
  readonly #context: AppContext;
  readonly #listeners: LayerListeners;
  readonly #themes: MutationObserver;
  #filters: GalleryFilters | null = null;
  #cleanup: () => void = () => {};

  constructor(context: AppContext, listeners: LayerListeners) {
    this.#context = context;
    this.#listeners = listeners;
    this.group = new LayerGroup(context.map, "gallery");
    this.#themes = new MutationObserver(() => {
      context.map.whenReady((map) => void map.once("idle", () => this.#paint()));
    });
    this.#themes.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  /** Add sources and layers for the filters, and listen to the map. */
  add(filters: GalleryFilters): void {
    this.#filters = filters;
    const { group } = this;
    const empty = { type: "FeatureCollection" as const, features: [] };
    for (const name of ["images", "gaps"]) {
      group.addSource(name, { type: "vector", tiles: [this.#tileUrl(name)], maxzoom: 18 });
    }
    for (const name of ["area", "selection", "highlight"]) {
      group.addSource(name, { type: "geojson", data: empty });
    }
    group.addLayer({
      id: "cells",
      type: "fill",
      source: "images",
      "source-layer": "images",
      maxzoom: pointZoom,
      filter: ["has", "cell"],
      paint: { "fill-antialias": true },
    });
    group.addLayer({
      id: "gaps",
      type: "fill",
      source: "gaps",
      "source-layer": "gaps",
      paint: { "fill-opacity": 0.55 },
    });
    group.addLayer({
      id: "points",
      type: "circle",
      source: "images",
      "source-layer": "images",
      minzoom: pointZoom,
      filter: ["has", "id"],
      paint: {
        "circle-radius": ["interpolate", ["linear"], ["zoom"], 11, 2.5, 15, 5, 19, 8],
        "circle-stroke-width": ["interpolate", ["linear"], ["zoom"], 11, 0.4, 15, 1.2],
      },
    });
    group.addLayer({ id: "area-fill", type: "fill", source: "area", paint: { "fill-opacity": 0.08 } });
    group.addLayer({
      id: "area-line",
      type: "line",
      source: "area",
      paint: { "line-width": 2, "line-dasharray": [3, 2] },
    });
    group.addLayer({
      id: "view-fill",
      type: "fill",
      source: "selection",
      filter: ["==", ["geometry-type"], "Polygon"],
      paint: { "fill-opacity": 0.35 },
    });
    group.addLayer({
      id: "view-line",
      type: "line",
      source: "selection",
      filter: ["!=", ["geometry-type"], "Point"],
      paint: { "line-width": 2 },
    });
    for (const [id, radius] of [["selection", 8], ["highlight", 9]] as const) {
      group.addLayer(
        {
          id,
          type: "circle",
          source: id,
          filter: ["==", ["geometry-type"], "Point"],
          paint: { "circle-radius": radius, "circle-stroke-width": 3 },
        },
        { above: true },
      );
    }
    this.#context.map.whenReady((map) => this.#listen(map));
    this.#showFilters(filters);
  }

  /** Load the tiles of other filters. */
  setFilters(filters: GalleryFilters): void {
    const isSame = (name: string) =>
      this.#filters !== null && this.#tileUrl(name, this.#filters) === this.#tileUrl(name, filters);
    const changed = ["images", "gaps"].filter((name) => !isSame(name));
    this.#filters = filters;
    for (const name of changed) {
      this.group.setTiles(name, [this.#tileUrl(name)]);
    }
    this.#showFilters(filters);
  }

  /** Load all tiles again, because an image has moved. */
  reload(): void {
    this.#context.map.whenReady((map) => {
      for (const name of ["images", "gaps"]) {
        map.refreshTiles(this.group.fullId(name));
      }
    });
  }

  /** Mark a position, such as that of the list entry under the pointer. */
  highlight(point: LatLon | null): void {
    const features = point === null ? [] : [makePoint(point)];
    this.group.setData("highlight", { type: "FeatureCollection", features });
  }

  dispose(): void {
    this.#themes.disconnect();
    this.#cleanup();
    this.group.dispose();
  }

  #tileUrl(name: string, filters: GalleryFilters | null = this.#filters): string {
    const root = this.#context.client.resolveUrl(`ogc/collections/${name}/tiles/WebMercatorQuad`);
    const query = filters === null ? "" : String(toQuery(filters));
    return `${root}/{z}/{x}/{y}${query === "" ? "" : `?${query}`}`;
  }

  #showFilters(filters: GalleryFilters): void {
    this.group.setVisible("gaps", filters.show === "gaps");
    const features =
      filters.area === null
        ? []
        : [
            {
              type: "Feature" as const,
              properties: {},
              geometry: { type: "Polygon" as const, coordinates: [closeRing(filters.area)] },
            },
          ];
    this.group.setData("area", { type: "FeatureCollection", features });
    this.#paint();
  }

  #paint(): void {
    const { show } = this.#filters ?? { show: "all" as const };
    const color = chooseCellColor(show);
    const opacities = cellClasses.flatMap(([least, opacity], index) =>
      index === 0 ? [opacity] : [least, opacity],
    );
    const paints: [string, string, unknown][] = [
      ["cells", "fill-color", color],
      // Transparent, not hidden: the number in view is that of the tiles.
      ["cells", "fill-opacity", show === "gaps" ? 0 : ["step", ["get", "images"], ...opacities]],
      ["cells", "fill-outline-color", color],
      ["gaps", "fill-color", kindColor()],
      ["gaps", "fill-outline-color", kindColor()],
      ["points", "circle-color", kindColor()],
      ["points", "circle-stroke-color", readColor("--color-background")],
      ["area-fill", "fill-color", readColor("--gallery-cells")],
      ["area-line", "line-color", readColor("--gallery-cells")],
      ["view-fill", "fill-color", readColor("--gallery-selection")],
      ["view-line", "line-color", readColor("--gallery-selection")],
      ["selection", "circle-color", readColor("--gallery-selection")],
      ["selection", "circle-stroke-color", readColor("--color-background")],
      ["highlight", "circle-color", "rgba(0, 0, 0, 0)"],
      ["highlight", "circle-stroke-color", readColor("--gallery-selection")],
    ];
    this.#context.map.whenReady((map) => {
      for (const [layer, name, value] of paints) {
        const id = this.group.fullId(layer);
        if (map.getLayer(id)) {
          map.setPaintProperty(id, name as never, value as never);
        }
      }
    });
  }

  #listen(map: MapLibreMap): void {
    const open = (event: MapMouseEvent) => this.#open(map, event);
    const noteError = (event: { sourceId?: string; error: Error & { status?: number } }) => {
      const names = ["images", "gaps"].map((name) => this.group.fullId(name));
      if (event.sourceId !== undefined && names.includes(event.sourceId)) {
        this.#listeners.onTileError(event.error.status === 503);
      }
    };
    map.on("click", open);
    map.on("error", noteError as never);
    this.#cleanup = () => {
      map.off("click", open);
      map.off("error", noteError as never);
    };
    for (const layer of ["cells", "gaps", "points"]) {
      this.group.showPointer(layer);
    }
  }

  #open(map: MapLibreMap, event: MapMouseEvent): void {
    if (this.#listeners.isBusy()) {
      return;
    }
    const { x, y } = event.point;
    const near = [
      [x - clickRadiusPx, y - clickRadiusPx],
      [x + clickRadiusPx, y + clickRadiusPx],
    ] as [[number, number], [number, number]];
    const points = this.#query(map, near, ["points"]);
    const ids = new Set(points.map((feature) => String(feature.properties["id"])));
    const [id] = ids;
    if (ids.size === 1 && id !== undefined) {
      this.#listeners.openImage(id);
    } else if (ids.size > 1) {
      const { lat, lng } = event.lngLat.wrap();
      // Half of a pixel more, because tiles round positions.
      const radiusPx = clickRadiusPx * Math.SQRT2 + 0.5;
      const radiusM = Math.max(1, radiusPx * metersPerPixel(lat, map.getZoom()));
      this.#listeners.openList({ type: "near", lat, lon: lng, radiusM });
    } else {
      const [cell] = this.#query(map, [[x, y], [x, y]], ["gaps", "cells"]);
      if (cell !== undefined) {
        this.#listeners.openList({ type: "cell", cell: String(cell.properties["cell"]) });
      }
    }
  }

  #query(
    map: MapLibreMap,
    box: [[number, number], [number, number]],
    layers: string[],
  ): MapGeoJSONFeature[] {
    const ids = layers.map((id) => this.group.fullId(id)).filter((id) => map.getLayer(id));
    return map.queryRenderedFeatures(box, { layers: ids });
  }
}

export function makePoint({ lat, lon }: LatLon) {
  return {
    type: "Feature" as const,
    properties: {},
    geometry: { type: "Point" as const, coordinates: [lon, lat] },
  };
}
