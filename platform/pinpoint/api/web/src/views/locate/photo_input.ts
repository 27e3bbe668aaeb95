/** Choice of photos: drop, paste or file dialog, with previews and a region of each photo. */

import { createElement, replaceChildren } from "../../dom";
import { formatBytes } from "../../format";
import * as texts from "../../strings/locate";
import { type RegionEditor, createRegionEditor } from "./region_editor";

/** As many photos as the API takes in one query. */
const maxPhotos = 8;

export interface ChosenPhoto {
  readonly file: File;
  /** `blob:` URL of the file. */
  readonly url: string;
  readonly region: RegionEditor;
}

export interface PhotoInput {
  readonly element: HTMLElement;
  getPhotos(): readonly ChosenPhoto[];
  /** Take files that are dropped or pasted anywhere on the page. */
  listen(signal: AbortSignal): void;
  /** Forget the photos. */
  dispose(): void;
}

/** `onChange`: the choice has changed, so that an answer shown is not about it. */
export function createPhotoInput(onChange: () => void): PhotoInput {
  let photos: ChosenPhoto[] = [];
  const list = createElement("ul.photo-list");
  const message = createElement("p.photo-message", { role: "status" });
  const input = createElement("input.visually-hidden", {
    type: "file",
    id: "locate-files",
    accept: "image/*,.heic,.heif,.avif,.dng",
    multiple: true,
    onchange: () => {
      add(input.files);
      input.value = "";
    },
  });
  const element = createElement(
    "div.drop-zone",
    input,
    createElement("label.button", { htmlFor: input.id }, texts.choose),
    createElement("p.muted", texts.intro),
    message,
    list,
  );

  const add = (files: FileList | null | undefined) => {
    const all = [...(files ?? [])];
    const added = all.slice(0, maxPhotos - photos.length);
    replaceChildren(message, added.length < all.length && texts.tooMany(maxPhotos));
    for (const file of added) {
      const url = URL.createObjectURL(file);
      photos.push({ file, url, region: createRegionEditor(url, file.name, onChange) });
    }
    show();
  };
  const remove = (photo: ChosenPhoto) => {
    URL.revokeObjectURL(photo.url);
    photos = photos.filter((other) => other !== photo);
    show();
    input.focus();
  };
  const show = () => {
    element.classList.toggle("filled", photos.length > 0);
    replaceChildren(list, ...photos.map(makeRow));
    onChange();
  };
  const makeRow = (photo: ChosenPhoto) => {
    const { file, region } = photo;
    return createElement(
      "li.chosen-photo",
      createElement(
        "div.photo-title",
        createElement("span.file-name", file.name),
        createElement("span.muted", formatBytes(file.size)),
        createElement(
          "button.quiet",
          { "aria-label": `${texts.remove} ${file.name}`, onclick: () => remove(photo) },
          texts.remove,
        ),
      ),
      region.element,
    );
  };
  return {
    element,
    getPhotos: () => photos,
    listen: (signal) => {
      const setDragging = (isDragging: boolean) => element.classList.toggle("dragging", isDragging);
      const take = (event: Event, transfer: DataTransfer | null, isDragging = false) => {
        setDragging(isDragging);
        if (transfer?.types.includes("Files")) {
          event.preventDefault();
          if (!isDragging) {
            add(transfer.files);
          }
        }
      };
      // On the whole page: a photo dropped next to the field must not replace the page.
      window.addEventListener("dragover", (event) => take(event, event.dataTransfer, true), { signal });
      window.addEventListener("dragleave", () => setDragging(false), { signal });
      window.addEventListener("drop", (event) => take(event, event.dataTransfer), { signal });
      window.addEventListener("paste", (event) => take(event, event.clipboardData), { signal });
    },
    dispose: () => photos.splice(0).forEach(({ url }) => URL.revokeObjectURL(url)),
  };
}
