/** The selected image on the map: its position and field of view. */

import type { AppContext } from "../../context";
import { type LatLon, metersPerPixel, outlineView } from "./directions";
import { type GalleryLayers, makeFeature, makePoint } from "./gallery_layers";

/** Radius of a drawn field of view, CSS pixels. */
export const viewRadiusPx = 64;

export interface SelectedView extends LatLon {
  readonly heading_deg: number | null;
  readonly field_of_view_deg: number | null;
}

export type SelectionLayer = ReturnType<typeof createSelectionLayer>;

export function createSelectionLayer(context: AppContext, layers: GalleryLayers) {
  let shownView: SelectedView | null = null;
  let isPointHidden = false;
  let cleanup: () => void = () => {};
  context.map.whenReady((map) => {
    const draw = () => drawView();
    map.on("zoomend", draw);
    cleanup = () => map.off("zoomend", draw);
  });

  /** `hidesPoint`: a marker shows the position. */
  function show(view: SelectedView | null, { hidesPoint = false } = {}): void {
    shownView = view;
    isPointHidden = hidesPoint;
    drawView();
  }

  function dispose(): void {
    cleanup();
  }

  function drawView(): void {
    context.map.whenReady((map) => {
      const view = shownView;
      const features: GeoJSON.Feature[] = [];
      if (view !== null && view.heading_deg !== null) {
        const radiusM = viewRadiusPx * metersPerPixel(view.lat, map.getZoom());
        const angle = view.field_of_view_deg;
        const ring = outlineView(view, view.heading_deg, angle, radiusM);
        const geometry: GeoJSON.Geometry =
          angle === null || angle === 0
            ? { type: "LineString", coordinates: ring.slice(0, 2) }
            : { type: "Polygon", coordinates: [ring] };
        features.push(makeFeature(geometry));
      }
      if (view !== null && !isPointHidden) {
        features.push(makePoint(view));
      }
      layers.group.setFeatures("selection", features);
    });
  }
  return { show, dispose };
}
