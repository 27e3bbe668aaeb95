/** Preview of a photo on which a region can be selected, by pointer or by numbers. */

import { createElement, replaceChildren } from "../../dom";
import * as texts from "../../strings/locate";

/** Left, top, width, height: pixels of the upright image. */
export type Region = [number, number, number, number];

export interface RegionEditor {
  readonly element: HTMLElement;
  /** Whether the browser shows the photo. Without that its size is not known. */
  hasPreview(): boolean;
  /** Selected region; null for the whole photo. */
  getRegion(): Region | null;
  /** Region of the whole photo. */
  getWhole(): Region;
}

/** The API takes no smaller regions. */
const minSizePx = 32;
/** A shorter way of the pointer, in pixels of the page, is a click. */
const minDragPx = 6;
const frameSides = ["left", "top", "width", "height"];

export function createRegionEditor(url: string, name: string, onChange: () => void): RegionEditor {
  let hasPreview = true;
  let region: Region | null = null;
  let start: PointerEvent | null = null;
  const image = createElement("img", { src: url, alt: texts.preview(name), draggable: false });
  const frame = createElement("div.region-frame", { hidden: true });
  const inputs = texts.regionSides.map(() =>
    createElement("input", { type: "number", min: "0", onchange: () => readInputs() }),
  );
  const clear = createElement("button.small", { disabled: true, onclick: () => set(null) }, texts.regionClear);

  const getWhole = (): Region => [0, 0, image.naturalWidth, image.naturalHeight];
  const draw = (shown: Region | null) => {
    frame.hidden = shown === null;
    const whole = getWhole();
    shown?.forEach((value, index) =>
      frame.style.setProperty(frameSides[index] as string, `${(100 * value) / (whole[2 + (index % 2)] as number)}%`),
    );
  };
  const set = (next: Region | null) => {
    const [, , width, height] = getWhole();
    if (next !== null) {
      const [x, fitWidth] = fitSide(next[0], next[2], width);
      const [y, fitHeight] = fitSide(next[1], next[3], height);
      next = fitWidth === width && fitHeight === height ? null : [x, y, fitWidth, fitHeight];
    }
    region = next;
    inputs.forEach((input, index) => (input.value = String(next?.[index] ?? "")));
    clear.disabled = next === null;
    draw(next);
    onChange();
  };
  const readInputs = () => {
    const whole = getWhole();
    const [x, y, width, height] = inputs.map(({ value }, index) =>
      value === "" ? whole[index] : Math.max(0, Math.round(Number(value))),
    ) as Region;
    // Without a width or height the region reaches the edge of the photo.
    set([x, y, Math.min(width, whole[2] - x), Math.min(height, whole[3] - y)]);
  };
  const toPixels = ({ clientX, clientY }: PointerEvent): [number, number] => {
    const { left, top, width, height } = image.getBoundingClientRect();
    const scale = (share: number, size: number) => Math.round(clamp(share, 0, 1) * size);
    return [scale((clientX - left) / width, image.naturalWidth), scale((clientY - top) / height, image.naturalHeight)];
  };
  const span = (from: PointerEvent, to: PointerEvent): Region => {
    const [[x1, y1], [x2, y2]] = [toPixels(from), toPixels(to)];
    return [Math.min(x1, x2), Math.min(y1, y2), Math.abs(x1 - x2), Math.abs(y1 - y2)];
  };

  const stage = createElement(
    "div.region-stage",
    {
      onpointerdown: (event: PointerEvent) => {
        if (event.button === 0) {
          event.preventDefault();
          stage.setPointerCapture(event.pointerId);
          start = event;
        }
      },
      onpointermove: (event: PointerEvent) => {
        if (start !== null) {
          draw(span(start, event));
        }
      },
      onpointerup: (event: PointerEvent) => {
        if (start !== null) {
          const way = Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY);
          set(way < minDragPx ? null : span(start, event));
          start = null;
        }
      },
      onpointercancel: () => {
        start = null;
        draw(region);
      },
    },
    image,
    frame,
  );
  const element = createElement(
    "div.photo-preview",
    stage,
    createElement(
      "details.region",
      createElement("summary", texts.region),
      createElement("p.muted", texts.regionHint),
      createElement(
        "div.region-fields",
        inputs.map((input, index) => createElement("label", texts.regionSides[index], input)),
      ),
      clear,
    ),
  );
  image.onerror = () => {
    hasPreview = false;
    replaceChildren(element, createElement("p.muted", texts.noPreview));
    onChange();
  };
  return { element, hasPreview: () => hasPreview, getRegion: () => region, getWhole };
}

/** A side inside the photo, and as long as the API wants it. */
function fitSide(start: number, size: number, limit: number): [number, number] {
  const fit = clamp(size, Math.min(minSizePx, limit), limit);
  return [clamp(start, 0, limit - fit), fit];
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}
