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

interface Position {
  x: number;
  y: number;
}

const sides: readonly [Side, string][] = [
  ["x", texts.regionLeft],
  ["y", texts.regionTop],
  ["width", texts.regionWidth],
  ["height", texts.regionHeight],
];
/** The API takes no smaller regions. */
const minSizePx = 32;
/** A shorter way of the pointer, in pixels of the page, is a click. */
const minDragPx = 6;

export class RegionEditor {
  readonly element: HTMLElement;
  readonly #image: HTMLImageElement;
  readonly #frame = createElement("div", { class: "region-frame", hidden: true });
  readonly #inputs = new Map<Side, HTMLInputElement>();
  readonly #clear: HTMLButtonElement;
  readonly #onChange: () => void;
  #region: Region | null = null;
  #start: (Position & { event: PointerEvent }) | null = null;
  #hasPreview = true;

  constructor(url: string, name: string, onChange: () => void) {
    this.#onChange = onChange;
    this.#image = createElement("img", { src: url, alt: texts.preview(name), draggable: false });
    const stage = createElement("div", { class: "region-stage" }, this.#image, this.#frame);
    const fields = createElement("div", { class: "region-fields" });
    for (const [side, label] of sides) {
      const input = createElement("input", {
        type: "number",
        min: side === "x" || side === "y" ? "0" : String(minSizePx),
        step: "1",
        onchange: () => this.#readInputs(),
      });
      this.#inputs.set(side, input);
      fields.append(createElement("label", {}, label, input));
    }
    this.#clear = createElement(
      "button",
      { type: "button", class: "small", disabled: true, onclick: () => this.#set(null) },
      texts.regionClear,
    );
    const details = createElement(
      "details",
      { class: "region" },
      createElement("summary", {}, texts.region),
      createElement("p", { class: "muted" }, texts.regionHint),
      fields,
      this.#clear,
    );
    this.element = createElement("div", { class: "photo-preview" }, stage, details);
    this.#image.addEventListener("load", () => this.#showSize());
    this.#image.addEventListener("error", () => {
      this.#hasPreview = false;
      replaceChildren(this.element, createElement("p", { class: "muted" }, texts.noPreview));
      this.#onChange();
    });
    this.#listen(stage);
  }

  /** Whether the browser shows the photo. Without that its size is not known. */
  get hasPreview(): boolean {
    return this.#hasPreview;
  }

  /** Selected region; null for the whole photo. */
  get region(): Region | null {
    return this.#region;
  }

  /** The whole photo as a region: a query with one region needs one for each photo. */
  get wholeRegion(): Region {
    return { x: 0, y: 0, width: this.#image.naturalWidth, height: this.#image.naturalHeight };
  }

  #showSize(): void {
    const { width, height } = this.wholeRegion;
    const sizes: Region = { x: 0, y: 0, width, height };
    for (const [side, input] of this.#inputs) {
      input.placeholder = String(sizes[side]);
      input.max = String(side === "x" || side === "width" ? width : height);
    }
  }

  #listen(stage: HTMLElement): void {
    stage.addEventListener("pointerdown", (event) => {
      if (event.button === 0 && this.#image.naturalWidth > 0) {
        this.#start = { ...this.#toPixels(event), event };
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
        const { event: first } = this.#start;
        const way = Math.hypot(event.clientX - first.clientX, event.clientY - first.clientY);
        const region = makeRegion(this.#start, this.#toPixels(event));
        this.#start = null;
        this.#set(way < minDragPx ? null : region);
      }
    });
    stage.addEventListener("pointercancel", () => {
      this.#start = null;
      this.#draw(this.#region);
    });
  }

  #toPixels(event: PointerEvent): Position {
    const box = this.#image.getBoundingClientRect();
    const limit = (value: number) => Math.min(1, Math.max(0, value));
    return {
      x: Math.round(limit((event.clientX - box.left) / box.width) * this.#image.naturalWidth),
      y: Math.round(limit((event.clientY - box.top) / box.height) * this.#image.naturalHeight),
    };
  }

  #readInputs(): void {
    const whole = this.wholeRegion;
    const read = (side: Side) => {
      const text = this.#inputs.get(side)?.value ?? "";
      return text === "" ? whole[side] : Math.max(0, Math.round(Number(text)));
    };
    const [x, y] = [read("x"), read("y")];
    // Without a width or height the region reaches the edge of the photo.
    this.#set({ x, y, width: Math.min(read("width"), whole.width - x), height: Math.min(read("height"), whole.height - y) });
  }

  #set(region: Region | null): void {
    const whole = this.wholeRegion;
    const fitted = region === null ? null : fitRegion(region, whole);
    const isWhole = fitted?.width === whole.width && fitted.height === whole.height;
    this.#region = isWhole ? null : fitted;
    for (const [side, input] of this.#inputs) {
      input.value = this.#region === null ? "" : String(this.#region[side]);
    }
    this.#clear.disabled = this.#region === null;
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

function makeRegion(a: Position, b: Position): Region {
  return {
    x: Math.min(a.x, b.x),
    y: Math.min(a.y, b.y),
    width: Math.abs(a.x - b.x),
    height: Math.abs(a.y - b.y),
  };
}

/** The region inside the photo, and as large as the API wants it. */
function fitRegion({ x, y, width, height }: Region, whole: Region): Region {
  const fit = (size: number, limit: number) => Math.min(Math.max(size, minSizePx), limit);
  const [fitWidth, fitHeight] = [fit(width, whole.width), fit(height, whole.height)];
  return {
    x: Math.max(0, Math.min(x, whole.width - fitWidth)),
    y: Math.max(0, Math.min(y, whole.height - fitHeight)),
    width: fitWidth,
    height: fitHeight,
  };
}
