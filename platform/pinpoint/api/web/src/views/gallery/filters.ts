/** Filters of the gallery: in the URL of the page, and as query parameters of the API. */

import type { SourceKind } from "./answers";
import { type Outline, formatOutline, parseOutline, toPolygon } from "./areas";

/** What the map shows: cells and points of all images or of one kind, or gaps. */
export type MapLayerChoice = "all" | SourceKind | "gaps";

export interface GalleryFilters {
  readonly show: MapLayerChoice;
  readonly sources: readonly string[];
  readonly creators: readonly string[];
  /** First and last day, `YYYY-MM-DD`, UTC; null is an open end. */
  readonly from: string | null;
  readonly to: string | null;
  readonly area: Outline | null;
}

/** A list of images: of a cell, near a position, or in a box. */
export type ListArea =
  | { readonly type: "cell"; readonly cell: string }
  | { readonly type: "near"; readonly lat: number; readonly lon: number; readonly radiusM: number }
  | { readonly type: "box"; readonly box: readonly [number, number, number, number] };

type Values = Readonly<Record<string, string>>;

const filterNames = ["show", "source", "creator", "from", "to", "area"];

export function parseFilters(values: Values): GalleryFilters {
  const show = values["show"];
  return {
    show: show === "photo" || show === "street" || show === "gaps" ? show : "all",
    sources: parseList(values["source"]),
    creators: parseList(values["creator"]),
    from: parseDay(values["from"]),
    to: parseDay(values["to"]),
    area: parseOutline(values["area"] ?? ""),
  };
}

/** Values for the URL; those of other names stay as they are. */
export function formatFilters(filters: GalleryFilters, values: Values): Record<string, string> {
  const others = Object.entries(values).filter(([name]) => !filterNames.includes(name));
  const formatted = {
    show: filters.show === "all" ? "" : filters.show,
    source: filters.sources.map(encodeURIComponent).join(","),
    creator: filters.creators.map(encodeURIComponent).join(","),
    from: filters.from ?? "",
    to: filters.to ?? "",
    area: filters.area === null ? "" : formatOutline(filters.area),
  };
  return Object.fromEntries([...others, ...Object.entries(formatted).filter(([, text]) => text)]);
}

/** Number of filters that limit the images. */
export function countFilters(filters: GalleryFilters): number {
  const { sources, creators, from, to, area } = filters;
  return [sources.length > 0, creators.length > 0, from !== null || to !== null, area !== null]
    .filter(Boolean).length;
}

/** Query parameters that tiles and lists share. */
export function toQuery(filters: GalleryFilters): URLSearchParams {
  const query = new URLSearchParams();
  if (filters.show === "photo" || filters.show === "street") {
    query.set("source_kind", filters.show);
  }
  filters.sources.forEach((name) => query.append("source", name));
  filters.creators.forEach((name) => query.append("creator", name));
  if (filters.from !== null || filters.to !== null) {
    const start = filters.from === null ? ".." : `${filters.from}T00:00:00Z`;
    const end = filters.to === null ? ".." : `${filters.to}T23:59:59.999999Z`;
    query.set("datetime", `${start}/${end}`);
  }
  if (filters.area !== null) {
    query.set("polygon", JSON.stringify(toPolygon(filters.area)));
  }
  return query;
}

export function formatListArea(area: ListArea): string {
  switch (area.type) {
    case "cell":
      return `cell:${area.cell}`;
    case "near":
      return `near:${area.lat.toFixed(6)},${area.lon.toFixed(6)},${area.radiusM.toFixed(1)}`;
    case "box":
      return `box:${area.box.map((degrees) => degrees.toFixed(5)).join(",")}`;
  }
}

/** Parse the list in the URL; null if there is none. */
export function parseListArea(text: string | undefined): ListArea | null {
  const [type, value] = (text ?? "").split(":", 2) as [string, string | undefined];
  if (type === "cell" && value !== undefined && /^8[0-9a-f]{14}$/.test(value)) {
    return { type, cell: value };
  }
  const numbers = (value ?? "").split(",").map(Number);
  if (!numbers.every(Number.isFinite)) {
    return null;
  }
  const [first = 0, second = 0, third = 0, fourth = 0] = numbers;
  if (type === "near" && numbers.length === 3 && third > 0) {
    return { type, lat: first, lon: second, radiusM: third };
  }
  return type === "box" && numbers.length === 4
    ? { type, box: [first, second, third, fourth] }
    : null;
}

/** Add the area of a list to the query parameters of its filters. */
export function addListArea(query: URLSearchParams, area: ListArea): void {
  switch (area.type) {
    case "cell":
      query.set("cell", area.cell);
      break;
    case "near":
      query.set("lat", String(area.lat));
      query.set("lon", String(area.lon));
      query.set("radius_m", String(area.radiusM));
      break;
    case "box":
      query.set("bbox", area.box.join(","));
  }
}

function parseList(text: string | undefined): string[] {
  const parts = (text ?? "").split(",").filter(Boolean);
  try {
    return [...new Set(parts.map(decodeURIComponent))].slice(0, 20);
  } catch {
    // Somebody has changed the link by hand.
    return [];
  }
}

function parseDay(text: string | undefined): string | null {
  const isDay = text !== undefined && /^\d{4}-\d{2}-\d{2}$/.test(text);
  return isDay && !Number.isNaN(Date.parse(text)) ? text : null;
}
