/** Correction of an image's position and heading, with undo. */

import { ApiError } from "../../api_client";
import type { AppContext } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import * as texts from "../../strings/gallery_edit";
import * as imageTexts from "../../strings/gallery_image";
import type { GalleryImage } from "./answers";
import { distanceBetween, normalizeDegrees } from "./directions";
import { type PositionMarkers, createPositionMarkers } from "./position_markers";
import type { SelectionLayer } from "./selection_layer";

export interface EditorListeners {
  onChange(image: GalleryImage): void;
  /** The image has another state than the page shows. */
  onConflict(): void;
}

interface Correction {
  lat?: number;
  lon?: number;
  heading_deg?: number;
  clear?: string[];
}

export type PositionEditor = ReturnType<typeof createPositionEditor>;

export function createPositionEditor(
  context: AppContext,
  selection: SelectionLayer,
  image: GalleryImage,
  listeners: EditorListeners,
) {
  const editor = createElement("div.position-editor");
  let mayCorrect = false;
  let shownMarkers: PositionMarkers | null = null;
  /** Corrections that restore the states before, the latest last. */
  const undos: Correction[] = [];
  let message = "";
  let current: GalleryImage = image;
  showIdle();

  function setCanCorrect(canCorrect: boolean): void {
    mayCorrect = canCorrect;
    if (shownMarkers === null) {
      showIdle();
    }
  }

  function dispose(): void {
    shownMarkers?.dispose();
    shownMarkers = null;
  }

  function showIdle(): void {
    const start = createElement("button", { disabled: !mayCorrect, onclick: () => void startEditing() }, texts.start);
    const undo = createElement("button", { onclick: () => void undoLast() }, texts.undo);
    const isFirst = message === "";
    replaceChildren(
      editor,
      !isFirst && createElement("p.edit-message", message),
      createElement("div.button-row", start, undos.length > 0 && undo),
      !mayCorrect && createElement("p.hint", texts.notAllowed),
    );
  }

  async function startEditing(): Promise<void> {
    const image = current;
    const fields = {
      lat: makeNumberField("gallery-lat", image.lat.toFixed(7), -90, 90),
      lon: makeNumberField("gallery-lon", image.lon.toFixed(7), -180, 180),
      heading: makeNumberField("gallery-heading", formatHeading(image.heading_deg), 0, 359.999),
    };
    const error = createElement("p.field-error", { role: "alert" });
    const readView = () => ({
      lat: Number(fields.lat.value),
      lon: Number(fields.lon.value),
      heading_deg: fields.heading.value === "" ? null : Number(fields.heading.value),
      field_of_view_deg: image.field_of_view_deg,
    });
    replaceChildren(
      editor,
      createElement(
        "form.edit-form",
        {
          noValidate: true,
          onsubmit: (event: Event) => {
            event.preventDefault();
            const problem = checkView(readView());
            replaceChildren(error, problem);
            if (problem === null) {
              void save(readView());
            }
          },
          oninput: () => {
            if (checkView(readView()) === null) {
              shownMarkers?.move(readView());
              selection.show(readView(), { hidesPoint: true });
            }
          },
        },
        createElement("h3", texts.title),
        createElement("p.hint", texts.hint),
        createElement("label", { htmlFor: "gallery-lat" }, texts.lat, fields.lat),
        createElement("label", { htmlFor: "gallery-lon" }, texts.lon, fields.lon),
        createElement("label", { htmlFor: "gallery-heading" }, texts.heading, fields.heading),
        error,
        createElement(
          "div.button-row",
          createElement("button", { type: "submit", class: "primary" }, texts.save),
          createElement("button", { onclick: () => endEditing() }, texts.cancel),
        ),
      ),
    );
    fields.lat.focus({ preventScroll: true });
    selection.show(image, { hidesPoint: true });
    const markers = createPositionMarkers(context.map, image.file_name, (view) => {
      fields.lat.value = view.lat.toFixed(7);
      fields.lon.value = view.lon.toFixed(7);
      fields.heading.value = formatHeading(view.heading_deg);
      selection.show(readView(), { hidesPoint: true });
    });
    shownMarkers = markers;
    await markers.add(image);
  }

  function endEditing(): void {
    dispose();
    selection.show(current);
    showIdle();
    editor.querySelector("button")?.focus({ preventScroll: true });
  }

  async function save(view: { lat: number; lon: number; heading_deg: number | null }): Promise<void> {
    const before = current;
    const moved = distanceBetween(before, view);
    const correction: Correction = {};
    const undo: Correction = { clear: [] };
    const isManual = (name: string) => before.field_sources[name] === "manual";
    // The fields have seven decimals, about one centimeter.
    if (Math.abs(view.lat - before.lat) > 5e-8 || Math.abs(view.lon - before.lon) > 5e-8) {
      Object.assign(correction, { lat: view.lat, lon: view.lon });
      if (isManual("position")) {
        Object.assign(undo, { lat: before.lat, lon: before.lon });
      } else {
        undo.clear?.push("position");
      }
    }
    const newHeading = formatHeading(view.heading_deg);
    if (newHeading !== formatHeading(before.heading_deg)) {
      if (view.heading_deg === null) {
        correction.clear = ["heading_deg"];
      } else {
        correction.heading_deg = view.heading_deg;
      }
      if (isManual("heading_deg") && before.heading_deg !== null) {
        undo.heading_deg = before.heading_deg;
      } else if (view.heading_deg !== null) {
        undo.clear?.push("heading_deg");
      }
    }
    if (Object.keys(correction).length === 0) {
      message = texts.unchanged;
      endEditing();
      return;
    }
    const text = "lat" in correction ? texts.saved(imageTexts.distance(moved)) : texts.savedHeading;
    if (await send(correction)) {
      undos.push(undo);
      finish(text);
    }
  }

  async function undoLast(): Promise<void> {
    const undo = undos.pop();
    if (undo !== undefined && (await send(undo))) {
      finish(texts.undone);
    }
  }

  function finish(text: string): void {
    message = text;
    endEditing();
    context.announce(text);
    listeners.onChange(current);
  }

  /** Send a correction for the state that the page shows; false if it was refused. */
  async function send(correction: Correction): Promise<boolean> {
    try {
      for (let attempt = 1; !(await patch(correction, attempt)); attempt += 1);
      return true;
    } catch (error) {
      if (error instanceof ApiError && error.status === 412) {
        dispose();
        context.showError(new ApiError(412, error.title, texts.conflict, error.requestId));
        listeners.onConflict();
      } else {
        context.showError(error);
      }
      return false;
    }
  }

  /**
   * Send a correction once; false if it can be sent again.
   *
   * The entity tag also changes when a worker has indexed the image. Only another version is a
   * conflict.
   */
  async function patch(correction: Correction, attempt: number): Promise<boolean> {
    const { client } = context;
    const path = `v1/images/${current.id}`;
    const answer = await client.request("GET", path);
    const { version } = (await answer.json()) as GalleryImage;
    if (version !== current.version) {
      throw new ApiError(412, "", texts.conflict);
    }
    const headers = { "Content-Type": "application/json", "If-Match": answer.headers.get("ETag") ?? "*" };
    try {
      const response = await client.request("PATCH", path, { body: JSON.stringify(correction), headers });
      current = (await response.json()) as GalleryImage;
      return true;
    } catch (error) {
      if (error instanceof ApiError && error.status === 412 && attempt < 3) {
        return false;
      }
      throw error;
    }
  }
  return { setCanCorrect, dispose, element: editor };
}

/** Text with one decimal; 359.96 becomes 0, not 360. */
function formatHeading(headingDeg: number | null): string {
  return headingDeg === null ? "" : normalizeDegrees(Number(headingDeg.toFixed(1))).toFixed(1);
}

function checkView(view: { lat: number; lon: number; heading_deg: number | null }): string | null {
  const { lat, lon, heading_deg: heading } = view;
  const isValid = Math.abs(lat) <= 90 && Math.abs(lon) <= 180 && (heading === null || (heading >= 0 && heading < 360));
  if (!isValid) {
    return texts.wrongNumber;
  }
  return lat === 0 && lon === 0 ? texts.zeroPosition : null;
}

function makeNumberField(id: string, value: string, min: number, max: number): HTMLInputElement {
  return createElement("input", {
    id,
    type: "number",
    step: "any",
    min,
    max,
    value,
    required: id !== "gallery-heading",
  });
}
