/** Choice of photos: drop, paste or file dialog, with previews and a region of each photo. */

import { createElement, replaceChildren } from "../../dom";
import { formatBytes } from "../../format";
import { strings } from "../../strings";
import { RegionEditor } from "./region_editor";

const texts = strings.locate;
/** As many photos as the API takes in one query. */
const maxPhotos = 8;

export interface ChosenPhoto {
  readonly file: File;
  /** `blob:` URL of the file. */
  readonly url: string;
  readonly region: RegionEditor;
}

export interface PhotoInputOptions {
  /** The choice has changed, so that an answer shown is not about it. */
  onChange(): void;
}

export class PhotoInput {
  readonly element: HTMLElement;
  readonly #options: PhotoInputOptions;
  readonly #list = createElement("ul", { class: "photo-list" });
  readonly #message = createElement("p", { class: "photo-message", role: "status" });
  readonly #input: HTMLInputElement;
  #abort = new AbortController();
  #photos: ChosenPhoto[] = [];

  constructor(options: PhotoInputOptions) {
    this.#options = options;
    this.#input = createElement("input", {
      type: "file",
      id: "locate-files",
      class: "visually-hidden",
      accept: "image/*,.heic,.heif,.avif,.dng",
      multiple: true,
      onchange: () => {
        this.add([...(this.#input.files ?? [])]);
        this.#input.value = "";
      },
    });
    this.element = createElement(
      "div",
      { class: "drop-zone" },
      this.#input,
      createElement("label", { htmlFor: "locate-files", class: "button" }, texts.choose),
      createElement("p", { class: "muted" }, texts.intro),
      this.#message,
      this.#list,
    );
  }

  get photos(): readonly ChosenPhoto[] {
    return this.#photos;
  }

  /** Add files; those over the limit are left out, and the user is told. */
  add(files: File[]): void {
    if (files.length === 0) {
      return;
    }
    const added = files.slice(0, maxPhotos - this.#photos.length);
    replaceChildren(this.#message, added.length < files.length ? texts.tooMany(maxPhotos) : "");
    for (const file of added) {
      const url = URL.createObjectURL(file);
      const region = new RegionEditor(url, file.name, () => this.#options.onChange());
      this.#photos.push({ file, url, region });
    }
    this.#show();
    this.#options.onChange();
  }

  /** Take files that are dropped or pasted anywhere on the page. */
  listen(): void {
    this.#abort = new AbortController();
    this.#listen();
  }

  stopListening(): void {
    this.#abort.abort();
  }

  dispose(): void {
    this.#abort.abort();
    for (const { url } of this.#photos) {
      URL.revokeObjectURL(url);
    }
    this.#photos = [];
  }

  #remove(photo: ChosenPhoto): void {
    URL.revokeObjectURL(photo.url);
    this.#photos = this.#photos.filter((other) => other !== photo);
    this.#show();
    this.#options.onChange();
    this.#input.focus();
  }

  #show(): void {
    this.element.classList.toggle("filled", this.#photos.length > 0);
    replaceChildren(
      this.#list,
      ...this.#photos.map((photo) =>
        createElement(
          "li",
          { class: "chosen-photo" },
          createElement(
            "div",
            { class: "photo-title" },
            createElement("span", { class: "file-name" }, photo.file.name),
            createElement("span", { class: "muted" }, formatBytes(photo.file.size)),
            createElement(
              "button",
              {
                type: "button",
                class: "quiet",
                "aria-label": texts.remove(photo.file.name),
                onclick: () => this.#remove(photo),
              },
              texts.removeShort,
            ),
          ),
          photo.region.element,
        ),
      ),
    );
  }

  #listen(): void {
    const { signal } = this.#abort;
    const hasFiles = (transfer: DataTransfer | null) => transfer?.types.includes("Files") === true;
    // On the whole page: a photo dropped next to the field must not replace the page.
    window.addEventListener(
      "dragover",
      (event) => {
        if (hasFiles(event.dataTransfer)) {
          event.preventDefault();
          this.element.classList.add("dragging");
        }
      },
      { signal },
    );
    window.addEventListener("dragleave", () => this.element.classList.remove("dragging"), { signal });
    window.addEventListener(
      "drop",
      (event) => {
        this.element.classList.remove("dragging");
        if (hasFiles(event.dataTransfer)) {
          event.preventDefault();
          this.add([...(event.dataTransfer?.files ?? [])]);
        }
      },
      { signal },
    );
    window.addEventListener(
      "paste",
      (event) => {
        const files = [...(event.clipboardData?.files ?? [])];
        if (files.length > 0) {
          event.preventDefault();
          this.add(files);
        }
      },
      { signal },
    );
  }
}
