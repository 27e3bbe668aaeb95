/** Form of the filters: sources, creators, capture time, area. */

import type { AppContext } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import * as texts from "../../strings/gallery_filters";
import type { SourceSummary } from "./answers";
import { createAreaDrawing, type DrawingMode } from "./area_drawing";
import { type Outline, boxOutline, parseTypedArea } from "./areas";
import { type GalleryFilters, countFilters } from "./filters";
import { createTimeSlider } from "./time_slider";
import { createTokenField } from "./token_field";
import { readViewBox } from "./view_box";

export type FilterListener = (change: Partial<GalleryFilters>) => void;

export type FilterForm = ReturnType<typeof createFilterForm>;

export function createFilterForm(context: AppContext, onChange: FilterListener) {
  const summary = createElement("summary");
  const areaText = createElement("p.hint");
  const areaButtons = createElement("div.button-row");
  const typedError = createElement("p.field-error", { id: "gallery-area-error", role: "alert" });
  let shownArea: Outline | null = null;
  let sourceNames: ReadonlySet<string> | null = null;
  let drawingMode: DrawingMode | null = null;
  const drawing = createAreaDrawing(context.map);
  const sourceField = createTokenField({
    id: "gallery-sources",
    label: texts.source,
    hint: texts.sourceHint,
    check: (name) => (sourceNames === null || sourceNames.has(name) ? null : texts.unknownSource(name)),
    onChange: (sources) => onChange({ sources }),
  });
  const creatorField = createTokenField({
    id: "gallery-creators",
    label: texts.creator,
    hint: texts.creatorHint,
    onChange: (creators) => onChange({ creators }),
  });
  const times = createTimeSlider((from, to) => onChange({ from, to }));
  const reset = createElement(
    "button.quiet",
    {
      onclick: () => onChange({ sources: [], creators: [], from: null, to: null, area: null }),
    },
    texts.reset,
  );
  const typedArea = createElement("input", {
    type: "text",
    id: "gallery-area",
    autocomplete: "off",
    placeholder: "2.2, 48.8, 2.5, 48.9",
    "aria-describedby": "gallery-area-hint gallery-area-error",
  });
  const element = createElement(
    "details.filters",
    { open: window.innerWidth > 700 },
    summary,
    sourceField.element,
    creatorField.element,
    times.element,
    makeAreaFields(),
    reset,
  );
  showArea();

  /** Show the filters of the URL. */
  function show(filters: GalleryFilters): void {
    const active = countFilters(filters);
    replaceChildren(summary, texts.title(active));
    reset.hidden = active === 0;
    sourceField.setValues(filters.sources);
    creatorField.setValues(filters.creators);
    times.setPeriod(filters.from, filters.to);
    shownArea = filters.area;
    showArea();
  }

  function setSources(sources: readonly SourceSummary[], isComplete: boolean): void {
    const names = sources.map((source) => source.name);
    sourceField.setChoices(names);
    sourceNames = isComplete ? new Set(names) : null;
  }

  function setTimes(start: string, end: string): void {
    times.setEnds(start, end);
  }

  function isDrawing(): boolean {
    return drawing.isActive;
  }

  function dispose(): void {
    drawing.stop();
  }

  function makeAreaFields(): HTMLElement {
    return createElement(
      "fieldset.field",
      createElement("legend", texts.area),
      areaText,
      areaButtons,
      createElement(
        "details.typed-area",
        createElement("summary", texts.typedArea),
        createElement(
          "form.token-row",
          {
            onsubmit: (event: Event) => {
              event.preventDefault();
              applyTypedArea();
            },
          },
          createElement("label", { htmlFor: "gallery-area", class: "visually-hidden" }, texts.typedArea),
          typedArea,
          createElement("button", { type: "submit" }, texts.apply),
        ),
        createElement("p.hint", { id: "gallery-area-hint" }, texts.typedAreaHint),
        typedError,
      ),
    );
  }

  function showArea(): void {
    const mode = drawingMode;
    const makeButton = (text: string, onClick: () => void) => createElement("button", { onclick: onClick }, text);
    if (mode !== null) {
      replaceChildren(areaText, mode === "polygon" ? texts.polygonHint : texts.lassoHint);
      replaceChildren(
        areaButtons,
        makeButton(texts.cancelDrawing, () => drawing.stop()),
      );
      return;
    }
    const area = shownArea;
    replaceChildren(areaText, area === null ? texts.noArea : texts.areaSet(area.length));
    replaceChildren(
      areaButtons,
      makeButton(texts.lasso, () => void startDrawing("freehand")),
      makeButton(texts.polygon, () => void startDrawing("polygon")),
      makeButton(texts.useView, () => useView()),
      area !== null && makeButton(texts.clearArea, () => setArea(null)),
    );
  }

  async function startDrawing(mode: DrawingMode): Promise<void> {
    const finish = (outline: Outline) => setArea(outline);
    const end = () => {
      drawingMode = null;
      showArea();
    };
    try {
      const started = drawing.start(mode, finish, end);
      drawingMode = mode;
      showArea();
      context.announce(mode === "polygon" ? texts.polygonHint : texts.lassoHint);
      await started;
    } catch (error) {
      context.announce(texts.drawingFailed);
      context.showError(error);
    }
  }

  function useView(): void {
    const map = context.map.map;
    if (map !== null) {
      const [west, south, east, north] = readViewBox(map);
      // An outline cannot cross the antimeridian; a list of the view can.
      setArea(west < east ? boxOutline(west, south, east, north) : null);
    }
  }

  function applyTypedArea(): void {
    const area = parseTypedArea(typedArea.value);
    replaceChildren(typedError, area === null ? texts.wrongArea : null);
    if (area !== null) {
      setArea(area);
    }
  }

  function setArea(area: Outline | null): void {
    onChange({ area });
    context.announce(area === null ? texts.areaRemoved : texts.areaApplied);
  }
  return {
    show,
    setSources,
    setTimes,
    get isDrawing() {
      return isDrawing();
    },
    dispose,
    element,
  };
}
