/** Preview of a photo on which a region can be selected, by pointer or by numbers. */

import { createElement, replaceChildren } from "../../dom";
import { strings } from "../../strings";

const texts = strings.locate;

/** Pixels of the upright image, from its top left corner. */
export interface Region {
  x: number;
  y: number;
  width: number;
  height: number;
}

type Side = keyof Region;

const sides: readonly [Side, string][] = [
  ["x", texts.regionLeft],
  ["y", texts.regionTop],
  ["width", texts.regionWidth],
  ["height", texts.regionHeight],
];
/** Smaller regions are taken for a click. */
const minSizePx = 8;

export class RegionEditor {
  readonly element: HTMLElement;
  readonly #image: HTMLImageElement;
  readonly #frame = createElement("div", { class: "region-frame", hidden: true });
  readonly #inputs = new Map<Side, HTMLInputElement>();
  readonly #onChange: () => void;
  #region: Region | null = null;
  #start: { x: number; y: number } | null = null;

  constructor(url: string, name: string, onChange: () => void) {
    this.#onChange = onChange;
    this.#image = createElement("img", { src: url, alt: texts.preview(name), draggable: false });
    const stage = createElement("div", { class: "region-stage" }, this.#image, this.#frame);
    const fields = createElement("div", { class: "region-fields" });
    for (const [side, label] of sides) {
      const input = createElement("input", {
        type: "number",
        min: "0",
        step: "1",
        onchange: () => this.#readInputs(),
      });
      this.#inputs.set(side, input);
      fields.append(createElement("label", {}, label, input));
    }
    const clear = createElement(
      "button",
      { type: "button", onclick: () => this.#set(null) },
      texts.regionClear,
    );
    const details = createElement(
      "details",
      { class: "region" },
      createElement("summary", {}, texts.region),
      createElement("p", { class: "muted" }, texts.regionHint),
      fields,
      clear,
    );
    this.element = createElement("div", {}, stage, details);
    this.#image.addEventListener("error", () => {
      replaceChildren(this.element, createElement("p", { class: "muted" }, texts.noPreview));
    });
    this.#listen(stage);
  }

  /** Selected region; null for the whole photo. */
  get region(): Region | null {
    return this.#region;
  }

  /** The whole photo as a region: a query with one region needs one for each photo. */
  get wholeRegion(): Region {
    return { x: 0, y: 0, width: this.#image.naturalWidth, height: this.#image.naturalHeight };
  }

  #listen(stage: HTMLElement): void {
    stage.addEventListener("pointerdown", (event) => {
      if (event.button === 0 && this.#image.naturalWidth > 0) {
        this.#start = this.#toPixels(event);
        stage.setPointerCapture(event.pointerId);
        event.preventDefault();
      }
    });
    stage.addEventListener("pointermove", (event) => {
      if (this.#start !== null) {
        this.#draw(makeRegion(this.#start, this.#toPixels(event)));
      }
    });
    stage.addEventListener("pointerup", (event) => {
      if (this.#start !== null) {
        const region = makeRegion(this.#start, this.#toPixels(event));
        this.#start = null;
        const isClick = region.width < minSizePx || region.height < minSizePx;
        this.#set(isClick ? null : region);
      }
    });
    stage.addEventListener("pointercancel", () => {
      this.#start = null;
      this.#draw(this.#region);
    });
  }

  #toPixels(event: PointerEvent): { x: number; y: number } {
    const box = this.#image.getBoundingClientRect();
    const limit = (value: number) => Math.min(1, Math.max(0, value));
    return {
      x: Math.round(limit((event.clientX - box.left) / box.width) * this.#image.naturalWidth),
      y: Math.round(limit((event.clientY - box.top) / box.height) * this.#image.naturalHeight),
    };
  }

  #readInputs(): void {
    const { naturalWidth, naturalHeight } = this.#image;
    const read = (side: Side, limit: number) => {
      const value = Math.round(Number(this.#inputs.get(side)?.value || 0));
      return Math.min(Math.max(0, value), limit);
    };
    const x = read("x", naturalWidth);
    const y = read("y", naturalHeight);
    const width = Math.min(read("width", naturalWidth) || naturalWidth, naturalWidth - x);
    const height = Math.min(read("height", naturalHeight) || naturalHeight, naturalHeight - y);
    this.#set(width > 0 && height > 0 ? { x, y, width, height } : null);
  }

  #set(region: Region | null): void {
    const { naturalWidth, naturalHeight } = this.#image;
    const isWhole = region?.width === naturalWidth && region.height === naturalHeight;
    this.#region = isWhole ? null : region;
    for (const [side, input] of this.#inputs) {
      input.value = this.#region === null ? "" : String(this.#region[side]);
    }
    this.#draw(this.#region);
    this.#onChange();
  }

  #draw(region: Region | null): void {
    this.#frame.hidden = region === null;
    if (region !== null) {
      const { naturalWidth, naturalHeight } = this.#image;
      const share = (value: number, size: number) => `${(100 * value) / size}%`;
      this.#frame.style.left = share(region.x, naturalWidth);
      this.#frame.style.top = share(region.y, naturalHeight);
      this.#frame.style.width = share(region.width, naturalWidth);
      this.#frame.style.height = share(region.height, naturalHeight);
    }
  }
}

function makeRegion(a: { x: number; y: number }, b: { x: number; y: number }): Region {
  return {
    x: Math.min(a.x, b.x),
    y: Math.min(a.y, b.y),
    width: Math.abs(a.x - b.x),
    height: Math.abs(a.y - b.y),
  };
}
