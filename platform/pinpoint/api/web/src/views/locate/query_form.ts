/** Options of a query, and the form that is sent. */

import type { AppContext } from "../../context";
import { createElement } from "../../dom";
import { strings } from "../../strings";
import type { ChosenPhoto } from "./photo_input";

const texts = strings.locate;

export class QueryOptions {
  readonly element: HTMLElement;
  readonly #country = createElement("input", { type: "text", autocomplete: "off" });
  readonly #datetime = createElement("input", { type: "text", autocomplete: "off" });
  readonly #kinds = createElement(
    "select",
    {},
    createElement("option", { value: "" }, texts.allKinds),
    createElement("option", { value: "photo" }, texts.onlyPhoto),
    createElement("option", { value: "street" }, texts.onlyStreet),
  );
  readonly #inView = createElement("input", { type: "checkbox" });
  readonly #top = createElement("input", { type: "number", min: "1", max: "100", value: "10" });
  readonly #verify = createElement("input", { type: "number", min: "0", max: "64", value: "8" });
  readonly #context: AppContext;

  constructor(context: AppContext) {
    this.#context = context;
    const field = (label: string, input: HTMLElement) => createElement("label", {}, label, input);
    this.element = createElement(
      "details",
      { class: "query-options" },
      createElement("summary", {}, texts.options),
      field(texts.kinds, this.#kinds),
      field(texts.country, this.#country),
      field(texts.datetime, this.#datetime),
      createElement("label", { class: "check" }, this.#inView, texts.inView),
      field(texts.top, this.#top),
      field(texts.verify, this.#verify),
    );
  }

  /** Form of a query with these photos. */
  makeForm(photos: readonly ChosenPhoto[]): FormData {
    const form = new FormData();
    for (const { file } of photos) {
      form.append("photo", file, file.name);
    }
    if (photos.some(({ region }) => region.region !== null)) {
      for (const { region } of photos) {
        const { x, y, width, height } = region.region ?? region.wholeRegion;
        form.append("crop", [x, y, width, height].join(","));
      }
    }
    const values: [string, string][] = [
      ["include", "explain,matches"],
      ["source_kinds", this.#kinds.value],
      ["country", this.#country.value.trim().toUpperCase().replaceAll(" ", "")],
      ["datetime", this.#datetime.value.trim()],
      ["top", this.#top.value],
      ["verify", this.#verify.value],
      ["bbox", this.#inView.checked ? this.#readBox() : ""],
    ];
    for (const [name, value] of values) {
      if (value !== "") {
        form.append(name, value);
      }
    }
    return form;
  }

  /** The part of the map in view; empty before the map is loaded, or if it shows the whole world. */
  #readBox(): string {
    const bounds = this.#context.map.map?.getBounds();
    if (bounds === undefined || bounds.getEast() - bounds.getWest() >= 360) {
      return "";
    }
    const wrap = (lon: number) => ((((lon + 180) % 360) + 360) % 360) - 180;
    const box = [wrap(bounds.getWest()), bounds.getSouth(), wrap(bounds.getEast()), bounds.getNorth()];
    return box.map((value) => value.toFixed(6)).join(",");
  }
}
