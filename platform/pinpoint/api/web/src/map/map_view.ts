/** The map: basemap, light and dark, globe and flat, and its position in the URL. */

import type { Map as MapLibreMap, LngLatBoundsLike, StyleSpecification } from "maplibre-gl";
import type { ApiClient } from "../api_client";
import type { MapPosition, Projection, UrlState } from "../url_state";
import { type Theme, loadBasemap, makePageStyle } from "./basemap";
import { viewPrefix } from "./view_prefix";

const startPosition: MapPosition = { lat: 25, lon: 10, zoom: 1.4 };
const maxZoom = 20;

export interface MapOptions {
  container: HTMLElement;
  client: ApiClient;
  state: UrlState;
  theme: Theme;
  /** The map cannot be drawn, because the browser has no WebGL. */
  onUnsupported(): void;
  /** A part of the basemap could not be loaded. */
  onBasemapError(error: Error): void;
}

type ReadyListener = (map: MapLibreMap) => void;

/**
 * The map of the page. `map` is MapLibre's own object, for what this class does not offer; views add
 * layers with a `LayerGroup`.
 */
export class MapView {
  map: MapLibreMap | null = null;
  #waiting: ReadyListener[] = [];
  #isReady = false;
  #isPrivate = false;
  #theme: Theme;
  readonly #options: MapOptions;

  constructor(options: MapOptions) {
    this.#options = options;
    this.#theme = options.theme;
    options.state.subscribe((state) => {
      this.#setProjection(state.projection);
      this.#follow(state.position);
    });
  }

  /** Load MapLibre and draw the basemap. */
  async start(): Promise<void> {
    const { client, container, state } = this.#options;
    const maplibre = await import("maplibre-gl");
    const start = state.get().position ?? startPosition;
    const style = await this.#loadStyle();
    let map: MapLibreMap;
    try {
      map = new maplibre.Map({
        container,
        style,
        center: [start.lon, start.lat],
        zoom: start.zoom,
        maxZoom,
        attributionControl: { compact: true },
        localIdeographFontFamily: "system-ui, sans-serif",
        dragRotate: false,
        pitchWithRotate: false,
        fadeDuration: prefersReducedMotion() ? 0 : 200,
        transformRequest: (url) => {
          const isApi = url.startsWith(client.resolveUrl("")) && !url.includes("/web/");
          return isApi ? { url, headers: client.authorizationHeaders() } : { url };
        },
      });
    } catch (error) {
      // MapLibre throws if it gets no WebGL context.
      console.warn(error);
      this.#options.onUnsupported();
      return;
    }
    this.map = map;
    map.addControl(new maplibre.NavigationControl({ showCompass: false }), "top-right");
    map.addControl(new maplibre.ScaleControl(), "bottom-left");
    map.touchZoomRotate.disableRotation();
    map.on("style.load", () => this.#setProjection(state.get().projection));
    map.once("style.load", () => this.#becomeReady(map));
    // For measurements: the map has drawn everything that it has.
    map.on("idle", () => performance.mark("map-idle"));
    map.on("moveend", () => this.#storePosition(map));
    map.on("error", (event) => {
      const source = (event as { sourceId?: string }).sourceId ?? "";
      this.#noteError(event.error, source.startsWith(viewPrefix));
    });
  }

  /** Call a function with the map when its style is loaded; at once if it is. */
  whenReady(listener: ReadyListener): void {
    if (this.#isReady && this.map !== null) {
      listener(this.map);
    } else {
      this.#waiting.push(listener);
    }
  }

  get theme(): Theme {
    return this.#theme;
  }

  /** Draw the basemap in light or dark colors; the layers of the views stay. */
  async setTheme(theme: Theme): Promise<void> {
    this.#theme = theme;
    const style = await this.#loadStyle();
    // Unless another theme was chosen in the meantime.
    if (theme === this.#theme) {
      this.map?.setStyle(style, { transformStyle: keepViewLayers });
    }
  }

  /** Show a box `[west, south, east, north]` in degrees, or a position. */
  show(target: LngLatBoundsLike | MapPosition, { maxZoom: limit = 15, padding = 48 } = {}): void {
    this.whenReady((map) => {
      const animate = !prefersReducedMotion();
      if (typeof target === "object" && "zoom" in target) {
        const center: [number, number] = [target.lon, target.lat];
        map.easeTo({ center, zoom: target.zoom, animate });
      } else {
        map.fitBounds(target, { maxZoom: limit, padding, animate });
      }
    });
  }

  /**
   * Keep the map's position out of the URL, because it tells what must not be there (true); or show
   * the position of the URL again (false).
   */
  setPrivate(isPrivate: boolean): void {
    this.#isPrivate = isPrivate;
    if (!isPrivate) {
      this.map?.stop();
      this.#follow(this.#options.state.get().position ?? startPosition);
    }
  }

  /** Id of the basemap's lowest layer of labels; views draw below it. */
  firstLabelLayer(): string | undefined {
    const layers = this.map?.getStyle().layers ?? [];
    return layers.find((layer) => layer.type === "symbol" && !layer.id.startsWith(viewPrefix))?.id;
  }

  /** The basemap; the page's own one if the operator's cannot be loaded. */
  async #loadStyle(): Promise<StyleSpecification | string> {
    try {
      return await loadBasemap(this.#theme);
    } catch (error) {
      this.#options.onBasemapError(error as Error);
      return makePageStyle(this.#theme);
    }
  }

  #becomeReady(map: MapLibreMap): void {
    this.#isReady = true;
    for (const listener of this.#waiting.splice(0)) {
      listener(map);
    }
  }

  #setProjection(projection: Projection): void {
    const type = projection === "globe" ? "globe" : "mercator";
    if (this.map?.getProjection()?.type !== type && this.map?.isStyleLoaded() !== undefined) {
      this.map.setProjection({ type });
    }
  }

  /** Back and forward move the map as well. */
  #follow(position: MapPosition | null): void {
    if (this.map === null || position === null || this.#isPrivate) {
      return;
    }
    const shown = readPosition(this.map);
    const isSame =
      Math.abs(shown.zoom - position.zoom) < 0.01 &&
      Math.abs(shown.lat - position.lat) < 1e-5 &&
      Math.abs(shown.lon - position.lon) < 1e-5;
    if (!isSame && !this.map.isMoving()) {
      this.map.jumpTo({ center: [position.lon, position.lat], zoom: position.zoom });
    }
  }

  #storePosition(map: MapLibreMap): void {
    if (this.#isPrivate) {
      return;
    }
    this.#options.state.set({ position: readPosition(map) }, { replace: true });
  }

  /** Errors of a view's tiles are the view's own; it tells the user itself. */
  #noteError(cause: { message: string }, isOfView: boolean): void {
    const error = cause as Error & { status?: number };
    if (error.status === 401) {
      this.#options.client.signOut();
    } else if (error.name !== "AbortError" && !isOfView) {
      this.#options.onBasemapError(error);
    }
  }
}

/** Whether the user wants no animations. */
export function prefersReducedMotion(): boolean {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

function readPosition(map: MapLibreMap): MapPosition {
  const { lat, lng } = map.getCenter().wrap();
  return { lat: round(lat, 5), lon: round(lng, 5), zoom: round(map.getZoom(), 2) };
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}

/** The next style with the sources and layers that views have added to the previous one. */
function keepViewLayers(
  previous: StyleSpecification | undefined,
  next: StyleSpecification,
): StyleSpecification {
  if (previous === undefined) {
    return next;
  }
  const sources = Object.fromEntries(
    Object.entries(previous.sources).filter(([id]) => id.startsWith(viewPrefix)),
  );
  const isOfView = (layer: { id: string }) => layer.id.startsWith(viewPrefix);
  const viewLayers = previous.layers.filter(isOfView);
  const above = previous.layers.findLastIndex((layer) => !isOfView(layer));
  const below = viewLayers.filter((layer) => previous.layers.indexOf(layer) < above);
  const label = next.layers.findIndex((layer) => layer.type === "symbol");
  const split = label < 0 ? next.layers.length : label;
  return {
    ...next,
    sources: { ...next.sources, ...sources },
    layers: [
      ...next.layers.slice(0, split),
      ...below,
      ...next.layers.slice(split),
      ...viewLayers.filter((layer) => !below.includes(layer)),
    ],
  };
}
