/** Error map: the queries of an evaluation on the map, colored by the distance of the answer. */

import type { MapView } from "../../map/map_view";
import { type LayerGroup, createLayerGroup } from "../../map/layers";
import type { Report } from "./reports";

/** Upper ends of the steps in km; colors that people with color blindness can tell apart. */
export const errorSteps = [1, 25, 200] as const;
export const errorColors = ["#1a7f5a", "#56a0d3", "#e0a100", "#c0392b"] as const;

/** Show the queries; the caller disposes of the group. */
export function showErrors(map: MapView, errors: NonNullable<Report["errors"]>): LayerGroup {
  const group = createLayerGroup(map, "quality");
  group.setFeatures(
    "errors",
    errors.map(({ lat, lon, error_km }) => ({
      type: "Feature",
      geometry: { type: "Point", coordinates: [lon, lat] },
      properties: { error_km },
    })),
  );
  const steps = errorSteps.flatMap((step, index) => [step, errorColors[index + 1]]);
  group.addLayers(() => [
    [
      "errors",
      "errors",
      "circle",
      {
        "circle-radius": ["interpolate", ["linear"], ["zoom"], 0, 3, 10, 6],
        "circle-stroke-width": 1,
        "circle-stroke-color": "#ffffff",
        "circle-color": ["step", ["get", "error_km"], errorColors[0], ...steps],
      },
    ],
  ]);
  return group;
}
