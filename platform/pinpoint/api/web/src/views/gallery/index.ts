/** View `gallery`: where the images are, which ones, and the correction of their positions. */

import type { AppContext, ViewDefinition } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import * as texts from "../../strings/gallery";
import * as legendTexts from "../../strings/gallery_legend";
import type { PageState } from "../../url_state";
import type { SourceSummary } from "./answers";
import { createFilterForm } from "./filter_form";
import {
  type GalleryFilters,
  type ListArea,
  type MapLayerChoice,
  formatFilters,
  formatListArea,
  parseFilters,
  parseListArea,
} from "./filters";
import { createGalleryLayers } from "./gallery_layers";
import { createImageList } from "./image_list";
import { createImagePanel } from "./image_panel";
import { showLegend } from "./legend";
import { createSelectionLayer } from "./selection_layer";
import { createThumbnails } from "./thumbnails";
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

function createGalleryView(panel: HTMLElement, context: AppContext) {
  const browse = createElement("div.gallery-browse");
  const count = createElement("p.view-count", texts.inView.loading);
  const mapError = createElement("p.map-error", { role: "alert" });
  const legend = createElement("div.legend", { role: "group", "aria-label": legendTexts.title });
  const abort = new AbortController();
  const radios = new Map<MapLayerChoice, HTMLInputElement>();
  let hasTileError = false;
  let stopCounting: () => void = () => {};
  let shownState: PageState = context.state.get();
  const thumbnails = createThumbnails(context);
  const openImage = (id: string) => context.state.set({ image: id });
  const layers = createGalleryLayers(context, {
    openList: (area) => openList(area),
    openImage,
    isBusy: () => form.isDrawing,
    onTileError: (isTooSlow) => showTileError(isTooSlow ? texts.tooSlow : texts.tileFailed),
  });
  const selection = createSelectionLayer(context, layers);
  const form = createFilterForm(context, (change) => changeFilters(change));
  const { highlight } = layers;
  const imageList = createImageList(context, thumbnails, {
    openImage,
    highlight,
    close: () => context.state.setFilter("list", null),
  });
  const imagePanel = createImagePanel(context, thumbnails, selection, {
    openImage,
    highlight,
    onCorrected: () => reload(),
    back: () => closeImage(),
  });
  panel.append(createElement("div.gallery", browse, imagePanel.element));
  fillBrowse();
  layers.add(readFilters());
  startCounting();
  update(shownState);
  void loadBasics();

  function update(state: PageState): void {
    shownState = state;
    const filters = readFilters();
    form.show(filters);
    layers.setFilters(filters);
    for (const [choice, radio] of radios) {
      radio.checked = choice === filters.show;
    }
    browse.hidden = state.image !== null;
    imagePanel.show(state.image);
    imageList.show(filters, readListArea());
  }

  function dispose(): void {
    abort.abort();
    stopCounting();
    form.dispose();
    imagePanel.dispose();
    imageList.dispose();
    selection.dispose();
    layers.dispose();
    thumbnails.dispose();
  }

  function readFilters(): GalleryFilters {
    return parseFilters(shownState.filters);
  }

  function readListArea(): ListArea | null {
    return parseListArea(shownState.filters["list"]);
  }

  function fillBrowse(): void {
    const options = choices.map((choice) => {
      const radio = createElement("input", {
        type: "radio",
        name: "gallery-show",
        onchange: () => changeFilters({ show: choice }),
      });
      radios.set(choice, radio);
      return createElement("label", { class: `choice ${choice}` }, radio, texts.layers[choice]);
    });
    browse.append(
      createElement("h1", texts.title),
      createElement("p.intro", texts.intro),
      createElement(
        "div.view-summary",
        count,
        createElement("button", { onclick: () => listView() }, texts.listInView),
      ),
      mapError,
      createElement("fieldset.choices", createElement("legend", texts.show), createElement("div.segments", ...options)),
      legend,
      form.element,
      createElement("p.hint", texts.mapHint),
      imageList.element,
    );
  }

  function changeFilters(change: Partial<GalleryFilters>): void {
    showTileError(null);
    const filters = formatFilters({ ...readFilters(), ...change }, shownState.filters);
    context.state.set({ filters });
  }

  function openList(area: ListArea): void {
    const filters = { ...shownState.filters, list: formatListArea(area) };
    context.state.set({ image: null, filters });
    imageList.focus();
  }

  function listView(): void {
    const map = context.map.map;
    if (map !== null) {
      openList({ type: "box", box: readViewBox(map) });
    }
  }

  function closeImage(): void {
    const { image } = shownState;
    context.state.set({ image: null });
    if (readListArea() !== null) {
      imageList.focus(image);
    }
  }

  /** An image has moved: load tiles and list again. */
  function reload(): void {
    layers.reload();
    imageList.reload(readFilters(), readListArea());
  }

  function startCounting(): void {
    context.map.whenReady((map) => {
      const show = () => showCount();
      let level = Math.floor(map.getZoom());
      // Other tiles are loaded at another level; tiles that failed are not loaded again.
      const clearError = () => {
        if (Math.floor(map.getZoom()) !== level) {
          level = Math.floor(map.getZoom());
          showTileError(null);
        }
      };
      map.on("idle", show);
      map.on("zoomend", clearError);
      stopCounting = () => {
        map.off("idle", show);
        map.off("zoomend", clearError);
      };
    });
    showLegend(legend, readFilters().show, null);
  }

  function showTileError(text: string | null): void {
    hasTileError = text !== null;
    replaceChildren(mapError, text);
  }

  function showCount(): void {
    const { map } = context.map;
    if (map === null || abort.signal.aborted) {
      return;
    }
    const { images, drawn, isOfCells, resolution } = countInView(map, layers.group.fullId("images"));
    const { cells, points, sample, none, unknown } = texts.inView;
    let text = isOfCells ? cells(images) : points(images);
    if (hasTileError) {
      text = unknown;
    } else if (images === 0) {
      text = none;
    } else if (drawn < images) {
      text = sample(drawn, images);
    }
    if (count.textContent !== text) {
      replaceChildren(count, text);
    }
    showLegend(legend, readFilters().show, isOfCells ? resolution : null);
  }

  /** Sources and times for the filters, the scopes of the key, and a first view of the gallery. */
  async function loadBasics(): Promise<void> {
    const { client } = context;
    const { signal } = abort;
    try {
      const [sources, collection, limits] = await Promise.all([
        client.getJson<{ sources: SourceSummary[]; next: string | null }>(`v1/sources?limit=${maxSources}`, signal),
        client.getJson<Extent>("ogc/collections/images", signal),
        client.getJson<{ scopes: string[] }>("v1/limits", signal),
      ]);
      form.setSources(sources.sources, sources.next === null);
      imagePanel.setCanCorrect(limits.scopes.includes("ingest"));
      const [start, end] = collection.extent?.temporal?.interval[0] ?? [null, null];
      if (start !== null && end !== null) {
        form.setTimes(start, end);
      }
      const box = collection.extent?.spatial?.bbox[0];
      if (box !== undefined && shownState.position === null && shownState.image === null) {
        context.map.show(box);
      }
    } catch (error) {
      context.showError(error);
    }
  }
  return { update, dispose };
}

export const view: ViewDefinition = {
  mount: (panel, context) => createGalleryView(panel, context),
};
