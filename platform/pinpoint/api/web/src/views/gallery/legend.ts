/** Legend of the map's layers, with units. */

import { createElement, createSvgElement, replaceChildren } from "../../dom";
import * as galleryTexts from "../../strings/gallery";
import * as texts from "../../strings/gallery_legend";
import type { MapLayerChoice } from "./filters";
import { cellClasses } from "./palette";

/** Mean area of H3 cells of resolution 0 to 7, km² (H3 documentation, "Tables of Cell Statistics"). */
const cellAreasKm2 = [4_357_449, 609_788, 86_802, 12_393, 1_770, 253, 36.1, 5.16];
const areaFormat = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

/** `resolution`: that of the cells in view; null if points are in view. */
export function showLegend(element: HTMLElement, show: MapLayerChoice, resolution: number | null): void {
  const entries: Node[] = [];
  const area = resolution === null ? null : areaFormat.format(cellAreasKm2[resolution] ?? 0);
  if (show === "gaps") {
    entries.push(makeEntry("photo", 0.55, texts.only.photo), makeEntry("street", 0.55, texts.only.street));
  } else if (area !== null) {
    cellClasses.forEach(([least, opacity], index) => {
      const next = cellClasses[index + 1]?.[0];
      entries.push(
        makeEntry(show === "all" ? "cells" : show, opacity, texts.bin(least, next === undefined ? null : next - 1)),
      );
    });
  }
  if (area === null) {
    const kinds = show === "photo" || show === "street" ? [show] : (["photo", "street"] as const);
    entries.push(...kinds.map((kind) => makeEntry(kind, 1, galleryTexts.kinds[kind], true)));
  }
  const unit = area === null ? texts.point : show === "gaps" ? texts.gapUnit(area) : texts.unit(area);
  replaceChildren(element, createElement("ul.legend-entries", ...entries), createElement("p.hint", unit));
}

function makeEntry(color: string, opacity: number, text: string, isPoint = false): HTMLElement {
  const symbol = isPoint
    ? createSvgElement("circle", { cx: 8, cy: 8, r: 5 })
    : createSvgElement("rect", { x: 0, y: 1, width: 16, height: 14, rx: 2 });
  symbol.setAttribute("fill-opacity", String(opacity));
  return createElement(
    "li",
    createSvgElement(
      "svg",
      { class: `swatch ${color}`, width: 16, height: 16, viewBox: "0 0 16 16", "aria-hidden": "true" },
      symbol,
    ),
    text,
  );
}
