/** Colors of the map's layers, from the custom properties of the page. */

import type { MapLayerChoice } from "./filters";

/** Smallest number of images of each class of cells, and the opacity of its color. */
export const cellClasses: readonly (readonly [number, number])[] = [
  [1, 0.3],
  [10, 0.45],
  [100, 0.6],
  [1_000, 0.75],
  [10_000, 0.9],
];

/** Color of a custom property such as `--color-street`. */
export function readColor(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim() || "#3f6fb5";
}

export function chooseCellColor(show: MapLayerChoice): string {
  const names = { all: "--gallery-cells", photo: "--color-internet", street: "--color-street", gaps: "--color-internet" };
  return readColor(names[show]);
}
