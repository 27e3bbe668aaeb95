/** Markers to drag or to move by keys: the position of an image, and a handle of its heading. */

import type { Marker } from "maplibre-gl";
import { createElement } from "../../dom";
import type { MapView } from "../../map/map_view";
import * as texts from "../../strings/gallery_edit";
import { bearingTo, metersPerPixel, moveBy, normalizeDegrees } from "./directions";
import { type SelectedView, viewRadiusPx } from "./selection_layer";

const arrowBearings: Readonly<Record<string, number>> = {
  ArrowUp: 0,
  ArrowRight: 90,
  ArrowDown: 180,
  ArrowLeft: 270,
};

export type PositionMarkers = ReturnType<typeof createPositionMarkers>;

export function createPositionMarkers(map: MapView, name: string, onMove: (view: SelectedView) => void) {
  let current: SelectedView | null = null;
  let positionMarker: Marker | null = null;
  let headingMarker: Marker | null = null;
  let isDisposed = false;
  const place = (): void => {
    const map = mapView.map;
    const view = current;
    if (map === null || view === null) {
      return;
    }
    positionMarker?.setLngLat([view.lon, view.lat]);
    const radiusM = viewRadiusPx * metersPerPixel(view.lat, map.getZoom());
    headingMarker?.setLngLat(moveBy(view, radiusM, view.heading_deg ?? 0));
    headingMarker?.getElement().classList.toggle("unset", view.heading_deg === null);
  };
  const mapView = map;

  async function add(view: SelectedView): Promise<void> {
    const { Marker } = await import("maplibre-gl");
    const map = mapView.map;
    if (map === null || isDisposed) {
      return;
    }
    current = view;
    const position = makeHandle("position-marker", texts.marker(name), (key) => {
      const bearing = arrowBearings[key.key];
      if (bearing !== undefined && current !== null) {
        const [lon, lat] = moveBy(current, key.shiftKey ? 10 : 1, bearing);
        change({ lat, lon });
      }
      return bearing !== undefined;
    });
    const handle = makeHandle("heading-handle", texts.headingHandle, (key) => {
      const turn = { ArrowLeft: -1, ArrowRight: 1 }[key.key];
      if (turn !== undefined) {
        const heading = current?.heading_deg ?? 0;
        change({ heading_deg: normalizeDegrees(heading + turn * (key.shiftKey ? 10 : 1)) });
      }
      return turn !== undefined;
    });
    positionMarker = new Marker({ element: position, draggable: true }).setLngLat([view.lon, view.lat]).addTo(map);
    headingMarker = new Marker({ element: handle, draggable: true }).setLngLat([view.lon, view.lat]).addTo(map);
    positionMarker.on("drag", () => {
      const point = positionMarker?.getLngLat().wrap();
      if (point !== undefined) {
        change({ lat: point.lat, lon: point.lng });
      }
    });
    headingMarker.on("drag", () => {
      const point = headingMarker?.getLngLat();
      if (point !== undefined && current !== null) {
        change({ heading_deg: bearingTo(current, { lat: point.lat, lon: point.lng }) });
      }
    });
    map.on("zoom", place);
    place();
  }

  /** Show another state, such as one that was typed. */
  function move(view: SelectedView): void {
    current = view;
    place();
  }

  function dispose(): void {
    isDisposed = true;
    mapView.map?.off("zoom", place);
    positionMarker?.remove();
    headingMarker?.remove();
  }

  function change(change: Partial<SelectedView>): void {
    if (current !== null) {
      current = { ...current, ...change };
      place();
      onMove(current);
    }
  }
  return { add, move, dispose };
}

/** `onKey` returns whether it has used the key. */
function makeHandle(className: string, label: string, onKey: (key: KeyboardEvent) => boolean): HTMLElement {
  return createElement("div", {
    class: className,
    role: "button",
    tabindex: "0",
    title: label,
    "aria-label": label,
    onkeydown: (event: KeyboardEvent) => {
      if (onKey(event)) {
        event.preventDefault();
        event.stopPropagation();
      }
    },
  });
}
