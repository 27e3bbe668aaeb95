/** Pictures of images: loaded when they come into view, a few at a time, as `blob:` URLs. */

import { ApiError, isAbort } from "../../api_client";
import type { AppContext } from "../../context";
import { createElement } from "../../dom";
import { noPreview } from "../../strings/thumbnails";
import type { GalleryImage } from "./answers";

type ThumbnailImage = Pick<GalleryImage, "id" | "source_kind">;

const maxRequests = 4;
const maxKept = 400;

export type Thumbnails = ReturnType<typeof createThumbnails>;

/** Loads thumbnails and keeps them until it is disposed. */
export function createThumbnails(context: AppContext) {
  const abort = new AbortController();
  const urls = new Map<string, string>();
  const waiting: [HTMLElement, ThumbnailImage][] = [];
  const frameImages = new WeakMap<Element, ThumbnailImage>();
  let running = 0;
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const image = frameImages.get(target);
      if (isIntersecting && image !== undefined) {
        observer.unobserve(target);
        waiting.push([target as HTMLElement, image]);
        startNext();
      }
    }
  });

  /** A frame that shows the thumbnail of an image; the text next to it names the image. */
  function createFrame(image: ThumbnailImage): HTMLElement {
    const frame = createElement("span", { class: `thumbnail ${image.source_kind}` });
    const url = urls.get(image.id);
    if (url === undefined) {
      frameImages.set(frame, image);
      observer.observe(frame);
    } else {
      frame.append(createElement("img", { src: url, alt: "" }));
    }
    return frame;
  }

  function dispose(): void {
    abort.abort();
    observer.disconnect();
    waiting.length = 0;
    for (const url of urls.values()) {
      URL.revokeObjectURL(url);
    }
    urls.clear();
  }

  function startNext(): void {
    while (running < maxRequests && waiting.length > 0) {
      const [frame, image] = waiting.shift() as [HTMLElement, ThumbnailImage];
      if (frame.isConnected) {
        running += 1;
        void load(frame, image).finally(() => {
          running -= 1;
          startNext();
        });
      }
    }
  }

  async function load(frame: HTMLElement, image: ThumbnailImage): Promise<void> {
    try {
      const path = `v1/images/${image.id}/thumbnail`;
      const url = await context.client.fetchBlobUrl(path, abort.signal);
      if (abort.signal.aborted) {
        URL.revokeObjectURL(url);
        return;
      }
      keep(image.id, url);
      frame.append(createElement("img", { src: url, alt: "" }));
    } catch (error) {
      if (isAbort(error)) {
        return;
      }
      const isExpected = error instanceof ApiError && (error.status === 403 || error.status === 404);
      frame.append(createElement("span.no-preview", noPreview));
      if (!isExpected) {
        context.showError(error);
        // One error, not one for each image of a list.
        waiting.length = 0;
      }
    }
  }

  function keep(id: string, url: string): void {
    const old = urls.get(id);
    if (old !== undefined) {
      URL.revokeObjectURL(old);
    }
    urls.set(id, url);
    if (urls.size > maxKept) {
      const [oldest, oldestUrl] = urls.entries().next().value as [string, string];
      urls.delete(oldest);
      // A frame that still shows it has decoded it already.
      URL.revokeObjectURL(oldestUrl);
    }
  }
  return { createFrame, dispose };
}
