/** Sources and layers that a view adds to the map, and their removal. */

import type {
  AddLayerObject,
  GeoJSONSource,
  MapLayerEventType,
  Map as MapLibreMap,
  SourceSpecification,
} from "maplibre-gl";
import type { MapView } from "./map_view";
import { viewPrefix } from "./view_prefix";

type LayerListener<Event extends keyof MapLayerEventType> = (event: MapLayerEventType[Event]) => void;

/**
 * A layer: id, source, type, paint, and its other members. `above` puts it over the labels of the
 * basemap.
 */
export type LayerRow = readonly [
  id: string,
  source: string,
  type: "circle" | "fill" | "line",
  paint: Readonly<Record<string, unknown>>,
  rest?: { above?: boolean; filter?: unknown; minzoom?: number; maxzoom?: number; "source-layer"?: string },
];

export type LayerGroup = ReturnType<typeof createLayerGroup>;

/**
 * Sources, layers and listeners of one view. Their ids on the map are `view:<name>:<id>`.
 *
 * Calls before the style is loaded wait for it, so that a view need not.
 */
export function createLayerGroup(view: MapView, name: string) {
  const cleanups: (() => void)[] = [];
  const sources: string[] = [];
  const layers: string[] = [];
  let listLayers = (): LayerRow[] => [];
  let isDisposed = false;

  const fullId = (id: string) => `${viewPrefix}${name}:${id}`;
  const run = (action: (map: MapLibreMap) => void) =>
    view.whenReady((map) => {
      if (!isDisposed) {
        action(map);
      }
    });
  /** Paint the layers again, because colors or data have changed. */
  const paint = () =>
    run((map) => {
      for (const [id, , , properties] of listLayers()) {
        for (const [property, value] of Object.entries(map.getLayer(fullId(id)) ? properties : {})) {
          map.setPaintProperty(fullId(id), property as never, value as never);
        }
      }
    });
  const themes = new MutationObserver(paint);
  /** Listen to events of a layer's features, such as `click` or `mousemove`. */
  const on = <Event extends keyof MapLayerEventType>(event: Event, layer: string, listener: LayerListener<Event>) => {
    const id = fullId(layer);
    view.map?.on(event, id, listener);
    cleanups.push(() => view.map?.off(event, id, listener));
  };

  return {
    /** Id on the map of one of this group's sources or layers. */
    fullId,
    paint,
    on,
    addSource: (id: string, source: SourceSpecification) =>
      run((map) => {
        sources.push(fullId(id));
        map.addSource(fullId(id), source);
      }),
    /** Add layers over the basemap and under its labels; they follow the colors of the page. */
    addLayers: (list: () => LayerRow[]) => {
      listLayers = list;
      run((map) => {
        for (const [id, source, type, properties, { above = false, ...rest } = {}] of list()) {
          layers.push(fullId(id));
          const layer = { id: fullId(id), source: fullId(source), type, paint: properties, ...rest };
          map.addLayer(layer as AddLayerObject, above ? undefined : view.firstLabelLayer());
        }
      });
      themes.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    },
    /** Replace the features of a source, which is added at the first call. */
    setFeatures: (id: string, features: readonly GeoJSON.Feature[]) =>
      run((map) => {
        const data: GeoJSON.FeatureCollection = { type: "FeatureCollection", features: [...features] };
        const source = map.getSource<GeoJSONSource>(fullId(id));
        if (source === undefined) {
          sources.push(fullId(id));
          map.addSource(fullId(id), { type: "geojson", data });
        } else {
          source.setData(data);
        }
      }),
    /** Replace the URLs of the tiles of a vector source. */
    setTiles: (id: string, tiles: string[]) =>
      run((map) => (map.getSource(fullId(id)) as { setTiles?(urls: string[]): void } | undefined)?.setTiles?.(tiles)),
    setVisible: (id: string, visible: boolean) =>
      run((map) => map.setLayoutProperty(fullId(id), "visibility", visible ? "visible" : "none")),
    /** Set a state, such as `hover`, that the style of a layer reads with `feature-state`. */
    setFeatureState: (source: string, id: string | number, state: Record<string, unknown>) =>
      run((map) => map.setFeatureState({ source: fullId(source), id }, state)),
    /** Show the pointer of a link over the features of a layer. */
    showPointer: (layer: string) => {
      const setCursor = (cursor: string) => view.map?.getCanvas().style.setProperty("cursor", cursor);
      on("mouseenter", layer, () => setCursor("pointer"));
      on("mouseleave", layer, () => setCursor(""));
      cleanups.push(() => setCursor(""));
    },
    /** Remove everything of the group from the map. */
    dispose: () => {
      isDisposed = true;
      themes.disconnect();
      cleanups.forEach((cleanup) => cleanup());
      const { map } = view;
      for (const id of layers.filter((layer) => map?.getLayer(layer))) {
        map?.removeLayer(id);
      }
      for (const id of sources.filter((source) => map?.getSource(source))) {
        map?.removeSource(id);
      }
    },
  };
}
