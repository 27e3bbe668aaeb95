/** Capture time: a slider with two handles for days, and the same two days as fields to type. */

import { createElement, replaceChildren } from "../../dom";
import * as texts from "../../strings/gallery_filters";
import * as image from "../../strings/gallery_image";

const dayMs = 86_400_000;

export type PeriodListener = (from: string | null, to: string | null) => void;

export class TimeSlider {
  readonly element: HTMLElement;
  readonly #low = makeRange(texts.firstDay);
  readonly #high = makeRange(texts.lastDay);
  readonly #first = makeDate("gallery-first-day");
  readonly #last = makeDate("gallery-last-day");
  readonly #track = createElement("div.range-track");
  readonly #text = createElement("p.hint");
  readonly #onChange: PeriodListener;
  #from: string | null = null;
  #to: string | null = null;
  /** Day numbers (days since 1970) of the ends of the slider. */
  #ends: [number, number] = [0, 1];

  constructor(onChange: PeriodListener) {
    this.#onChange = onChange;
    for (const handle of [this.#low, this.#high]) {
      handle.addEventListener("input", () => this.#moveHandle(handle, false));
      handle.addEventListener("change", () => this.#moveHandle(handle, true));
    }
    for (const field of [this.#first, this.#last]) {
      field.addEventListener("change", () => {
        this.#choose(field === this.#first ? field.value : this.#from, field === this.#last ? field.value : this.#to);
      });
    }
    this.element = createElement(
      "fieldset.field.time-filter",
      createElement("legend", texts.time),
      createElement("div.range-pair", this.#track, this.#low, this.#high),
      createElement(
        "div.date-row",
        createElement("label", { htmlFor: this.#first.id }, texts.firstDay, this.#first),
        createElement("label", { htmlFor: this.#last.id }, texts.lastDay, this.#last),
      ),
      this.#text,
    );
    this.#show();
  }

  /** Capture times of the first and the last image of the gallery. */
  setEnds(start: string, end: string): void {
    const first = toDayNumber(start);
    this.#ends = [first, Math.max(first + 1, toDayNumber(end))];
    for (const handle of [this.#low, this.#high]) {
      [handle.min, handle.max] = this.#ends.map(String) as [string, string];
    }
    this.#show();
  }

  setPeriod(from: string | null, to: string | null): void {
    [this.#from, this.#to] = [from, to];
    this.#show();
  }

  /** The value changes while a handle moves; the filter changes when it is released. */
  #moveHandle(handle: HTMLInputElement, isDone: boolean): void {
    const [start, end] = this.#ends;
    const isLow = handle === this.#low;
    const other = isLow ? Number(this.#high.value) : Number(this.#low.value);
    const value = isLow ? Math.min(Number(handle.value), other) : Math.max(Number(handle.value), other);
    handle.value = String(value);
    const isOpen = isLow ? value <= start : value >= end;
    const day = isOpen ? null : toDay(value);
    this.setPeriod(isLow ? day : this.#from, isLow ? this.#to : day);
    if (isDone) {
      this.#onChange(this.#from, this.#to);
    }
  }

  #choose(from: string | null, to: string | null): void {
    this.setPeriod(from === "" ? null : from, to === "" ? null : to);
    if (this.#from !== null && this.#to !== null && this.#from > this.#to) {
      [this.#from, this.#to] = [this.#to, this.#from];
      this.#show();
    }
    this.#onChange(this.#from, this.#to);
  }

  #show(): void {
    const [start, end] = this.#ends;
    const low = this.#from === null ? start : toDayNumber(this.#from);
    const high = this.#to === null ? end : toDayNumber(this.#to);
    this.#low.value = String(low);
    this.#high.value = String(high);
    this.#first.value = this.#from ?? "";
    this.#last.value = this.#to ?? "";
    for (const [handle, day] of [[this.#low, low], [this.#high, high]] as const) {
      handle.setAttribute("aria-valuetext", image.day(toDay(day)));
    }
    const share = (day: number) => Math.min(1, Math.max(0, (day - start) / (end - start))) * 100;
    this.#track.style.setProperty("--low", `${share(low)}%`);
    this.#track.style.setProperty("--high", `${share(high)}%`);
    const isOpen = this.#from === null && this.#to === null;
    const period = texts.period(image.day(toDay(low)), image.day(toDay(high)));
    replaceChildren(this.#text, isOpen ? texts.allTimes : period);
  }
}

function makeRange(label: string): HTMLInputElement {
  return createElement("input", { type: "range", min: "0", max: "1", step: "1", "aria-label": label });
}

function makeDate(id: string): HTMLInputElement {
  return createElement("input", { type: "date", id, min: "1800-01-01", max: "2200-12-31" });
}

function toDayNumber(time: string): number {
  return Math.floor(Date.parse(time) / dayMs);
}

function toDay(dayNumber: number): string {
  return new Date(dayNumber * dayMs).toISOString().slice(0, 10);
}
