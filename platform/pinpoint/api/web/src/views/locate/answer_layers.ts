/** An answer on the map: regions, candidates, evidence, the finding, and what the photo claims. */

import type { AppContext } from "../../context";
import { type LayerRow, createLayerGroup } from "../../map/layers";
import { readColor } from "../gallery/palette";
import { type MapFeature, computeBox, makeImages, makeLinks, makePoints, makeRegions } from "./answer_features";
import type { Answer } from "./answer_types";

type Paint = Record<string, unknown>;

export interface AnswerLayersOptions {
  /** The pointer is over the marker of an image; null when it leaves. */
  onHover(imageId: string | null): void;
  /** The marker of an image was clicked. */
  onSelect(imageId: string): void;
}

export interface AnswerLayers {
  /** Show an answer, and move the map to it if it is another one; null shows nothing. */
  show(answer: Answer | null): void;
  /** Emphasize an image, and link a candidate with its evidence. */
  emphasize(imageId: string | null): void;
  dispose(): void;
}

/** Draws one answer at a time. */
export function createAnswerLayers({ map }: AppContext, { onHover, onSelect }: AnswerLayersOptions): AnswerLayers {
  let shown: Answer | null = null;
  let images: MapFeature[] = [];
  let emphasized: string | null = null;
  const group = createLayerGroup(map, "locate");
  const setHover = (hover: boolean) => {
    const feature = images.find(({ properties }) => properties["image_id"] === emphasized);
    if (feature !== undefined) {
      group.setFeatureState("images", feature.id, { hover });
    }
  };
  for (const source of ["regions", "links", "images", "points"]) {
    group.setFeatures(source, []);
  }
  group.addLayers(listLayers);
  for (const layer of ["evidence", "candidate"]) {
    const readId = (event: { features?: { properties?: Paint }[] }) =>
      String(event.features?.[0]?.properties?.["image_id"]);
    group.showPointer(layer);
    group.on("mousemove", layer, (event) => onHover(readId(event)));
    group.on("mouseleave", layer, () => onHover(null));
    group.on("click", layer, (event) => onSelect(readId(event)));
  }
  return {
    show: (answer) => {
      if (answer !== shown) {
        [shown, emphasized, images] = [answer, null, makeImages(answer)];
        group.setFeatures("regions", makeRegions(answer));
        group.setFeatures("images", images);
        group.setFeatures("points", makePoints(answer));
        group.setFeatures("links", []);
        const box = answer && computeBox(answer);
        if (box !== null) {
          map.show(box, { padding: 72 });
        }
      }
    },
    emphasize: (imageId) => {
      if (imageId !== emphasized) {
        setHover(false);
        emphasized = imageId;
        setHover(true);
        group.setFeatures("links", makeLinks(shown, imageId));
      }
    },
    dispose: group.dispose,
  };
}

/** Layers from bottom to top, in the page's colors. */
function listLayers(): LayerRow[] {
  const answer = readColor("--color-answer");
  const text = readColor("--color-text");
  const background = readColor("--color-background");
  const kind = ["match", ["get", "kind"], "photo", readColor("--color-internet"), readColor("--color-street")];
  const hovered = (on: unknown, off: unknown) => ["case", ["boolean", ["feature-state", "hover"], false], on, off];
  const byWidth = (wide: number, narrow: number) => ["case", [">", ["get", "probability"], 0.7], wide, narrow];
  const circle = (color: unknown, radius: unknown, stroke: unknown, width: unknown): Paint => ({
    "circle-color": color,
    "circle-radius": radius,
    "circle-stroke-color": stroke,
    "circle-stroke-width": width,
  });
  const image = (radius: unknown) => circle(kind, radius, hovered(text, background), hovered(3, 1.5));
  const ring = (radius: number, color: string) => circle("rgba(0, 0, 0, 0)", radius, color, 2.5);
  const weight = ["sqrt", ["get", "weight"]];
  const withRole = (role: string) => ({ above: true, filter: ["==", ["get", "role"], role] });
  return [
    ["regions", "regions", "fill", { "fill-color": answer, "fill-opacity": byWidth(0.1, 0.18) }],
    ["outlines", "regions", "line", { "line-color": answer, "line-width": byWidth(1.2, 2) }],
    ["links", "links", "line", { "line-color": kind, "line-width": 1.5 }],
    ["evidence", "images", "circle", image(hovered(9, 4.5)), withRole("evidence")],
    ["candidate", "images", "circle", image(hovered(13, ["+", 6.5, ["*", 7, weight]])), withRole("candidate")],
    ["claim", "points", "circle", ring(10, text), withRole("claim")],
    ["guess", "points", "circle", ring(8, answer), withRole("guess")],
    ["halo", "points", "circle", ring(15, answer), withRole("finding")],
    ["finding", "points", "circle", circle(answer, 8, background, 3), withRole("finding")],
  ];
}
