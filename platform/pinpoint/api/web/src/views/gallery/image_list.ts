/** A list of images with thumbnails, page by page. */

import type { AppContext } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import * as galleryTexts from "../../strings/gallery";
import * as imageTexts from "../../strings/gallery_image";
import * as texts from "../../strings/gallery_list";
import type { GalleryImage, ImagePage } from "./answers";
import { type GalleryFilters, type ListArea, addListArea, toQuery } from "./filters";
import type { Thumbnails } from "./thumbnails";

const pageSize = 24;

export interface ListListeners {
  openImage(id: string): void;
  /** The image under the pointer or with the focus; null for none. */
  highlight(image: GalleryImage | null): void;
  close(): void;
}

export class ImageList {
  readonly element: HTMLElement;
  readonly #context: AppContext;
  readonly #thumbnails: Thumbnails;
  readonly #listeners: ListListeners;
  readonly #heading = createElement("h2", { tabindex: "-1" });
  readonly #count = createElement("p.hint");
  readonly #items = createElement("ul.image-grid");
  readonly #more: HTMLButtonElement;
  #abort = new AbortController();
  #next: string | null = null;
  #query = "";
  #number = 0;

  constructor(context: AppContext, thumbnails: Thumbnails, listeners: ListListeners) {
    this.#context = context;
    this.#thumbnails = thumbnails;
    this.#listeners = listeners;
    this.#more = createElement(
      "button.more",
      { onclick: () => void this.#loadNext() },
      texts.more,
    );
    const close = createElement("button.quiet", { onclick: () => listeners.close() }, texts.close);
    this.element = createElement(
      "section.image-list",
      { hidden: true },
      createElement("div.list-head", this.#heading, close),
      this.#count,
      this.#items,
      this.#more,
    );
  }

  /** Show the images of an area that match the filters; null hides the list. */
  show(filters: GalleryFilters, area: ListArea | null): void {
    this.element.hidden = area === null;
    if (area === null) {
      this.#abort.abort();
      this.#query = "";
      replaceChildren(this.#items);
      return;
    }
    const query = toQuery(filters);
    addListArea(query, area);
    query.set("limit", String(pageSize));
    if (String(query) === this.#query) {
      return;
    }
    this.#query = String(query);
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#number = 0;
    this.#next = `/v1/images?${this.#query}`;
    replaceChildren(this.#heading, texts.title[area.type]);
    replaceChildren(this.#items);
    void this.#loadNext();
  }

  /** Read the same list again, because an image has changed. */
  reload(filters: GalleryFilters, area: ListArea | null): void {
    this.#query = "";
    this.show(filters, area);
  }

  /** Focus the entry of an image, or the heading. */
  focus(imageId: string | null = null): void {
    const entry = this.#items.querySelector<HTMLElement>(`[data-image="${imageId ?? ""}"]`);
    if (entry !== null) {
      entry.focus();
      return;
    }
    this.#heading.focus();
    this.element.scrollIntoView({ block: "start" });
  }

  dispose(): void {
    this.#abort.abort();
  }

  async #loadNext(): Promise<void> {
    if (this.#next === null) {
      return;
    }
    const { signal } = this.#abort;
    this.#more.disabled = true;
    this.#more.hidden = this.#number === 0;
    replaceChildren(this.#count, texts.loading);
    try {
      const page = await this.#context.client.getJson<ImagePage>(this.#next, signal);
      const entries = page.images.map((image) => this.#makeEntry(image));
      this.#items.append(...entries);
      this.#next = page.next;
      if (this.#number > 0) {
        // The keyboard goes on at the first new image.
        entries[0]?.querySelector("button")?.focus();
      }
      this.#number += page.images.length;
      const text = this.#number === 0 ? texts.none : texts.shown(this.#number, page.next !== null);
      replaceChildren(this.#count, text);
      this.#context.announce(text);
      this.#more.hidden = page.next === null;
    } catch (error) {
      if (!signal.aborted) {
        replaceChildren(this.#count);
        this.#more.hidden = false;
        this.#context.showError(error);
      }
    } finally {
      this.#more.disabled = false;
    }
  }

  #makeEntry(image: GalleryImage): HTMLElement {
    return makeImageEntry(image, this.#thumbnails, this.#listeners);
  }
}

/** An entry of a list: a button with thumbnail, name, and a second line. */
export function makeImageEntry(
  image: GalleryImage,
  thumbnails: Thumbnails,
  listeners: Pick<ListListeners, "openImage" | "highlight">,
  secondLine?: string,
): HTMLElement {
  const time = image.captured_at === null ? texts.noTime : imageTexts.day(image.captured_at);
  const button = createElement(
    "button.image-entry",
    {
      dataset: { image: image.id },
      title: image.file_name,
      onclick: () => listeners.openImage(image.id),
      onmouseenter: () => listeners.highlight(image),
      onmouseleave: () => listeners.highlight(null),
      onfocus: () => listeners.highlight(image),
      onblur: () => listeners.highlight(null),
    },
    thumbnails.createFrame(image),
    createElement("span.entry-name", image.file_name),
    createElement("span.entry-note", secondLine ?? time),
    createElement("span.visually-hidden", texts.describe(galleryTexts.kinds[image.source_kind], image.source)),
  );
  return createElement("li", button);
}
