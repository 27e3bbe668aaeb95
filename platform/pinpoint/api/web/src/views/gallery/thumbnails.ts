/** Pictures of images: loaded when they come into view, a few at a time, as `blob:` URLs. */

import { ApiError, isAbort } from "../../api_client";
import type { AppContext } from "../../context";
import { createElement } from "../../dom";
import * as listTexts from "../../strings/gallery_list";
import type { GalleryImage } from "./answers";

type ThumbnailImage = Pick<GalleryImage, "id" | "source_kind">;

const maxRequests = 4;
const maxKept = 400;

/** Loads thumbnails and keeps them until it is disposed. */
export class Thumbnails {
  readonly #context: AppContext;
  readonly #abort = new AbortController();
  readonly #urls = new Map<string, string>();
  readonly #waiting: [HTMLElement, ThumbnailImage][] = [];
  readonly #observer: IntersectionObserver;
  readonly #images = new WeakMap<Element, ThumbnailImage>();
  #running = 0;

  constructor(context: AppContext) {
    this.#context = context;
    this.#observer = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const image = this.#images.get(target);
        if (isIntersecting && image !== undefined) {
          this.#observer.unobserve(target);
          this.#waiting.push([target as HTMLElement, image]);
          this.#startNext();
        }
      }
    });
  }

  /** A frame that shows the thumbnail of an image; the text next to it names the image. */
  createFrame(image: ThumbnailImage): HTMLElement {
    const frame = createElement("span", { class: `thumbnail ${image.source_kind}` });
    const url = this.#urls.get(image.id);
    if (url === undefined) {
      this.#images.set(frame, image);
      this.#observer.observe(frame);
    } else {
      frame.append(createElement("img", { src: url, alt: "" }));
    }
    return frame;
  }

  dispose(): void {
    this.#abort.abort();
    this.#observer.disconnect();
    this.#waiting.length = 0;
    for (const url of this.#urls.values()) {
      URL.revokeObjectURL(url);
    }
    this.#urls.clear();
  }

  #startNext(): void {
    while (this.#running < maxRequests && this.#waiting.length > 0) {
      const [frame, image] = this.#waiting.shift() as [HTMLElement, ThumbnailImage];
      if (frame.isConnected) {
        this.#running += 1;
        void this.#load(frame, image).finally(() => {
          this.#running -= 1;
          this.#startNext();
        });
      }
    }
  }

  async #load(frame: HTMLElement, image: ThumbnailImage): Promise<void> {
    try {
      const path = `v1/images/${image.id}/thumbnail`;
      const url = await this.#context.client.fetchBlobUrl(path, this.#abort.signal);
      if (this.#abort.signal.aborted) {
        URL.revokeObjectURL(url);
        return;
      }
      this.#keep(image.id, url);
      frame.append(createElement("img", { src: url, alt: "" }));
    } catch (error) {
      if (isAbort(error)) {
        return;
      }
      const isExpected = error instanceof ApiError && (error.status === 403 || error.status === 404);
      frame.append(createElement("span.no-preview", listTexts.noPreview));
      if (!isExpected) {
        this.#context.showError(error);
        // One error, not one for each image of a list.
        this.#waiting.length = 0;
      }
    }
  }

  #keep(id: string, url: string): void {
    const old = this.#urls.get(id);
    if (old !== undefined) {
      URL.revokeObjectURL(old);
    }
    this.#urls.set(id, url);
    if (this.#urls.size > maxKept) {
      const [oldest, oldestUrl] = this.#urls.entries().next().value as [string, string];
      this.#urls.delete(oldest);
      // A frame that still shows it has decoded it already.
      URL.revokeObjectURL(oldestUrl);
    }
  }
}
