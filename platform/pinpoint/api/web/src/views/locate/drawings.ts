/** Drawings of two photos: side by side, under a divider, with lines between their matched points. */

import { createElement, createSvgElement } from "../../dom";
import * as texts from "../../strings/locate_comparison";
import type { ImageMatch } from "./answer_types";

/** Gap between both photos; each is 1,000 units high, or wide if one is above the other. */
const gap = 30;
const numHues = 6;

/** A photo with its `blob:` URL and the text below it. */
export interface ShownPhoto {
  readonly url: string;
  readonly name: string;
  readonly credit: string;
}

const makeImage = ({ url, name }: ShownPhoto) => createElement("img", { src: url, alt: name });

const makeCredits = (photos: readonly ShownPhoto[]) =>
  createElement(
    "p.credit.comparison-credits",
    photos.map(({ credit }) => createElement("span", credit)),
  );

export function drawPair(photos: readonly ShownPhoto[]): HTMLElement {
  return createElement(
    "div.comparison-pair",
    photos.map((photo) => createElement("figure", makeImage(photo), createElement("figcaption", photo.credit))),
  );
}

export function drawDivided(photos: readonly [ShownPhoto, ShownPhoto]): HTMLElement {
  const divider = createElement("input", { type: "range", "aria-label": texts.divider, oninput: () => move() });
  const upper = makeImage(photos[0]);
  upper.className = "upper";
  const layers = createElement("div.layers", makeImage(photos[1]), upper, createElement("span.handle"), divider);
  const move = () => {
    upper.style.clipPath = `inset(0 ${100 - Number(divider.value)}% 0 0)`;
    layers.style.setProperty("--divider", `${divider.value}%`);
  };
  move();
  return createElement("div.comparison-divided", layers, makeCredits(photos));
}

/** Both photos with a line between each pair of matched points; one above the other if `isStacked`. */
export function drawMatches(
  match: ImageMatch,
  photos: readonly [ShownPhoto, ShownPhoto],
  isQueryRight: boolean,
  isStacked: boolean,
): HTMLElement {
  const query = { width: match.query_width_px, height: match.query_height_px, points: match.query_points };
  const image = { width: match.image_width_px, height: match.image_height_px, points: match.image_points };
  let [x, y, width, height] = [0, 0, 0, 0];
  const pictures: SVGElement[] = [];
  const [starts, ends] = (isQueryRight ? [image, query] : [query, image]).map((side, index) => {
    const scale = 1_000 / (isStacked ? side.width : side.height);
    const size = { width: side.width * scale, height: side.height * scale };
    const [left, top] = [x, y];
    const href = photos[index]?.url ?? "";
    pictures.push(createSvgElement("image", { href, x, y, ...size, preserveAspectRatio: "none" }));
    [width, height] = [Math.max(width, x + size.width), Math.max(height, y + size.height)];
    [x, y] = isStacked ? [0, size.height + gap] : [size.width + gap, 0];
    return side.points.map(([pointX, pointY]) => [left + pointX * scale, top + pointY * scale] as const);
  });
  const lines = starts?.flatMap(([x1, y1], index) => {
    const [x2, y2] = ends?.[index] ?? [0, 0];
    const hue = `hue-${index % numHues}`;
    return [
      createSvgElement("line", { x1, y1, x2, y2, class: hue }),
      createSvgElement("circle", { cx: x1, cy: y1, r: 7, class: hue }),
      createSvgElement("circle", { cx: x2, cy: y2, r: 7, class: hue }),
    ];
  });
  const label = texts.matchedPoints(match.query_points.length, photos[0].name, photos[1].name);
  const attributes = {
    viewBox: `0 0 ${width} ${height}`,
    class: "comparison-matches",
    role: "img",
    "aria-label": label,
  };
  return createElement("div", createSvgElement("svg", attributes, ...pictures, ...(lines ?? [])), makeCredits(photos));
}
