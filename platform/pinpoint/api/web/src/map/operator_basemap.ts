/**
 * The operator's background map: a MapLibre style, a PMTiles archive, or both.
 *
 * The server's settings decide, never the URL of the page. A style reads the archive from
 * `pmtiles://operator`.
 */

import { addProtocol, type LayerSpecification, type StyleSpecification } from "maplibre-gl";
import type { Theme } from "./basemap";

interface OperatorBasemap {
  style: string | null;
  tiles: string | null;
}

const sourceId = "operator";
const sourceUrl = `pmtiles://${sourceId}`;
/** Type of vector tiles in the header of an archive (PMTiles version 3). */
const vectorTiles = 1;

let archive: Promise<boolean> | null = null;

/** Load the operator's style, or the URL of one on an allowed host; null if there is none. */
export async function loadOperatorStyle(theme: Theme): Promise<StyleSpecification | string | null> {
  const { style, tiles } = await fetchJson<OperatorBasemap>("web/basemap/operator/map.json");
  if (tiles !== null) {
    archive ??= openArchive(resolve(tiles));
    const isVector = await archive;
    if (style === null) {
      return isVector ? makeVectorStyle(theme) : rasterStyle;
    }
  }
  return style === null ? null : resolve(style);
}

/** Make the archive known to MapLibre; returns whether it has vector tiles. */
async function openArchive(url: string): Promise<boolean> {
  const { FetchSource, PMTiles, Protocol } = await import("pmtiles");
  const source = new FetchSource(url);
  // The name by which a style refers to the archive, whatever the address of the server is.
  source.getKey = () => sourceId;
  const tiles = new PMTiles(source);
  const protocol = new Protocol({ metadata: true });
  protocol.add(tiles);
  addProtocol("pmtiles", protocol.tile);
  return (await tiles.getHeader()).tileType === vectorTiles;
}

/** Style of an archive with the layers of Protomaps; labels are drawn with fonts of the system. */
async function makeVectorStyle(theme: Theme): Promise<StyleSpecification> {
  const { layers, namedFlavor } = await import("@protomaps/basemaps");
  return {
    version: 8,
    sources: { [sourceId]: { type: "vector", url: sourceUrl } },
    layers: layers(sourceId, namedFlavor(theme), { lang: navigator.language.slice(0, 2) })
      .map(withoutIcon)
      .filter((layer) => layer !== null),
  };
}

/** A layer without its icon, since there are no icon files; null if nothing is left of it. */
function withoutIcon(layer: LayerSpecification): LayerSpecification | null {
  if (layer.type !== "symbol" || layer.layout?.["icon-image"] === undefined) {
    return layer;
  }
  const { "icon-image": _, ...layout } = layer.layout;
  return layout["text-field"] === undefined ? null : { ...layer, layout };
}

const rasterStyle: StyleSpecification = {
  version: 8,
  sources: { [sourceId]: { type: "raster", url: sourceUrl, tileSize: 256 } },
  layers: [{ id: sourceId, type: "raster", source: sourceId }],
};

function resolve(url: string): string {
  return new URL(url, document.baseURI).href;
}

async function fetchJson<T>(path: string): Promise<T> {
  const response = await fetch(resolve(path), { credentials: "omit" });
  if (!response.ok) {
    throw new Error(`${path}: ${response.status}`);
  }
  return (await response.json()) as T;
}
