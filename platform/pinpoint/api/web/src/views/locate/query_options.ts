/** Fields of `POST /v1/locate`: restrictions of the search, and how much is compared and returned. */

import type { AppContext } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import * as texts from "../../strings/locate";
import { createAreaDrawing } from "../gallery/area_drawing";
import { toPolygon } from "../gallery/areas";
import type { SourceKind } from "./answer_types";
import type { ChosenPhoto } from "./photo_input";

export interface QueryOptions {
  readonly element: HTMLElement;
  /** Form of a query with these photos. */
  makeForm(photos: readonly ChosenPhoto[]): FormData;
  stopDrawing(): void;
}

interface Source {
  id: string;
  name: string;
  kind: SourceKind;
}

export function createQueryOptions(context: AppContext): QueryOptions {
  const { client, map } = context;
  const drawing = createAreaDrawing(map);
  const sources = new Map<string, HTMLInputElement>();
  let drawn = "";
  const makeSelect = (choices: Readonly<Record<string, string>>, properties = {}) =>
    createElement(
      "select",
      properties,
      Object.entries(choices).map(([value, text]) => createElement("option", { value }, text)),
    );
  const kinds = makeSelect(texts.kindChoices);
  const queryKind = makeSelect(texts.queryKinds);
  const area = makeSelect(texts.areas, { onchange: () => void drawArea() });
  const areaNote = createElement("p.muted", { role: "status" });
  const country = createElement("input", { autocomplete: "off", placeholder: "FR, BE" });
  const first = createElement("input", { type: "date" });
  const last = createElement("input", { type: "date" });
  const top = createElement("input", { type: "number", min: "1", max: "100", required: true, value: "12" });
  const verify = createElement("input", { type: "number", min: "0", max: "64", required: true, value: "8" });
  const sourceList = createElement("fieldset.source-list", { hidden: true });
  const field = (label: string, input: HTMLElement) => createElement("label", label, input);

  const drawArea = async () => {
    drawing.stop();
    const isDrawn = area.value === "drawn";
    drawn = "";
    replaceChildren(areaNote, isDrawn && texts.drawHint);
    if (isDrawn) {
      try {
        await drawing.start(
          "polygon",
          (outline) => {
            drawn = JSON.stringify(toPolygon(outline));
            replaceChildren(areaNote, texts.drawnArea(outline.length));
          },
          () => drawn || replaceChildren(areaNote, texts.noArea),
        );
      } catch (error) {
        context.showError(error);
      }
    }
  };
  /** The part of the map in view; empty if it shows the whole world. */
  const readBox = () => {
    const bounds = map.map?.getBounds();
    if (bounds === undefined || bounds.getEast() - bounds.getWest() >= 360) {
      return "";
    }
    const wrap = (lon: number) => ((((lon + 180) % 360) + 360) % 360) - 180;
    const box = [wrap(bounds.getWest()), bounds.getSouth(), wrap(bounds.getEast()), bounds.getNorth()];
    return box.map((value) => value.toFixed(6)).join();
  };
  /** OGC interval of whole days in UTC; both days included. */
  const readInterval = () =>
    first.value + last.value &&
    `${first.value ? `${first.value}T00:00:00Z` : ".."}/${last.value ? `${last.value}T23:59:59.999Z` : ".."}`;
  const loadSources = async () => {
    if (sources.size > 0 || !client.hasScope("read")) {
      return;
    }
    try {
      const answer = await client.getJson<{ sources: Source[] }>("v1/sources?limit=100");
      const rows = answer.sources.map(({ id, name, kind }) => {
        const input = createElement("input", { type: "checkbox", checked: true });
        sources.set(id, input);
        return createElement("label.check.kind", { class: `check kind ${kind}` }, input, name);
      });
      replaceChildren(sourceList, createElement("legend", texts.sources), ...rows);
      sourceList.hidden = rows.length < 2;
    } catch (error) {
      context.showError(error);
    }
  };
  return {
    element: createElement(
      "details.query-options",
      { ontoggle: () => void loadSources() },
      createElement("summary", texts.options),
      createElement("div.field-pair", field(texts.kinds, kinds), field(texts.queryKind, queryKind)),
      sourceList,
      field(texts.area, area),
      areaNote,
      field(texts.country, country),
      createElement("div.field-pair", field(texts.firstDay, first), field(texts.lastDay, last)),
      createElement("div.field-pair", field(texts.top, top), field(texts.verify, verify)),
    ),
    makeForm: (photos) => {
      const form = new FormData();
      for (const { file } of photos) {
        form.append("photo", file, file.name);
      }
      if (photos.some(({ region }) => region.getRegion() !== null)) {
        for (const { region } of photos) {
          form.append("crop", (region.getRegion() ?? region.getWhole()).join());
        }
      }
      const chosen = [...sources.keys()].filter((id) => sources.get(id)?.checked);
      const values = {
        include: "explain,matches",
        source_kinds: kinds.value,
        sources: chosen.length < sources.size ? chosen.join() : "",
        query_kind: queryKind.value,
        bbox: area.value === "view" ? readBox() : "",
        polygon: drawn,
        country: country.value.toUpperCase().match(/\w+/g)?.join() ?? "",
        datetime: readInterval(),
        top: top.value,
        verify: verify.value,
      };
      for (const [name, value] of Object.entries(values)) {
        if (value !== "") {
          form.append(name, value);
        }
      }
      return form;
    },
    stopDrawing: () => drawing.stop(),
  };
}
