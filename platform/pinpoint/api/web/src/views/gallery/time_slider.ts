/** Capture time: a slider with two handles for days, and the same two days as fields to type. */

import { createElement, replaceChildren } from "../../dom";
import * as texts from "../../strings/gallery_filters";
import * as image from "../../strings/gallery_image";

const dayMs = 86_400_000;

export type PeriodListener = (from: string | null, to: string | null) => void;

export type TimeSlider = ReturnType<typeof createTimeSlider>;

export function createTimeSlider(onChange: PeriodListener) {
  const lowHandle = makeRange(texts.firstDay);
  const highHandle = makeRange(texts.lastDay);
  const firstField = makeDate("gallery-first-day");
  const lastField = makeDate("gallery-last-day");
  const track = createElement("div.range-track");
  const periodText = createElement("p.hint");
  let shownFrom: string | null = null;
  let shownTo: string | null = null;
  /** Day numbers (days since 1970) of the ends of the slider. */
  let ends: [number, number] = [0, 1];
  for (const handle of [lowHandle, highHandle]) {
    handle.addEventListener("input", () => moveHandle(handle, false));
    handle.addEventListener("change", () => moveHandle(handle, true));
  }
  for (const field of [firstField, lastField]) {
    field.addEventListener("change", () => {
      choose(field === firstField ? field.value : shownFrom, field === lastField ? field.value : shownTo);
    });
  }
  const element = createElement(
    "fieldset.field.time-filter",
    createElement("legend", texts.time),
    createElement("div.range-pair", track, lowHandle, highHandle),
    createElement(
      "div.date-row",
      createElement("label", { htmlFor: firstField.id }, texts.firstDay, firstField),
      createElement("label", { htmlFor: lastField.id }, texts.lastDay, lastField),
    ),
    periodText,
  );
  render();

  /** Capture times of the first and the last image of the gallery. */
  function setEnds(start: string, end: string): void {
    const first = toDayNumber(start);
    ends = [first, Math.max(first + 1, toDayNumber(end))];
    for (const handle of [lowHandle, highHandle]) {
      [handle.min, handle.max] = ends.map(String) as [string, string];
    }
    render();
  }

  function setPeriod(from: string | null, to: string | null): void {
    [shownFrom, shownTo] = [from, to];
    render();
  }

  /** The value changes while a handle moves; the filter changes when it is released. */
  function moveHandle(handle: HTMLInputElement, isDone: boolean): void {
    const [start, end] = ends;
    const isLow = handle === lowHandle;
    const other = isLow ? Number(highHandle.value) : Number(lowHandle.value);
    const value = isLow ? Math.min(Number(handle.value), other) : Math.max(Number(handle.value), other);
    handle.value = String(value);
    const isOpen = isLow ? value <= start : value >= end;
    const day = isOpen ? null : toDay(value);
    setPeriod(isLow ? day : shownFrom, isLow ? shownTo : day);
    if (isDone) {
      onChange(shownFrom, shownTo);
    }
  }

  function choose(from: string | null, to: string | null): void {
    setPeriod(from === "" ? null : from, to === "" ? null : to);
    if (shownFrom !== null && shownTo !== null && shownFrom > shownTo) {
      [shownFrom, shownTo] = [shownTo, shownFrom];
      render();
    }
    onChange(shownFrom, shownTo);
  }

  function render(): void {
    const [start, end] = ends;
    const low = shownFrom === null ? start : toDayNumber(shownFrom);
    const high = shownTo === null ? end : toDayNumber(shownTo);
    lowHandle.value = String(low);
    highHandle.value = String(high);
    firstField.value = shownFrom ?? "";
    lastField.value = shownTo ?? "";
    for (const [handle, day] of [
      [lowHandle, low],
      [highHandle, high],
    ] as const) {
      handle.setAttribute("aria-valuetext", image.day(toDay(day)));
    }
    const share = (day: number) => Math.min(1, Math.max(0, (day - start) / (end - start))) * 100;
    track.style.setProperty("--low", `${share(low)}%`);
    track.style.setProperty("--high", `${share(high)}%`);
    const isOpen = shownFrom === null && shownTo === null;
    const period = texts.period(image.day(toDay(low)), image.day(toDay(high)));
    replaceChildren(periodText, isOpen ? texts.allTimes : period);
  }
  return { setEnds, setPeriod, element };
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
