/** Fields of `POST /v1/locate`: restrictions of the search, and how much is compared and returned. */

import type { AppContext } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import { strings } from "../../strings";
import type { SourceKind } from "./answer_types";
import { AreaField } from "./area_field";
import type { ChosenPhoto } from "./photo_input";

const texts = strings.locate;
const defaultTop = "12";
const defaultVerify = "8";

interface Source {
  id: string;
  name: string;
  kind: SourceKind;
  images: number;
}

export class QueryOptions {
  readonly element: HTMLDetailsElement;
  readonly #context: AppContext;
  readonly #abort = new AbortController();
  readonly #area: AreaField;
  readonly #sources = new Map<string, HTMLInputElement>();
  readonly #sourceList = createElement("fieldset", { class: "source-list", hidden: true });
  readonly #kinds = makeSelect({ "": texts.allKinds, photo: texts.onlyPhoto, street: texts.onlyStreet });
  readonly #queryKind = makeSelect({
    "": texts.queryKinds.unknown,
    photo: texts.queryKinds.photo,
    street: texts.queryKinds.street,
  });
  readonly #country = createElement("input", { type: "text", autocomplete: "off", placeholder: "FR, BE" });
  readonly #first = createElement("input", { type: "date" });
  readonly #last = createElement("input", { type: "date" });
  readonly #top = createElement("input", { type: "number", min: "1", max: "100", required: true, value: defaultTop });
  readonly #verify = createElement("input", { type: "number", min: "0", max: "64", required: true, value: defaultVerify });

  constructor(context: AppContext) {
    this.#context = context;
    this.#area = new AreaField(context);
    const field = (label: string, input: HTMLElement) => createElement("label", {}, label, input);
    const pair = (...fields: HTMLElement[]) => createElement("div", { class: "field-pair" }, ...fields);
    this.element = createElement(
      "details",
      { class: "query-options", ontoggle: () => void this.#loadSources() },
      createElement("summary", {}, texts.options),
      pair(field(texts.kinds, this.#kinds), field(texts.queryKind, this.#queryKind)),
      this.#sourceList,
      this.#area.element,
      field(texts.country, this.#country),
      pair(field(texts.firstDay, this.#first), field(texts.lastDay, this.#last)),
      pair(field(texts.top, this.#top), field(texts.verify, this.#verify)),
    );
  }

  dispose(): void {
    this.#abort.abort();
    this.#area.stopDrawing();
  }

  stopDrawing(): void {
    this.#area.stopDrawing();
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
    const chosen = [...this.#sources].filter(([, { checked }]) => checked).map(([id]) => id);
    const isEverySource = chosen.length === this.#sources.size;
    const values: [string, string][] = [
      ["include", "explain,matches"],
      ["source_kinds", this.#kinds.value],
      ["sources", isEverySource ? "" : chosen.join(",")],
      ["query_kind", this.#queryKind.value],
      ["country", this.#country.value.toUpperCase().replace(/[\s;]+/g, ",").replace(/,+/g, ",")],
      ["datetime", this.#readInterval()],
      ["top", this.#top.value],
      ["verify", this.#verify.value],
      ...this.#area.readFields(),
    ];
    for (const [name, value] of values) {
      if (value !== "") {
        form.append(name, value);
      }
    }
    return form;
  }

  /** OGC interval of whole days in UTC; both days included. */
  #readInterval(): string {
    const [first, last] = [this.#first.value, this.#last.value];
    if (first === "" && last === "") {
      return "";
    }
    return `${first === "" ? ".." : `${first}T00:00:00Z`}/${last === "" ? ".." : `${last}T23:59:59.999Z`}`;
  }

  async #loadSources(): Promise<void> {
    const { client } = this.#context;
    if (!this.element.open || this.#sources.size > 0 || !client.hasScope("read")) {
      return;
    }
    try {
      const { sources } = await client.getJson<{ sources: Source[] }>("v1/sources?limit=100", this.#abort.signal);
      const rows = sources.map(({ id, name, kind, images }) => {
        const input = createElement("input", { type: "checkbox", checked: true });
        this.#sources.set(id, input);
        const count = createElement("span", { class: "muted" }, texts.imageCount(images));
        return createElement("label", { class: `check kind ${kind}` }, input, name, count);
      });
      replaceChildren(this.#sourceList, createElement("legend", {}, texts.sources), ...rows);
      this.#sourceList.hidden = sources.length < 2;
    } catch (error) {
      this.#context.showError(error);
    }
  }
}

function makeSelect(choices: Readonly<Record<string, string>>): HTMLSelectElement {
  const options = Object.entries(choices).map(([value, text]) => createElement("option", { value }, text));
  return createElement("select", {}, ...options);
}
