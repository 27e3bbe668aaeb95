/** The selected image on the map: its position and field of view. */

import type { AppContext } from "../../context";
import { type LatLon, metersPerPixel, outlineView } from "./directions";
import { type GalleryLayers, makePoint } from "./gallery_layers";

/** Radius of a drawn field of view, CSS pixels. */
export const viewRadiusPx = 64;

export interface SelectedView extends LatLon {
  readonly heading_deg: number | null;
  readonly field_of_view_deg: number | null;
}

export class SelectionLayer {
  readonly #context: AppContext;
  readonly #layers: GalleryLayers;
  #view: SelectedView | null = null;
  #hidesPoint = false;
  #cleanup: () => void = () => {};

  constructor(context: AppContext, layers: GalleryLayers) {
    this.#context = context;
    this.#layers = layers;
    context.map.whenReady((map) => {
      const draw = () => this.#draw();
      map.on("zoomend", draw);
      this.#cleanup = () => map.off("zoomend", draw);
    });
  }

  /** `hidesPoint`: a marker shows the position. */
  show(view: SelectedView | null, { hidesPoint = false } = {}): void {
    this.#view = view;
    this.#hidesPoint = hidesPoint;
    this.#draw();
  }

  dispose(): void {
    this.#cleanup();
  }

  #draw(): void {
    this.#context.map.whenReady((map) => {
      const view = this.#view;
      const features: GeoJSON.Feature[] = [];
      if (view !== null && view.heading_deg !== null) {
        const radiusM = viewRadiusPx * metersPerPixel(view.lat, map.getZoom());
        const angle = view.field_of_view_deg;
        const ring = outlineView(view, view.heading_deg, angle, radiusM);
        const geometry: GeoJSON.Geometry =
          angle === null || angle === 0
            ? { type: "LineString", coordinates: ring.slice(0, 2) }
            : { type: "Polygon", coordinates: [ring] };
        features.push({ type: "Feature", properties: {}, geometry });
      }
      if (view !== null && !this.#hidesPoint) {
        features.push(makePoint(view));
      }
      this.#layers.group.setData("selection", { type: "FeatureCollection", features });
    });
  }
}
