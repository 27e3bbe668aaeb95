/** Style of the background map: files of this origin, or what the operator has set instead. */

import type { ExpressionSpecification, LayerSpecification, StyleSpecification } from "maplibre-gl";
import { loadOperatorStyle } from "./operator_basemap";

export type Theme = "light" | "dark";

interface Palette {
  water: string;
  land: string;
  border: string;
  text: string;
  halo: string;
}

const palettes: Record<Theme, Palette> = {
  light: { water: "#c9dcea", land: "#f6f4ee", border: "#a9a39a", text: "#3b3f45", halo: "#ffffff" },
  dark: { water: "#16212c", land: "#26303a", border: "#55606c", text: "#d5dbe2", halo: "#16212c" },
};

const attribution = "Natural Earth, GeoNames";
const landParts = ["land-0", "land-1", "land-2"];

/** The operator's style or its URL; without one, the style of the page's own files. */
export async function loadBasemap(theme: Theme): Promise<StyleSpecification | string> {
  return (await loadOperatorStyle(theme)) ?? makePageStyle(theme);
}

/** Style of the page's own files. */
export function makePageStyle(theme: Theme): StyleSpecification {
  const colors = palettes[theme];
  const geojson = (name: string) => ({
    type: "geojson" as const,
    data: new URL(`web/basemap/${name}.json`, document.baseURI).href,
    attribution,
    tolerance: 0.5,
  });
  const names = [...landParts, "lakes", "boundaries", "countries", "cities-0"];
  return {
    version: 8,
    sources: Object.fromEntries(names.map((name) => [name, geojson(name)])),
    layers: [
      { id: "water", type: "background", paint: { "background-color": colors.water } },
      ...landParts.map((id): LayerSpecification => fill(id, colors.land)),
      fill("lakes", colors.water),
      {
        id: "boundaries",
        type: "line",
        source: "boundaries",
        paint: { "line-color": colors.border, "line-width": byZoom([1, 0.5], [8, 1.5]) },
      },
      ...labelLayers(colors),
    ],
  };
}

function fill(source: string, color: string): LayerSpecification {
  return { id: source, type: "fill", source, paint: { "fill-color": color } };
}

function labelLayers(colors: Palette): LayerSpecification[] {
  const paint = { "text-color": colors.text, "text-halo-color": colors.halo, "text-halo-width": 1.2 };
  return [
    {
      id: "city-names",
      type: "symbol",
      source: "cities-0",
      minzoom: 3,
      layout: {
        "text-field": ["get", "name"],
        "text-size": byZoom([3, 10], [10, 14]),
        "symbol-sort-key": ["-", 0, ["get", "population"]],
      },
      paint,
    },
    {
      id: "country-names",
      type: "symbol",
      source: "countries",
      maxzoom: 6,
      layout: {
        "text-field": ["get", "name"],
        "text-size": byZoom([1, 10], [5, 15]),
        "text-transform": "uppercase",
        "text-letter-spacing": 0.08,
        "text-max-width": 7,
        "symbol-sort-key": ["-", 0, ["get", "area"]],
      },
      paint,
    },
  ];
}

/** Linear interpolation between values at zoom levels. */
function byZoom(...stops: [number, number][]): ExpressionSpecification {
  return ["interpolate", ["linear"], ["zoom"], ...stops.flat()] as ExpressionSpecification;
}
