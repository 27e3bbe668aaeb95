/** An answer on the map: regions, candidates, evidence, the finding, and what the photo claims. */

import type { AppContext } from "../../context";
import { LayerGroup } from "../../map/layers";
import { readColor } from "../gallery/palette";
import { type MapFeature, computeBox, makeFeatures, makeLinks } from "./answer_features";
import type { Answer } from "./answer_types";

const sources = ["regions", "links", "images", "points"] as const;
const imageLayers = ["evidence", "candidates"] as const;

type Source = (typeof sources)[number];
type Paint = Record<string, unknown>;

export interface AnswerLayersOptions {
  /** The pointer is over the marker of an image; null when it leaves. */
  onHover(imageId: string | null): void;
  /** The marker of an image was clicked. */
  onSelect(imageId: string): void;
}

/** Draws one answer at a time. The map's position stays out of the URL: it would tell the answer. */
export class AnswerLayers {
  readonly #context: AppContext;
  readonly #group: LayerGroup;
  readonly #themes: MutationObserver;
  #answer: Answer | null = null;
  #ids = new Map<string, number>();
  #emphasized: string | null = null;

  constructor(context: AppContext, options: AnswerLayersOptions) {
    this.#context = context;
    this.#group = new LayerGroup(context.map, "locate");
    context.map.setPrivate(true);
    for (const source of sources) {
      this.#group.addSource(source, { type: "geojson", data: makeCollection([]) });
    }
    for (const [id, source, type, paint, filter] of listLayers()) {
      const layer = { id, source, type, paint, ...(filter === null ? {} : { filter }) } as never;
      this.#group.addLayer(layer, { above: source === "images" || source === "points" });
    }
    for (const layer of imageLayers) {
      this.#listen(layer, options);
    }
    this.#themes = new MutationObserver(() => this.#paint());
    this.#themes.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  /** Show an answer, and move the map to it if it is another one; null shows nothing. */
  show(answer: Answer | null): void {
    if (answer === this.#answer) {
      return;
    }
    this.#answer = answer;
    this.#emphasized = null;
    const { ids, ...features } = makeFeatures(answer);
    this.#ids = ids;
    this.#setFeatures("regions", features.regions);
    this.#setFeatures("images", features.images);
    this.#setFeatures("points", features.points);
    this.#setFeatures("links", []);
    const box = answer === null ? null : computeBox(answer);
    if (box !== null) {
      this.#context.map.show(box, { padding: 72 });
    }
  }

  /** Emphasize an image, and link a candidate with its evidence. */
  emphasize(imageId: string | null): void {
    if (imageId === this.#emphasized) {
      return;
    }
    this.#setHover(this.#emphasized, false);
    this.#emphasized = imageId;
    this.#setHover(imageId, true);
    this.#setFeatures("links", makeLinks(this.#answer, imageId));
  }

  dispose(): void {
    this.#themes.disconnect();
    this.#group.dispose();
    this.#context.map.setPrivate(false);
  }

  #listen(layer: (typeof imageLayers)[number], { onHover, onSelect }: AnswerLayersOptions): void {
    const readId = (features: { properties?: Record<string, unknown> }[] | undefined) => {
      const id = features?.[0]?.properties?.["image_id"];
      return typeof id === "string" ? id : null;
    };
    this.#group.showPointer(layer);
    this.#group.on("mousemove", layer, (event) => onHover(readId(event.features)));
    this.#group.on("mouseleave", layer, () => onHover(null));
    this.#group.on("click", layer, (event) => {
      const id = readId(event.features);
      if (id !== null) {
        onSelect(id);
      }
    });
  }

  #setHover(imageId: string | null, hover: boolean): void {
    const id = imageId === null ? undefined : this.#ids.get(imageId);
    if (id !== undefined) {
      this.#group.setFeatureState("images", id, { hover });
    }
  }

  #setFeatures(source: Source, features: readonly MapFeature[]): void {
    this.#group.setData(source, makeCollection(features));
  }

  /** The colors of the page have changed. */
  #paint(): void {
    const { map } = this.#context.map;
    for (const [id, , , paint] of listLayers()) {
      for (const [name, value] of Object.entries(paint)) {
        map?.setPaintProperty(this.#group.fullId(id), name as never, value as never);
      }
    }
  }
}

function makeCollection(features: readonly MapFeature[]) {
  return { type: "FeatureCollection" as const, features: [...features] as never[] };
}

/** Layers from bottom to top, in the page's colors: id, source, type, paint, filter. */
function listLayers(): [string, Source, string, Paint, unknown][] {
  const [answer, text, background] = ["--color-answer", "--color-text", "--color-background"].map(readColor);
  const kind = ["match", ["get", "kind"], "photo", readColor("--color-internet"), readColor("--color-street")];
  const hovered = (on: unknown, off: unknown) => ["case", ["boolean", ["feature-state", "hover"], false], on, off];
  const isWide = [">", ["get", "probability"], 0.7];
  const withRole = (...roles: string[]) => ["in", ["get", "role"], ["literal", roles]];
  const circle = (radius: unknown): Paint => ({
    "circle-color": kind,
    "circle-radius": radius,
    "circle-opacity": hovered(1, 0.92),
    "circle-stroke-color": hovered(text, background),
    "circle-stroke-width": hovered(3, 1.5),
  });
  const ring = (radius: number, color: unknown): Paint => ({
    "circle-color": "rgba(0, 0, 0, 0)",
    "circle-radius": radius,
    "circle-stroke-color": color,
    "circle-stroke-width": 2.5,
  });
  return [
    ["regions", "regions", "fill", { "fill-color": answer, "fill-opacity": ["case", isWide, 0.1, 0.18] }, null],
    [
      "region-outlines",
      "regions",
      "line",
      { "line-color": answer, "line-width": ["case", isWide, 1.2, 2], "line-opacity": ["case", isWide, 0.7, 1] },
      null,
    ],
    ["links", "links", "line", { "line-color": kind, "line-width": 1.5, "line-opacity": 0.8 }, null],
    ["evidence", "images", "circle", circle(hovered(9, 4.5)), withRole("evidence")],
    [
      "candidates",
      "images",
      "circle",
      circle(hovered(13, ["+", 6.5, ["*", 7, ["sqrt", ["get", "weight"]]]])),
      withRole("candidate"),
    ],
    ["claims", "points", "circle", ring(10, text), withRole("claim")],
    ["guess", "points", "circle", ring(8, answer), withRole("guess")],
    ["finding-halo", "points", "circle", ring(15, answer), withRole("finding")],
    [
      "finding",
      "points",
      "circle",
      { "circle-color": answer, "circle-radius": 8, "circle-stroke-color": background, "circle-stroke-width": 3 },
      withRole("finding"),
    ],
  ];
}
