/** An answer on the map: regions, candidates, evidence, the finding, and what the photo claims. */

import type { AppContext } from "../../context";
import { LayerGroup } from "../../map/layers";
import type { Answer, LatLon } from "./answer_types";

type Feature = {
  type: "Feature";
  id: number;
  properties: Record<string, string | number>;
  geometry: { type: string; coordinates: unknown };
};

export type HoverListener = (imageId: string | null) => void;

const kindColor = (theme: "light" | "dark") =>
  theme === "dark" ? { photo: "#62aef0", street: "#f2994a" } : { photo: "#1f6fb4", street: "#b85c00" };
const answerColor = (theme: "light" | "dark") => (theme === "dark" ? "#f08bc1" : "#8a1253");

/** Draws one answer at a time. A hovered or focused image is emphasized on the map and in the list. */
export class AnswerLayers {
  readonly #context: AppContext;
  readonly #group: LayerGroup;
  #ids = new Map<string, number[]>();
  #emphasized: string | null = null;

  constructor(context: AppContext, onHover: HoverListener) {
    this.#context = context;
    this.#group = new LayerGroup(context.map, "locate");
    this.#addLayers();
    for (const layer of ["evidence", "candidates"]) {
      this.#group.showPointer(layer);
      this.#group.on("mousemove", layer, (event) => {
        const id: unknown = event.features?.[0]?.properties?.["image_id"];
        onHover(typeof id === "string" ? id : null);
      });
      this.#group.on("mouseleave", layer, () => onHover(null));
    }
  }

  /** Show an answer and move the map to it; null shows nothing. */
  show(answer: Answer | null): void {
    this.#emphasized = null;
    const { regions, images, points, ids } = makeFeatures(answer);
    this.#ids = ids;
    this.#setFeatures("regions", regions);
    this.#setFeatures("images", images);
    this.#setFeatures("points", points);
    const box = answer === null ? null : computeBox(answer);
    if (box !== null) {
      this.#context.map.show(box);
    }
  }

  emphasize(imageId: string | null): void {
    if (imageId === this.#emphasized) {
      return;
    }
    this.#setHover(this.#emphasized, false);
    this.#emphasized = imageId;
    this.#setHover(imageId, true);
  }

  dispose(): void {
    this.#group.dispose();
  }

  #setHover(imageId: string | null, hover: boolean): void {
    for (const id of imageId === null ? [] : (this.#ids.get(imageId) ?? [])) {
      this.#group.setFeatureState("images", id, { hover });
    }
  }

  #setFeatures(source: string, features: Feature[]): void {
    this.#group.setData(source, { type: "FeatureCollection", features } as never);
  }

  #addLayers(): void {
    const empty = { type: "FeatureCollection" as const, features: [] };
    for (const source of ["regions", "images", "points"]) {
      this.#group.addSource(source, { type: "geojson", data: empty });
    }
    const { theme } = this.#context.map;
    const colors = kindColor(theme);
    const answer = answerColor(theme);
    const kind = ["match", ["get", "kind"], "photo", colors.photo, colors.street] as never;
    const hover = (on: number, off: unknown) =>
      ["case", ["boolean", ["feature-state", "hover"], false], on, off] as never;
    this.#group.addLayer({
      id: "regions",
      type: "fill",
      source: "regions",
      paint: { "fill-color": answer, "fill-opacity": 0.16 },
    });
    this.#group.addLayer({
      id: "region-outlines",
      type: "line",
      source: "regions",
      paint: { "line-color": answer, "line-width": 1.5 },
    });
    const circle = (id: string, role: string, radius: unknown) =>
      this.#group.addLayer(
        {
          id,
          type: "circle",
          source: "images",
          filter: ["==", ["get", "role"], role],
          paint: {
            "circle-color": kind,
            "circle-radius": hover(12, radius),
            "circle-stroke-color": "#ffffff",
            "circle-stroke-width": hover(3, 1.2),
          },
        },
        { above: true },
      );
    circle("evidence", "evidence", 4);
    circle("candidates", "candidate", ["+", 6, ["*", 8, ["sqrt", ["get", "weight"]]]]);
    this.#group.addLayer(
      {
        id: "claims",
        type: "circle",
        source: "points",
        filter: ["==", ["get", "role"], "claim"],
        paint: {
          "circle-color": "rgba(0, 0, 0, 0)",
          "circle-radius": 9,
          "circle-stroke-color": theme === "dark" ? "#e9edf1" : "#1b2027",
          "circle-stroke-width": 2.5,
        },
      },
      { above: true },
    );
    this.#group.addLayer(
      {
        id: "answer",
        type: "circle",
        source: "points",
        filter: ["==", ["get", "role"], "answer"],
        paint: {
          "circle-color": answer,
          "circle-radius": 8,
          "circle-stroke-color": "#ffffff",
          "circle-stroke-width": 3,
        },
      },
      { above: true },
    );
  }
}

/** Features of an answer; an image that supports several candidates is drawn once. */
export function makeFeatures(answer: Answer | null): {
  regions: Feature[];
  images: Feature[];
  points: Feature[];
  ids: Map<string, number[]>;
} {
  const regions: Feature[] = [];
  const images: Feature[] = [];
  const points: Feature[] = [];
  const ids = new Map<string, number[]>();
  if (answer === null) {
    return { regions, images, points, ids };
  }
  const isWithheld = answer.abstention_reason !== null;
  for (const region of isWithheld ? [] : (answer.posterior?.credible_regions ?? [])) {
    regions.push({
      type: "Feature",
      id: regions.length,
      properties: { probability: region.probability },
      geometry: region.geometry,
    });
  }
  const seen = new Set(answer.candidates.map(({ image_id }) => image_id));
  const addImage = (image: LatLon & { image_id: string; source_kind: string }, role: string, weight: number) => {
    const id = images.length + 1;
    ids.set(image.image_id, [...(ids.get(image.image_id) ?? []), id]);
    images.push({
      type: "Feature",
      id,
      properties: { role, kind: image.source_kind, image_id: image.image_id, weight },
      geometry: makePoint(image),
    });
  };
  for (const candidate of answer.candidates) {
    for (const evidence of candidate.evidence) {
      if (!seen.has(evidence.image_id)) {
        seen.add(evidence.image_id);
        addImage(evidence, "evidence", 0);
      }
    }
  }
  for (const candidate of answer.candidates) {
    addImage(candidate, "candidate", candidate.weight);
  }
  if (answer.point !== null && !isWithheld) {
    points.push({ type: "Feature", id: 0, properties: { role: "answer" }, geometry: makePoint(answer.point) });
  }
  for (const claim of answer.claims) {
    if (claim.point !== null) {
      points.push({
        type: "Feature",
        id: points.length,
        properties: { role: "claim" },
        geometry: makePoint(claim.point),
      });
    }
  }
  return { regions, images, points, ids };
}

function makePoint({ lat, lon }: LatLon): { type: string; coordinates: [number, number] } {
  return { type: "Point", coordinates: [lon, lat] };
}

/**
 * Box `[west, south, east, north]` of the smallest region and the finding; without them, of the first
 * candidates. The 90 % region is often spread over several countries. Longitudes are taken relative to the finding, so that a box across ±180° stays small.
 */
export function computeBox(answer: Answer): [number, number, number, number] | null {
  const center = answer.point ?? answer.candidates[0];
  if (center === undefined) {
    return null;
  }
  const all = answer.abstention_reason === null ? (answer.posterior?.credible_regions ?? []) : [];
  const regions = [...all].sort((a, b) => a.area_km2 - b.area_km2).slice(0, 1);
  const positions: [number, number][] = [[center.lon, center.lat]];
  for (const { geometry } of regions) {
    const polygons = geometry.type === "Polygon" ? [geometry.coordinates] : geometry.coordinates;
    positions.push(...polygons.flatMap((rings) => rings[0] ?? []));
  }
  for (const { lat, lon } of answer.candidates.slice(0, regions.length > 0 ? 0 : 5)) {
    positions.push([lon, lat]);
  }
  let [west, south, east, north] = [0, center.lat, 0, center.lat];
  for (const [lon, lat] of positions) {
    const offset = ((((lon - center.lon + 180) % 360) + 360) % 360) - 180;
    west = Math.min(west, offset);
    east = Math.max(east, offset);
    south = Math.min(south, lat);
    north = Math.max(north, lat);
  }
  return [center.lon + west, south, center.lon + east, north];
}
