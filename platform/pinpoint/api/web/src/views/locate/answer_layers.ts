/** An answer on the map: regions, candidates, evidence, the finding, and what the photo claims. */

import type { AppContext } from "../../context";
import { LayerGroup } from "../../map/layers";
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
  const group = new LayerGroup(map, "locate");
  const setFeatures = (source: string, features: MapFeature[]) =>
    group.setData(source, { type: "FeatureCollection", features });
  const setHover = (hover: boolean) => {
    const feature = images.find(({ properties }) => properties["image_id"] === emphasized);
    if (feature !== undefined) {
      group.setFeatureState("images", feature.id, { hover });
    }
  };
  for (const source of ["regions", "links", "images", "points"]) {
    group.addSource(source, { type: "geojson", data: { type: "FeatureCollection", features: [] } });
  }
  for (const [id, source, type, paint, role] of listLayers()) {
    const filter = role ? { filter: ["==", ["get", "role"], role] } : {};
    group.addLayer({ id, source, type, paint, ...filter } as never, { above: role !== null });
  }
  for (const layer of ["evidence", "candidate"]) {
    const readId = (event: { features?: { properties?: Paint }[] }) =>
      String(event.features?.[0]?.properties?.["image_id"]);
    group.showPointer(layer);
    group.on("mousemove", layer, (event) => onHover(readId(event)));
    group.on("mouseleave", layer, () => onHover(null));
    group.on("click", layer, (event) => onSelect(readId(event)));
  }
  const themes = new MutationObserver(() => {
    for (const [id, , , paint] of listLayers()) {
      for (const [name, value] of Object.entries(paint)) {
        map.map?.setPaintProperty(group.fullId(id), name as never, value as never);
      }
    }
  });
  themes.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  return {
    show: (answer) => {
      if (answer !== shown) {
        [shown, emphasized, images] = [answer, null, makeImages(answer)];
        setFeatures("regions", makeRegions(answer));
        setFeatures("images", images);
        setFeatures("points", makePoints(answer));
        setFeatures("links", []);
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
        setFeatures("links", makeLinks(shown, imageId));
      }
    },
    dispose: () => {
      themes.disconnect();
      group.dispose();
    },
  };
}

/** Layers from bottom to top, in the page's colors: id, source, type, paint, role of the features. */
function listLayers(): [string, string, string, Paint, string | null][] {
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
  return [
    ["regions", "regions", "fill", { "fill-color": answer, "fill-opacity": byWidth(0.1, 0.18) }, null],
    ["outlines", "regions", "line", { "line-color": answer, "line-width": byWidth(1.2, 2) }, null],
    ["links", "links", "line", { "line-color": kind, "line-width": 1.5 }, null],
    ["evidence", "images", "circle", image(hovered(9, 4.5)), "evidence"],
    ["candidate", "images", "circle", image(hovered(13, ["+", 6.5, ["*", 7, weight]])), "candidate"],
    ["claim", "points", "circle", ring(10, text), "claim"],
    ["guess", "points", "circle", ring(8, answer), "guess"],
    ["halo", "points", "circle", ring(15, answer), "finding"],
    ["finding", "points", "circle", circle(answer, 8, background, 3), "finding"],
  ];
}
