/** Drawings of two photos: side by side, under a divider, with lines between their matched points. */

import { createElement, createSvgElement } from "../../dom";
import { strings } from "../../strings";
import type { ImageMatch } from "./answer_types";

const texts = strings.locate;
/** Gap between both photos, as a share of their common side. */
const gap = 0.03;
const numHues = 6;

/** A photo with its `blob:` URL and the text below it. */
export interface ShownPhoto {
  readonly url: string;
  readonly name: string;
  readonly credit: string;
}

export function drawPair(left: ShownPhoto, right: ShownPhoto): HTMLElement {
  const figure = ({ url, name, credit }: ShownPhoto) =>
    createElement(
      "figure",
      {},
      createElement("img", { src: url, alt: name }),
      createElement("figcaption", {}, credit),
    );
  return createElement("div", { class: "comparison-pair" }, figure(left), figure(right));
}

export function drawDivided(left: ShownPhoto, right: ShownPhoto): HTMLElement {
  const divider = createElement("input", {
    type: "range",
    min: "0",
    max: "100",
    value: "50",
    "aria-label": texts.divider,
    oninput: () => move(),
  });
  const upper = createElement("img", { src: left.url, alt: left.name, class: "upper" });
  const layers = createElement(
    "div",
    { class: "layers" },
    createElement("img", { src: right.url, alt: right.name }),
    upper,
    createElement("span", { class: "handle", "aria-hidden": "true" }),
    divider,
  );
  const move = () => {
    upper.style.clipPath = `inset(0 ${100 - Number(divider.value)}% 0 0)`;
    layers.style.setProperty("--divider", `${divider.value}%`);
  };
  move();
  return createElement("div", { class: "comparison-divided" }, layers, makeCredits(left, right));
}

/**
 * Both photos with a line between each pair of matched points; one above the other if `isStacked`.
 * `isQueryRight`: the query photo is the right one.
 */
export function drawMatches(
  match: ImageMatch,
  left: ShownPhoto,
  right: ShownPhoto,
  { isQueryRight, isStacked }: { isQueryRight: boolean; isStacked: boolean },
): HTMLElement {
  const query = { width: match.query_width_px, height: match.query_height_px, points: match.query_points };
  const image = { width: match.image_width_px, height: match.image_height_px, points: match.image_points };
  const sides = isQueryRight ? [image, query] : [query, image];
  // Both photos get the same height, or the same width if one is above the other: 1,000 units.
  const scales = sides.map(({ width, height }) => 1_000 / (isStacked ? width : height));
  const sizes = sides.map(({ width, height }, index) => {
    const scale = scales[index] ?? 1;
    return { width: width * scale, height: height * scale };
  });
  const [first, second] = sizes as [(typeof sizes)[0], (typeof sizes)[0]];
  const offset = isStacked
    ? { x: 0, y: first.height + 1_000 * gap }
    : { x: first.width + 1_000 * gap, y: 0 };
  const [width, height] = [offset.x + second.width, offset.y + second.height];
  const drawing = createSvgElement("svg", {
    viewBox: `0 0 ${Math.max(width, first.width)} ${Math.max(height, first.height)}`,
    class: "comparison-matches",
    role: "img",
    "aria-label": texts.matchedPoints(match.query_points.length, left.name, right.name),
  });
  const photo = ({ url }: ShownPhoto, x: number, y: number, size: { width: number; height: number }) =>
    createSvgElement("image", { href: url, x, y, ...size, preserveAspectRatio: "none" });
  drawing.append(photo(left, 0, 0, first), photo(right, offset.x, offset.y, second));
  const place = (index: number, side: number): [number, number] => {
    const [x, y] = sides[side]?.points[index] ?? [0, 0];
    const scale = scales[side] ?? 1;
    return [x * scale + side * offset.x, y * scale + side * offset.y];
  };
  for (const index of match.query_points.keys()) {
    const [x1, y1] = place(index, 0);
    const [x2, y2] = place(index, 1);
    const hue = `hue-${index % numHues}`;
    drawing.append(
      createSvgElement("line", { x1, y1, x2, y2, class: hue }),
      createSvgElement("circle", { cx: x1, cy: y1, r: 7, class: hue }),
      createSvgElement("circle", { cx: x2, cy: y2, r: 7, class: hue }),
    );
  }
  const box = createElement("div", {}, makeCredits(left, right));
  box.prepend(drawing);
  return box;
}

function makeCredits(left: ShownPhoto, right: ShownPhoto): HTMLElement {
  return createElement(
    "p",
    { class: "credit comparison-credits" },
    createElement("span", {}, left.credit),
    createElement("span", {}, right.credit),
  );
}
