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
import { PositionEditor } from "./position_editor";
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

export class ImagePanel {
  readonly element = createElement("section.image-panel", { hidden: true });
  readonly #context: AppContext;
  readonly #thumbnails: Thumbnails;
  readonly #selection: SelectionLayer;
  readonly #listeners: PanelListeners;
  #abort = new AbortController();
  #editor: PositionEditor | null = null;
  #pictureUrl: string | null = null;
  #id: string | null = null;
  #canCorrect = false;

  constructor(
    context: AppContext,
    thumbnails: Thumbnails,
    selection: SelectionLayer,
    listeners: PanelListeners,
  ) {
    this.#context = context;
    this.#thumbnails = thumbnails;
    this.#selection = selection;
    this.#listeners = listeners;
  }

  /** Whether the key has the scope for corrections. */
  setCanCorrect(canCorrect: boolean): void {
    this.#canCorrect = canCorrect;
    this.#editor?.setCanCorrect(canCorrect);
  }

  /** Show an image; null closes the panel. */
  show(id: string | null): void {
    if (id === this.#id) {
      return;
    }
    this.#clear();
    this.#id = id;
    this.element.hidden = id === null;
    if (id !== null) {
      void this.#load(id);
    }
  }

  dispose(): void {
    this.#clear();
  }

  #clear(): void {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#editor?.dispose();
    this.#editor = null;
    this.#selection.show(null);
    if (this.#pictureUrl !== null) {
      URL.revokeObjectURL(this.#pictureUrl);
      this.#pictureUrl = null;
    }
    replaceChildren(this.element);
  }

  async #load(id: string): Promise<void> {
    const { signal } = this.#abort;
    const back = this.#makeBackButton();
    replaceChildren(this.element, back, createElement("p.hint", texts.loading));
    try {
      const image = await this.#context.client.getJson<GalleryImage>(`v1/images/${id}`, signal);
      if (!signal.aborted) {
        this.#fill(image, signal);
      }
    } catch (error) {
      if (isAbort(error) || signal.aborted) {
        return;
      }
      const isMissing = error instanceof ApiError && error.status === 404;
      replaceChildren(this.element, back, createElement("p", isMissing ? texts.notFound : ""));
      if (!isMissing) {
        this.#context.showError(error);
      }
    }
  }

  #fill(image: GalleryImage, signal: AbortSignal): void {
    const heading = createElement("h2", { tabindex: "-1", class: "image-name" }, image.file_name);
    const kind = createElement("span", { class: `badge ${image.source_kind}` }, galleryTexts.kinds[image.source_kind]);
    const details = createElement("div", makeDetails(image));
    const picture = createElement("div", { class: `picture ${image.source_kind}` });
    const neighbors = makeStrip(texts.neighbors);
    const lookingAt = makeStrip(texts.lookingAt);
    const links = createElement("div.button-row");
    this.#editor = new PositionEditor(this.#context, this.#selection, image, {
      onChange: (changed) => {
        replaceChildren(details, makeDetails(changed));
        this.#listeners.onCorrected();
        void this.#loadStrips(changed, neighbors, lookingAt, signal);
      },
      onConflict: () => {
        this.#id = null;
        this.show(image.id);
        this.#listeners.onCorrected();
      },
    });
    this.#editor.setCanCorrect(this.#canCorrect);
    replaceChildren(
      this.element,
      this.#makeBackButton(),
      createElement("div.image-head", heading, kind),
      picture,
      links,
      this.#editor.element,
      details,
      neighbors,
      lookingAt,
    );
    heading.focus({ preventScroll: true });
    this.element.scrollIntoView({ block: "start" });
    this.#context.announce(image.file_name);
    this.#selection.show(image);
    this.#showNear(image);
    this.#fillLinks(links, image, signal);
    void this.#loadPicture(image, picture, signal);
    void this.#loadStrips(image, neighbors, lookingAt, signal);
  }

  #makeBackButton(): HTMLElement {
    const { back } = this.#listeners;
    return createElement("button.quiet.back", { onclick: back }, `← ${texts.back}`);
  }

  /** Move the map if the image is not in view. */
  #showNear({ lat, lon }: GalleryImage): void {
    this.#context.map.whenReady((map) => {
      if (map.getZoom() < 12 || !map.getBounds().contains([lon, lat])) {
        this.#context.map.show({ lat, lon, zoom: Math.max(16, map.getZoom()) });
      }
    });
  }

  #fillLinks(element: HTMLElement, image: GalleryImage, signal: AbortSignal): void {
    const { client } = this.#context;
    const file = `v1/images/${image.id}/file`;
    const download = makeLink(texts.download, client.resolveUrl(file), () =>
      this.#openFile(file, `${image.file_name.replace(/\.[^.]*$/, "")}.jpg`),
    );
    element.append(
      createElement(
        "button",
        { onclick: () => this.#context.map.show({ lat: image.lat, lon: image.lon, zoom: 17 }) },
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
    void this.#addPanoramaxLink(element, image, signal);
  }

  async #addPanoramaxLink(element: HTMLElement, image: GalleryImage, signal: AbortSignal): Promise<void> {
    try {
      const search = await this.#context.client.getJson<PanoramaxSearch>(
        `api/search?ids=${image.id}`,
        signal,
      );
      const links = search.features[0]?.links ?? [];
      const href = links.find((link) => link.rel === "self")?.href;
      if (href !== undefined) {
        const path = new URL(href, this.#context.client.resolveUrl("")).pathname;
        element.append(
          makeLink(texts.panoramax, this.#context.client.resolveUrl(path), () =>
            this.#openFile(path, `${image.id}.json`),
          ),
        );
      }
    } catch (error) {
      this.#report(error);
    }
  }

  /** Save a file that needs the key; a plain link cannot send it. */
  async #openFile(path: string, name: string): Promise<void> {
    try {
      saveFile(await this.#context.client.fetchBlobUrl(path), name);
    } catch (error) {
      this.#report(error);
    }
  }

  async #loadPicture(image: GalleryImage, element: HTMLElement, signal: AbortSignal): Promise<void> {
    const { client } = this.#context;
    try {
      let url: string;
      try {
        url = await client.fetchBlobUrl(`v1/images/${image.id}/file?width=1024`, signal);
      } catch (error) {
        if (!(error instanceof ApiError) || error.status === 401 || error.status === 0) {
          throw error;
        }
        // The source permits thumbnails only, or the original is not stored.
        url = await client.fetchBlobUrl(`v1/images/${image.id}/thumbnail`, signal);
      }
      this.#pictureUrl = url;
      element.append(createElement("img", { src: url, alt: texts.pictureOf(image.file_name) }));
    } catch (error) {
      if (error instanceof ApiError && error.status === 403) {
        element.append(createElement("p", texts.noPicture));
      } else {
        this.#report(error);
      }
    }
  }

  async #loadStrips(
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
        this.#context.client.getJson<{ neighbors: Neighbor[] }>(near, signal),
        this.#context.client.getJson<ImagePage>(`v1/images?${query}`, signal),
      ]);
      const entries = nearAnswer.neighbors.map(({ image: other, distance_m: distance }) =>
        makeImageEntry(other, this.#thumbnails, this.#listeners, texts.distance(distance)),
      );
      fillStrip(neighbors, entries, texts.noNeighbors);
      const looking = lookAnswer.images
        .filter((other) => other.id !== image.id)
        .map((other) => makeImageEntry(other, this.#thumbnails, this.#listeners));
      fillStrip(lookingAt, looking, texts.noLookingAt);
    } catch (error) {
      this.#report(error);
    }
  }

  #report(error: unknown): void {
    if (!isAbort(error)) {
      this.#context.showError(error);
    }
  }
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
  return createElement(
    "section.strip",
    createElement("h3", title),
    createElement("div.strip-content"),
  );
}

function fillStrip(strip: HTMLElement, entries: HTMLElement[], emptyText: string): void {
  const content = strip.querySelector(".strip-content");
  if (content !== null) {
    replaceChildren(
      content,
      entries.length === 0
        ? createElement("p.hint", emptyText)
        : createElement("ul.image-strip", ...entries),
    );
  }
}
