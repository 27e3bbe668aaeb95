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

export class PositionMarkers {
  readonly #map: MapView;
  readonly #name: string;
  readonly #onMove: (view: SelectedView) => void;
  #view: SelectedView | null = null;
  #position: Marker | null = null;
  #handle: Marker | null = null;
  #isDisposed = false;

  /** `name`: file name of the image, for screen readers. `onMove` gets each new state. */
  constructor(map: MapView, name: string, onMove: (view: SelectedView) => void) {
    this.#map = map;
    this.#name = name;
    this.#onMove = onMove;
  }

  async add(view: SelectedView): Promise<void> {
    const { Marker } = await import("maplibre-gl");
    const map = this.#map.map;
    if (map === null || this.#isDisposed) {
      return;
    }
    this.#view = view;
    const position = makeHandle("position-marker", texts.marker(this.#name), (key) => {
      const bearing = arrowBearings[key.key];
      if (bearing !== undefined && this.#view !== null) {
        const [lon, lat] = moveBy(this.#view, key.shiftKey ? 10 : 1, bearing);
        this.#change({ lat, lon });
      }
      return bearing !== undefined;
    });
    const handle = makeHandle("heading-handle", texts.headingHandle, (key) => {
      const turn = { ArrowLeft: -1, ArrowRight: 1 }[key.key];
      if (turn !== undefined) {
        const heading = this.#view?.heading_deg ?? 0;
        this.#change({ heading_deg: normalizeDegrees(heading + turn * (key.shiftKey ? 10 : 1)) });
      }
      return turn !== undefined;
    });
    this.#position = new Marker({ element: position, draggable: true }).setLngLat([view.lon, view.lat]).addTo(map);
    this.#handle = new Marker({ element: handle, draggable: true }).setLngLat([view.lon, view.lat]).addTo(map);
    this.#position.on("drag", () => {
      const point = this.#position?.getLngLat().wrap();
      if (point !== undefined) {
        this.#change({ lat: point.lat, lon: point.lng });
      }
    });
    this.#handle.on("drag", () => {
      const point = this.#handle?.getLngLat();
      if (point !== undefined && this.#view !== null) {
        this.#change({ heading_deg: bearingTo(this.#view, { lat: point.lat, lon: point.lng }) });
      }
    });
    map.on("zoom", this.#place);
    this.#place();
  }

  /** Show another state, such as one that was typed. */
  move(view: SelectedView): void {
    this.#view = view;
    this.#place();
  }

  dispose(): void {
    this.#isDisposed = true;
    this.#map.map?.off("zoom", this.#place);
    this.#position?.remove();
    this.#handle?.remove();
  }

  #change(change: Partial<SelectedView>): void {
    if (this.#view !== null) {
      this.#view = { ...this.#view, ...change };
      this.#place();
      this.#onMove(this.#view);
    }
  }

  readonly #place = (): void => {
    const map = this.#map.map;
    const view = this.#view;
    if (map === null || view === null) {
      return;
    }
    this.#position?.setLngLat([view.lon, view.lat]);
    const radiusM = viewRadiusPx * metersPerPixel(view.lat, map.getZoom());
    this.#handle?.setLngLat(moveBy(view, radiusM, view.heading_deg ?? 0));
    this.#handle?.getElement().classList.toggle("unset", view.heading_deg === null);
  };
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
