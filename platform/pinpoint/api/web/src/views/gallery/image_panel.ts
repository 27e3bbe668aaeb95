/** The panel of one image: picture, metadata, links, correction, images near it. */

import { ApiError, isAbort } from "../../api_client";
import type { AppContext } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import { saveFile } from "../../save_file";
import * as galleryTexts from "../../strings/gallery";
import * as texts from "../../strings/gallery_image";
import type { GalleryImage, ImagePage, Neighbor } from "./answers";
import { makeDetails } from "./image_details";
import { makeImageEntry } from "./image_list";
import { type PositionEditor, createPositionEditor } from "./position_editor";
import type { SelectionLayer } from "./selection_layer";
import type { Thumbnails } from "./thumbnails";

const neighborRadiusM = 250;
const maxNeighbors = 24;

export interface PanelListeners {
  openImage(id: string): void;
  highlight(image: GalleryImage | null): void;
  /** An image was corrected: lists and tiles are out of date. */
  onCorrected(): void;
  back(): void;
}

interface PanoramaxSearch {
  features: { links: { rel: string; href: string }[] }[];
}

export type ImagePanel = ReturnType<typeof createImagePanel>;

export function createImagePanel(
  context: AppContext,
  thumbnails: Thumbnails,
  selection: SelectionLayer,
  listeners: PanelListeners,
) {
  const panel = createElement("section.image-panel", { hidden: true });
  let abort = new AbortController();
  let editor: PositionEditor | null = null;
  let pictureUrl: string | null = null;
  let shownId: string | null = null;
  let mayCorrect = false;

  /** Whether the key has the scope for corrections. */
  function setCanCorrect(canCorrect: boolean): void {
    mayCorrect = canCorrect;
    editor?.setCanCorrect(canCorrect);
  }

  /** Show an image; null closes the panel. */
  function show(id: string | null): void {
    if (id === shownId) {
      return;
    }
    clear();
    shownId = id;
    panel.hidden = id === null;
    if (id !== null) {
      void load(id);
    }
  }

  function dispose(): void {
    clear();
  }

  function clear(): void {
    abort.abort();
    abort = new AbortController();
    editor?.dispose();
    editor = null;
    selection.show(null);
    if (pictureUrl !== null) {
      URL.revokeObjectURL(pictureUrl);
      pictureUrl = null;
    }
    replaceChildren(panel);
  }

  async function load(id: string): Promise<void> {
    const { signal } = abort;
    const back = makeBackButton();
    replaceChildren(panel, back, createElement("p.hint", texts.loading));
    try {
      const image = await context.client.getJson<GalleryImage>(`v1/images/${id}`, signal);
      if (!signal.aborted) {
        fill(image, signal);
      }
    } catch (error) {
      if (isAbort(error) || signal.aborted) {
        return;
      }
      const isMissing = error instanceof ApiError && error.status === 404;
      replaceChildren(panel, back, createElement("p", isMissing ? texts.notFound : ""));
      if (!isMissing) {
        context.showError(error);
      }
    }
  }

  function fill(image: GalleryImage, signal: AbortSignal): void {
    const heading = createElement("h2", { tabindex: "-1", class: "image-name" }, image.file_name);
    const kind = createElement("span", { class: `badge ${image.source_kind}` }, galleryTexts.kinds[image.source_kind]);
    const details = createElement("div", makeDetails(image));
    const picture = createElement("div", { class: `picture ${image.source_kind}` });
    const neighbors = makeStrip(texts.neighbors);
    const lookingAt = makeStrip(texts.lookingAt);
    const links = createElement("div.button-row");
    editor = createPositionEditor(context, selection, image, {
      onChange: (changed) => {
        replaceChildren(details, makeDetails(changed));
        listeners.onCorrected();
        void loadStrips(changed, neighbors, lookingAt, signal);
      },
      onConflict: () => {
        shownId = null;
        show(image.id);
        listeners.onCorrected();
      },
    });
    editor.setCanCorrect(mayCorrect);
    replaceChildren(
      panel,
      makeBackButton(),
      createElement("div.image-head", heading, kind),
      picture,
      links,
      editor.element,
      details,
      neighbors,
      lookingAt,
    );
    heading.focus({ preventScroll: true });
    panel.scrollIntoView({ block: "start" });
    context.announce(image.file_name);
    selection.show(image);
    showNear(image);
    fillLinks(links, image, signal);
    void loadPicture(image, picture, signal);
    void loadStrips(image, neighbors, lookingAt, signal);
  }

  function makeBackButton(): HTMLElement {
    const { back } = listeners;
    return createElement("button.quiet.back", { onclick: back }, `← ${texts.back}`);
  }

  /** Move the map if the image is not in view. */
  function showNear({ lat, lon }: GalleryImage): void {
    context.map.whenReady((map) => {
      if (map.getZoom() < 12 || !map.getBounds().contains([lon, lat])) {
        context.map.show({ lat, lon, zoom: Math.max(16, map.getZoom()) });
      }
    });
  }

  function fillLinks(element: HTMLElement, image: GalleryImage, signal: AbortSignal): void {
    const { client } = context;
    const file = `v1/images/${image.id}/file`;
    const download = makeLink(texts.download, client.resolveUrl(file), () =>
      openFile(file, `${image.file_name.replace(/\.[^.]*$/, "")}.jpg`),
    );
    element.append(
      createElement(
        "button",
        { onclick: () => context.map.show({ lat: image.lat, lon: image.lon, zoom: 17 }) },
        texts.show,
      ),
      download,
    );
    if (image.uri !== null && /^https?:\/\//i.test(image.uri)) {
      element.append(
        createElement(
          "a",
          { href: image.uri, target: "_blank", rel: "noopener noreferrer", class: "button" },
          texts.original,
        ),
      );
    }
    void addPanoramaxLink(element, image, signal);
  }

  async function addPanoramaxLink(element: HTMLElement, image: GalleryImage, signal: AbortSignal): Promise<void> {
    try {
      const search = await context.client.getJson<PanoramaxSearch>(`api/search?ids=${image.id}`, signal);
      const links = search.features[0]?.links ?? [];
      const href = links.find((link) => link.rel === "self")?.href;
      if (href !== undefined) {
        const path = new URL(href, context.client.resolveUrl("")).pathname;
        element.append(
          makeLink(texts.panoramax, context.client.resolveUrl(path), () => openFile(path, `${image.id}.json`)),
        );
      }
    } catch (error) {
      context.showError(error);
    }
  }

  /** Save a file that needs the key; a plain link cannot send it. */
  async function openFile(path: string, name: string): Promise<void> {
    try {
      saveFile(await context.client.fetchBlobUrl(path), name);
    } catch (error) {
      context.showError(error);
    }
  }

  async function loadPicture(image: GalleryImage, element: HTMLElement, signal: AbortSignal): Promise<void> {
    const { client } = context;
    try {
      // The source may permit thumbnails only, or the original is not stored.
      const { url } = await client.fetchPicture(image.id, 1_024, signal);
      pictureUrl = url;
      element.append(createElement("img", { src: url, alt: texts.pictureOf(image.file_name) }));
    } catch (error) {
      if (error instanceof ApiError && error.status === 403) {
        element.append(createElement("p", texts.noPicture));
      } else {
        context.showError(error);
      }
    }
  }

  async function loadStrips(
    image: GalleryImage,
    neighbors: HTMLElement,
    lookingAt: HTMLElement,
    signal: AbortSignal,
  ): Promise<void> {
    const near = `v1/images/${image.id}/neighbors?radius_m=${neighborRadiusM}&limit=${maxNeighbors}`;
    const query = new URLSearchParams({
      looks_at_lat: String(image.lat),
      looks_at_lon: String(image.lon),
      limit: String(maxNeighbors),
    });
    try {
      const [nearAnswer, lookAnswer] = await Promise.all([
        context.client.getJson<{ neighbors: Neighbor[] }>(near, signal),
        context.client.getJson<ImagePage>(`v1/images?${query}`, signal),
      ]);
      const entries = nearAnswer.neighbors.map(({ image: other, distance_m: distance }) =>
        makeImageEntry(other, thumbnails, listeners, texts.distance(distance)),
      );
      fillStrip(neighbors, entries, texts.noNeighbors);
      const looking = lookAnswer.images
        .filter((other) => other.id !== image.id)
        .map((other) => makeImageEntry(other, thumbnails, listeners));
      fillStrip(lookingAt, looking, texts.noLookingAt);
    } catch (error) {
      context.showError(error);
    }
  }
  return { setCanCorrect, show, dispose, element: panel };
}

function makeLink(text: string, href: string, onClick: () => Promise<void>): HTMLElement {
  return createElement(
    "a",
    {
      href,
      class: "button",
      onclick: (event: Event) => {
        event.preventDefault();
        void onClick();
      },
    },
    text,
  );
}

function makeStrip(title: string): HTMLElement {
  return createElement("section.strip", createElement("h3", title), createElement("div.strip-content"));
}

function fillStrip(strip: HTMLElement, entries: HTMLElement[], emptyText: string): void {
  const content = strip.querySelector(".strip-content");
  if (content !== null) {
    replaceChildren(
      content,
      entries.length === 0 ? createElement("p.hint", emptyText) : createElement("ul.image-strip", ...entries),
    );
  }
}
