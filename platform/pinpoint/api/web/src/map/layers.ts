/** Sources and layers that a view adds to the map, and their removal. */

import type {
  AddLayerObject,
  FilterSpecification,
  GeoJSONSource,
  MapLayerEventType,
  SourceSpecification,
} from "maplibre-gl";
import type { MapView } from "./map_view";

type GeoJsonData = Parameters<GeoJSONSource["setData"]>[0];
type LayerListener<Event extends keyof MapLayerEventType> = (event: MapLayerEventType[Event]) => void;

/** Sources and layers whose id has this prefix belong to a view and survive a change of the style. */
export const viewPrefix = "view:";

/**
 * Sources, layers and listeners of one view. Their ids on the map are `view:<name>:<id>`.
 *
 * Calls before the style is loaded wait for it, so that a view need not.
 */
export class LayerGroup {
  readonly #view: MapView;
  readonly #prefix: string;
  readonly #sources = new Set<string>();
  readonly #layers: string[] = [];
  readonly #cleanups: (() => void)[] = [];
  #disposed = false;

  constructor(view: MapView, name: string) {
    this.#view = view;
    this.#prefix = `${viewPrefix}${name}:`;
  }

  /** Id on the map of one of this group's sources or layers. */
  fullId(id: string): string {
    return this.#prefix + id;
  }

  /** Add a source, such as `{type: "geojson", data}` or `{type: "vector", tiles: [...]}`. */
  addSource(id: string, source: SourceSpecification): void {
    this.#run((map) => {
      this.#sources.add(this.fullId(id));
      map.addSource(this.fullId(id), source);
    });
  }

  /**
   * Add a layer over the basemap and under its labels, in the order of the calls. `layer.source` is
   * the id of this group's source; `above` puts the layer over the labels.
   */
  addLayer(layer: AddLayerObject, { above = false } = {}): void {
    this.#run((map) => {
      const source = "source" in layer && typeof layer.source === "string";
      const added = {
        ...layer,
        id: this.fullId(layer.id),
        ...(source ? { source: this.fullId(layer.source as string) } : {}),
      } as AddLayerObject;
      this.#layers.push(added.id);
      map.addLayer(added, above ? undefined : this.#view.firstLabelLayer());
    });
  }

  /** Replace the features of a GeoJSON source. */
  setData(id: string, data: GeoJsonData): void {
    this.#run((map) => map.getSource<GeoJSONSource>(this.fullId(id))?.setData(data));
  }

  /** Replace the URLs of the tiles of a vector source. */
  setTiles(id: string, tiles: string[]): void {
    this.#run((map) => {
      const source = map.getSource(this.fullId(id));
      if (source !== undefined && "setTiles" in source) {
        (source as { setTiles(urls: string[]): void }).setTiles(tiles);
      }
    });
  }

  setFilter(id: string, filter: FilterSpecification | null): void {
    this.#run((map) => map.setFilter(this.fullId(id), filter));
  }

  setVisible(id: string, visible: boolean): void {
    const value = visible ? "visible" : "none";
    this.#run((map) => map.setLayoutProperty(this.fullId(id), "visibility", value));
  }

  /** Set a state (`hover`, `selected`) that the style of a layer reads with `feature-state`. */
  setFeatureState(
    source: string,
    feature: string | number,
    state: Record<string, unknown>,
    sourceLayer?: string,
  ): void {
    const target = { source: this.fullId(source), id: feature };
    this.#run((map) =>
      map.setFeatureState(sourceLayer === undefined ? target : { ...target, sourceLayer }, state),
    );
  }

  /** Listen to events of a layer's features, such as `click` or `mousemove`. */
  on<Event extends keyof MapLayerEventType>(
    event: Event,
    layer: string,
    listener: LayerListener<Event>,
  ): void {
    const id = this.fullId(layer);
    this.#view.map?.on(event, id, listener);
    this.#cleanups.push(() => this.#view.map?.off(event, id, listener));
  }

  /** Show the pointer of a link over the features of a layer. */
  showPointer(layer: string): void {
    const setCursor = (cursor: string) => {
      const canvas = this.#view.map?.getCanvas();
      canvas?.style.setProperty("cursor", cursor);
    };
    this.on("mouseenter", layer, () => setCursor("pointer"));
    this.on("mouseleave", layer, () => setCursor(""));
    this.#cleanups.push(() => setCursor(""));
  }

  /** Remove everything of the group from the map. */
  dispose(): void {
    this.#disposed = true;
    for (const cleanup of this.#cleanups.splice(0)) {
      cleanup();
    }
    const map = this.#view.map;
    for (const id of this.#layers.splice(0).reverse()) {
      if (map?.getLayer(id)) {
        map.removeLayer(id);
      }
    }
    for (const id of this.#sources) {
      if (map?.getSource(id)) {
        map.removeSource(id);
      }
    }
    this.#sources.clear();
  }

  #run(action: (map: NonNullable<MapView["map"]>) => void): void {
    this.#view.whenReady((map) => {
      if (!this.#disposed) {
        action(map);
      }
    });
  }
}
