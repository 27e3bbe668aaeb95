/** View `gallery`: where the images are, which ones, and the correction of their positions. */

import type { AppContext, MountedView, ViewDefinition } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import * as texts from "../../strings/gallery";
import * as legendTexts from "../../strings/gallery_legend";
import type { PageState } from "../../url_state";
import type { SourceSummary } from "./answers";
import { FilterForm } from "./filter_form";
import {
  type GalleryFilters,
  type ListArea,
  type MapLayerChoice,
  formatFilters,
  formatListArea,
  parseFilters,
  parseListArea,
} from "./filters";
import { GalleryLayers } from "./gallery_layers";
import { ImageList } from "./image_list";
import { ImagePanel } from "./image_panel";
import { showLegend } from "./legend";
import { SelectionLayer } from "./selection_layer";
import { Thumbnails } from "./thumbnails";
import { readViewBox } from "./view_box";
import { countInView } from "./view_count";

const maxSources = 500;
const choices: readonly MapLayerChoice[] = ["all", "photo", "street", "gaps"];

interface Extent {
  extent?: {
    spatial?: { bbox: [number, number, number, number][] };
    temporal?: { interval: [string | null, string | null][] };
  };
}

class GalleryView implements MountedView {
  readonly #context: AppContext;
  readonly #layers: GalleryLayers;
  readonly #selection: SelectionLayer;
  readonly #thumbnails: Thumbnails;
  readonly #form: FilterForm;
  readonly #list: ImageList;
  readonly #panel: ImagePanel;
  readonly #browse = createElement("div.gallery-browse");
  readonly #count = createElement("p.view-count", texts.inView.loading);
  readonly #mapError = createElement("p.map-error", { role: "alert" });
  readonly #legend = createElement("div.legend", { role: "group", "aria-label": legendTexts.title });
  readonly #abort = new AbortController();
  readonly #radios = new Map<MapLayerChoice, HTMLInputElement>();
  #state: PageState;
  #hasTileError = false;
  #stopCounting: () => void = () => {};

  constructor(panel: HTMLElement, context: AppContext) {
    this.#context = context;
    this.#state = context.state.get();
    this.#thumbnails = new Thumbnails(context);
    const openImage = (id: string) => context.state.set({ image: id });
    this.#layers = new GalleryLayers(context, {
      openList: (area) => this.#openList(area),
      openImage,
      isBusy: () => this.#form.isDrawing,
      onTileError: (isTooSlow) => this.#showTileError(isTooSlow ? texts.tooSlow : texts.tileFailed),
    });
    this.#selection = new SelectionLayer(context, this.#layers);
    this.#form = new FilterForm(context, (change) => this.#changeFilters(change));
    const highlight = this.#layers.highlight.bind(this.#layers);
    this.#list = new ImageList(context, this.#thumbnails, {
      openImage,
      highlight,
      close: () => context.state.setFilter("list", null),
    });
    this.#panel = new ImagePanel(context, this.#thumbnails, this.#selection, {
      openImage,
      highlight,
      onCorrected: () => this.#reload(),
      back: () => this.#closeImage(),
    });
    panel.append(createElement("div.gallery", this.#browse, this.#panel.element));
    this.#fillBrowse();
    this.#layers.add(this.#filters);
    this.#startCounting();
    this.update(this.#state);
    void this.#loadBasics();
  }

  update(state: PageState): void {
    this.#state = state;
    const filters = this.#filters;
    this.#form.show(filters);
    this.#layers.setFilters(filters);
    for (const [choice, radio] of this.#radios) {
      radio.checked = choice === filters.show;
    }
    this.#browse.hidden = state.image !== null;
    this.#panel.show(state.image);
    this.#list.show(filters, this.#listArea);
  }

  dispose(): void {
    this.#abort.abort();
    this.#stopCounting();
    this.#form.dispose();
    this.#panel.dispose();
    this.#list.dispose();
    this.#selection.dispose();
    this.#layers.dispose();
    this.#thumbnails.dispose();
  }

  get #filters(): GalleryFilters {
    return parseFilters(this.#state.filters);
  }

  get #listArea(): ListArea | null {
    return parseListArea(this.#state.filters["list"]);
  }

  #fillBrowse(): void {
    const options = choices.map((choice) => {
      const radio = createElement("input", {
        type: "radio",
        name: "gallery-show",
        onchange: () => this.#changeFilters({ show: choice }),
      });
      this.#radios.set(choice, radio);
      return createElement("label", { class: `choice ${choice}` }, radio, texts.layers[choice]);
    });
    this.#browse.append(
      createElement("h1", texts.title),
      createElement("p.intro", texts.intro),
      createElement(
        "div.view-summary",
        this.#count,
        createElement("button", { onclick: () => this.#listView() }, texts.listInView),
      ),
      this.#mapError,
      createElement(
        "fieldset.choices",
        createElement("legend", texts.show),
        createElement("div.segments", ...options),
      ),
      this.#legend,
      this.#form.element,
      createElement("p.hint", texts.mapHint),
      this.#list.element,
    );
  }

  #changeFilters(change: Partial<GalleryFilters>): void {
    this.#showTileError(null);
    const filters = formatFilters({ ...this.#filters, ...change }, this.#state.filters);
    this.#context.state.set({ filters });
  }

  #openList(area: ListArea): void {
    const filters = { ...this.#state.filters, list: formatListArea(area) };
    this.#context.state.set({ image: null, filters });
    this.#list.focus();
  }

  #listView(): void {
    const map = this.#context.map.map;
    if (map !== null) {
      this.#openList({ type: "box", box: readViewBox(map) });
    }
  }

  #closeImage(): void {
    const { image } = this.#state;
    this.#context.state.set({ image: null });
    if (this.#listArea !== null) {
      this.#list.focus(image);
    }
  }

  /** An image has moved: load tiles and list again. */
  #reload(): void {
    this.#layers.reload();
    this.#list.reload(this.#filters, this.#listArea);
  }

  #startCounting(): void {
    this.#context.map.whenReady((map) => {
      const show = () => this.#showCount();
      let level = Math.floor(map.getZoom());
      // Other tiles are loaded at another level; tiles that failed are not loaded again.
      const clearError = () => {
        if (Math.floor(map.getZoom()) !== level) {
          level = Math.floor(map.getZoom());
          this.#showTileError(null);
        }
      };
      map.on("idle", show);
      map.on("zoomend", clearError);
      this.#stopCounting = () => {
        map.off("idle", show);
        map.off("zoomend", clearError);
      };
    });
    showLegend(this.#legend, this.#filters.show, null);
  }

  #showTileError(text: string | null): void {
    this.#hasTileError = text !== null;
    replaceChildren(this.#mapError, text);
  }

  #showCount(): void {
    const { map } = this.#context.map;
    if (map === null || this.#abort.signal.aborted) {
      return;
    }
    const { images, drawn, isOfCells, resolution } = countInView(map, this.#layers.group.fullId("images"));
    const { cells, points, sample, none, unknown } = texts.inView;
    let text = isOfCells ? cells(images) : points(images);
    if (this.#hasTileError) {
      text = unknown;
    } else if (images === 0) {
      text = none;
    } else if (drawn < images) {
      text = sample(drawn, images);
    }
    if (this.#count.textContent !== text) {
      replaceChildren(this.#count, text);
    }
    showLegend(this.#legend, this.#filters.show, isOfCells ? resolution : null);
  }

  /** Sources and times for the filters, the scopes of the key, and a first view of the gallery. */
  async #loadBasics(): Promise<void> {
    const { client } = this.#context;
    const { signal } = this.#abort;
    try {
      const [sources, collection, limits] = await Promise.all([
        client.getJson<{ sources: SourceSummary[]; next: string | null }>(`v1/sources?limit=${maxSources}`, signal),
        client.getJson<Extent>("ogc/collections/images", signal),
        client.getJson<{ scopes: string[] }>("v1/limits", signal),
      ]);
      this.#form.setSources(sources.sources, sources.next === null);
      this.#panel.setCanCorrect(limits.scopes.includes("ingest"));
      const [start, end] = collection.extent?.temporal?.interval[0] ?? [null, null];
      if (start !== null && end !== null) {
        this.#form.setTimes(start, end);
      }
      const box = collection.extent?.spatial?.bbox[0];
      if (box !== undefined && this.#state.position === null && this.#state.image === null) {
        this.#context.map.show(box);
      }
    } catch (error) {
      this.#context.showError(error);
    }
  }
}

export const view: ViewDefinition = {
  mount: (panel, context) => new GalleryView(panel, context),
};
