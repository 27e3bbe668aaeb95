/** Form of the filters: sources, creators, capture time, area. */

import type { AppContext } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import * as texts from "../../strings/gallery_filters";
import type { SourceSummary } from "./answers";
import { AreaDrawing, type DrawingMode } from "./area_drawing";
import { type Outline, boxOutline, parseTypedArea } from "./areas";
import { type GalleryFilters, countFilters } from "./filters";
import { TimeSlider } from "./time_slider";
import { TokenField } from "./token_field";
import { readViewBox } from "./view_box";


export type FilterListener = (change: Partial<GalleryFilters>) => void;

export class FilterForm {
  readonly element: HTMLElement;
  readonly #context: AppContext;
  readonly #onChange: FilterListener;
  readonly #drawing: AreaDrawing;
  readonly #sources: TokenField;
  readonly #creators: TokenField;
  readonly #times: TimeSlider;
  readonly #summary = createElement("summary");
  readonly #reset: HTMLButtonElement;
  readonly #areaText = createElement("p.hint");
  readonly #areaButtons = createElement("div.button-row");
  readonly #typedArea: HTMLInputElement;
  readonly #typedError = createElement("p.field-error", { id: "gallery-area-error", role: "alert" });
  #area: Outline | null = null;
  #sourceNames: ReadonlySet<string> | null = null;
  #drawingMode: DrawingMode | null = null;

  constructor(context: AppContext, onChange: FilterListener) {
    this.#context = context;
    this.#onChange = onChange;
    this.#drawing = new AreaDrawing(context.map);
    this.#sources = new TokenField({
      id: "gallery-sources",
      label: texts.source,
      hint: texts.sourceHint,
      check: (name) =>
        this.#sourceNames === null || this.#sourceNames.has(name) ? null : texts.unknownSource(name),
      onChange: (sources) => onChange({ sources }),
    });
    this.#creators = new TokenField({
      id: "gallery-creators",
      label: texts.creator,
      hint: texts.creatorHint,
      onChange: (creators) => onChange({ creators }),
    });
    this.#times = new TimeSlider((from, to) => onChange({ from, to }));
    this.#reset = createElement(
      "button.quiet",
      {
        onclick: () => onChange({ sources: [], creators: [], from: null, to: null, area: null }),
      },
      texts.reset,
    );
    this.#typedArea = createElement("input", {
      type: "text",
      id: "gallery-area",
      autocomplete: "off",
      placeholder: "2.2, 48.8, 2.5, 48.9",
      "aria-describedby": "gallery-area-hint gallery-area-error",
    });
    this.element = createElement(
      "details.filters",
      { open: window.innerWidth > 700 },
      this.#summary,
      this.#sources.element,
      this.#creators.element,
      this.#times.element,
      this.#makeAreaFields(),
      this.#reset,
    );
    this.#showArea();
  }

  /** Show the filters of the URL. */
  show(filters: GalleryFilters): void {
    const active = countFilters(filters);
    replaceChildren(this.#summary, texts.title(active));
    this.#reset.hidden = active === 0;
    this.#sources.setValues(filters.sources);
    this.#creators.setValues(filters.creators);
    this.#times.setPeriod(filters.from, filters.to);
    this.#area = filters.area;
    this.#showArea();
  }

  setSources(sources: readonly SourceSummary[], isComplete: boolean): void {
    const names = sources.map((source) => source.name);
    this.#sources.setChoices(names);
    this.#sourceNames = isComplete ? new Set(names) : null;
  }

  setTimes(start: string, end: string): void {
    this.#times.setEnds(start, end);
  }

  get isDrawing(): boolean {
    return this.#drawing.isActive;
  }

  dispose(): void {
    this.#drawing.stop();
  }

  #makeAreaFields(): HTMLElement {
    return createElement(
      "fieldset.field",
      createElement("legend", texts.area),
      this.#areaText,
      this.#areaButtons,
      createElement(
        "details.typed-area",
        createElement("summary", texts.typedArea),
        createElement(
          "form.token-row",
          {
            onsubmit: (event: Event) => {
              event.preventDefault();
              this.#applyTypedArea();
            },
          },
          createElement("label", { htmlFor: "gallery-area", class: "visually-hidden" }, texts.typedArea),
          this.#typedArea,
          createElement("button", { type: "submit" }, texts.apply),
        ),
        createElement("p.hint", { id: "gallery-area-hint" }, texts.typedAreaHint),
        this.#typedError,
      ),
    );
  }

  #showArea(): void {
    const mode = this.#drawingMode;
    const makeButton = (text: string, onClick: () => void) =>
      createElement("button", { onclick: onClick }, text);
    if (mode !== null) {
      replaceChildren(this.#areaText, mode === "polygon" ? texts.polygonHint : texts.lassoHint);
      replaceChildren(this.#areaButtons, makeButton(texts.cancelDrawing, () => this.#drawing.stop()));
      return;
    }
    const area = this.#area;
    replaceChildren(this.#areaText, area === null ? texts.noArea : texts.areaSet(area.length));
    replaceChildren(
      this.#areaButtons,
      makeButton(texts.lasso, () => void this.#startDrawing("freehand")),
      makeButton(texts.polygon, () => void this.#startDrawing("polygon")),
      makeButton(texts.useView, () => this.#useView()),
      area !== null && makeButton(texts.clearArea, () => this.#setArea(null)),
    );
  }

  async #startDrawing(mode: DrawingMode): Promise<void> {
    const finish = (outline: Outline) => this.#setArea(outline);
    const end = () => {
      this.#drawingMode = null;
      this.#showArea();
    };
    try {
      const started = this.#drawing.start(mode, finish, end);
      this.#drawingMode = mode;
      this.#showArea();
      this.#context.announce(mode === "polygon" ? texts.polygonHint : texts.lassoHint);
      await started;
    } catch (error) {
      this.#context.announce(texts.drawingFailed);
      this.#context.showError(error);
    }
  }

  #useView(): void {
    const map = this.#context.map.map;
    if (map !== null) {
      const [west, south, east, north] = readViewBox(map);
      // An outline cannot cross the antimeridian; a list of the view can.
      this.#setArea(west < east ? boxOutline(west, south, east, north) : null);
    }
  }

  #applyTypedArea(): void {
    const area = parseTypedArea(this.#typedArea.value);
    replaceChildren(this.#typedError, area === null ? texts.wrongArea : null);
    if (area !== null) {
      this.#setArea(area);
    }
  }

  #setArea(area: Outline | null): void {
    this.#onChange({ area });
    this.#context.announce(area === null ? texts.areaRemoved : texts.areaApplied);
  }
}
