/** Where the photo may have been taken: the part of the map in view, a drawn area, or a GeoJSON file. */

import type { AppContext } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import { strings } from "../../strings";
import { AreaDrawing } from "../gallery/area_drawing";
import { toPolygon } from "../gallery/areas";

const texts = strings.locate.area;
const choices = ["anywhere", "view", "drawn", "geojson"] as const;

type Choice = (typeof choices)[number];

export class AreaField {
  readonly element: HTMLElement;
  readonly #context: AppContext;
  readonly #drawing: AreaDrawing;
  readonly #select: HTMLSelectElement;
  readonly #note = createElement("p", { class: "muted", role: "status" });
  readonly #geojson = createElement("textarea", { rows: 3, spellcheck: false, "aria-label": texts.geojsonText });
  readonly #details = createElement("div", { class: "area-details" });
  #drawn = "";

  constructor(context: AppContext) {
    this.#context = context;
    this.#drawing = new AreaDrawing(context.map);
    this.#select = createElement(
      "select",
      { onchange: () => this.#showDetails() },
      ...choices.map((choice) => createElement("option", { value: choice }, texts.choices[choice])),
    );
    this.element = createElement(
      "div",
      {},
      createElement("label", {}, texts.title, this.#select),
      this.#details,
      this.#note,
    );
  }

  /** Fields of the form; empty for no restriction. */
  readFields(): [string, string][] {
    const read: Record<Choice, () => [string, string]> = {
      anywhere: () => ["bbox", ""],
      view: () => ["bbox", this.#readBox()],
      drawn: () => ["polygon", this.#drawn],
      geojson: () => ["polygon", this.#geojson.value.trim()],
    };
    return [read[this.#select.value as Choice]()];
  }

  stopDrawing(): void {
    this.#drawing.stop();
  }

  #showDetails(): void {
    this.#drawing.stop();
    const choice = this.#select.value as Choice;
    const hints = { anywhere: "", view: texts.viewHint, drawn: "", geojson: "" };
    replaceChildren(this.#note, hints[choice]);
    const button = (text: string, onClick: () => void) =>
      createElement("button", { type: "button", onclick: onClick }, text);
    if (choice === "drawn") {
      const draw = button(texts.draw, () => void this.#draw());
      replaceChildren(this.#details, draw);
      void this.#draw();
    } else if (choice === "geojson") {
      const file = createElement("input", {
        type: "file",
        accept: ".geojson,.json,application/geo+json",
        "aria-label": texts.geojsonFile,
        onchange: () => void this.#readFile(file),
      });
      replaceChildren(this.#details, this.#geojson, file);
    } else {
      replaceChildren(this.#details);
    }
  }

  async #draw(): Promise<void> {
    replaceChildren(this.#note, texts.drawHint);
    let isFinished = false;
    try {
      await this.#drawing.start(
        "polygon",
        (outline) => {
          isFinished = true;
          this.#drawn = JSON.stringify(toPolygon(outline));
          replaceChildren(this.#note, texts.drawnArea(outline.length));
        },
        () => {
          if (!isFinished) {
            replaceChildren(this.#note, this.#drawn === "" ? texts.noArea : texts.previousArea);
          }
        },
      );
    } catch (error) {
      this.#context.showError(error);
    }
  }

  async #readFile(input: HTMLInputElement): Promise<void> {
    const file = input.files?.[0];
    if (file !== undefined) {
      this.#geojson.value = await file.text();
    }
  }

  /** The part of the map in view; empty before the map is loaded, or if it shows the whole world. */
  #readBox(): string {
    const bounds = this.#context.map.map?.getBounds();
    if (bounds === undefined || bounds.getEast() - bounds.getWest() >= 360) {
      return "";
    }
    const wrap = (lon: number) => ((((lon + 180) % 360) + 360) % 360) - 180;
    const lat = (value: number) => Math.min(90, Math.max(-90, value));
    const box = [wrap(bounds.getWest()), lat(bounds.getSouth()), wrap(bounds.getEast()), lat(bounds.getNorth())];
    return box.map((value) => value.toFixed(6)).join(",");
  }
}
