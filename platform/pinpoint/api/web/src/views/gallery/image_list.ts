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

export type ImageList = ReturnType<typeof createImageList>;

export function createImageList(context: AppContext, thumbnails: Thumbnails, listeners: ListListeners) {
  const heading = createElement("h2", { tabindex: "-1" });
  const count = createElement("p.hint");
  const items = createElement("ul.image-grid");
  let abort = new AbortController();
  let nextPath: string | null = null;
  let shownQuery = "";
  let numShown = 0;
  const more = createElement("button.more", { onclick: () => void loadNext() }, texts.more);
  const close = createElement("button.quiet", { onclick: () => listeners.close() }, texts.close);
  const element = createElement(
    "section.image-list",
    { hidden: true },
    createElement("div.list-head", heading, close),
    count,
    items,
    more,
  );

  /** Show the images of an area that match the filters; null hides the list. */
  function show(filters: GalleryFilters, area: ListArea | null): void {
    element.hidden = area === null;
    if (area === null) {
      abort.abort();
      shownQuery = "";
      replaceChildren(items);
      return;
    }
    const query = toQuery(filters);
    addListArea(query, area);
    query.set("limit", String(pageSize));
    if (String(query) === shownQuery) {
      return;
    }
    shownQuery = String(query);
    abort.abort();
    abort = new AbortController();
    numShown = 0;
    nextPath = `/v1/images?${shownQuery}`;
    replaceChildren(heading, texts.title[area.type]);
    replaceChildren(items);
    void loadNext();
  }

  /** Read the same list again, because an image has changed. */
  function reload(filters: GalleryFilters, area: ListArea | null): void {
    shownQuery = "";
    show(filters, area);
  }

  /** Focus the entry of an image, or the heading. */
  function focus(imageId: string | null = null): void {
    const entry = items.querySelector<HTMLElement>(`[data-image="${imageId ?? ""}"]`);
    if (entry !== null) {
      entry.focus();
      return;
    }
    heading.focus();
    element.scrollIntoView({ block: "start" });
  }

  function dispose(): void {
    abort.abort();
  }

  async function loadNext(): Promise<void> {
    if (nextPath === null) {
      return;
    }
    const { signal } = abort;
    more.disabled = true;
    more.hidden = numShown === 0;
    replaceChildren(count, texts.loading);
    try {
      const page = await context.client.getJson<ImagePage>(nextPath, signal);
      const entries = page.images.map((image) => makeEntry(image));
      items.append(...entries);
      nextPath = page.next;
      if (numShown > 0) {
        // The keyboard goes on at the first new image.
        entries[0]?.querySelector("button")?.focus();
      }
      numShown += page.images.length;
      const text = numShown === 0 ? texts.none : texts.shown(numShown, page.next !== null);
      replaceChildren(count, text);
      context.announce(text);
      more.hidden = page.next === null;
    } catch (error) {
      if (!signal.aborted) {
        replaceChildren(count);
        more.hidden = false;
        context.showError(error);
      }
    } finally {
      more.disabled = false;
    }
  }

  function makeEntry(image: GalleryImage): HTMLElement {
    return makeImageEntry(image, thumbnails, listeners);
  }
  return { show, reload, focus, dispose, element };
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
