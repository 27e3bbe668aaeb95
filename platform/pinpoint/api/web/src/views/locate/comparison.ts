/** A dialog that compares two photos. The server gets neither the query photo nor the drawing. */

import { ApiError, isAbort } from "../../api_client";
import type { AppContext } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import { strings } from "../../strings";
import type { ImageMatch } from "./answer_types";
import { type ShownPhoto, drawDivided, drawMatches, drawPair } from "./drawings";
import { type ShownPanorama, showPanorama } from "./panorama";

const texts = strings.locate;
/** Larger files are scaled by the server. */
const maxWidthPx = 2_048;
const maxPanoramaWidthPx = 4_096;
/** Answers that say that the key may not see the file, or that the file is gone. */
const unavailableStatuses = [403, 404, 409, 410];

/** A photo that can be compared: a query photo in the browser, or an image of the gallery. */
export interface ComparablePhoto {
  readonly id: string;
  readonly name: string;
  readonly credit: string;
  /** Bytes and `blob:` URL of a query photo; null for a gallery image, which is loaded. */
  readonly query: { readonly file: File; readonly url: string; readonly number: number } | null;
}

const modes = ["side", "divided", "matches", "panorama"] as const;

type Mode = (typeof modes)[number];

export class Comparison {
  readonly #context: AppContext;
  readonly #dialog: HTMLDialogElement;
  readonly #left: HTMLSelectElement;
  readonly #right: HTMLSelectElement;
  readonly #stage = createElement("div", { class: "comparison-stage" });
  readonly #note = createElement("p", { class: "muted comparison-note", role: "status" });
  readonly #modes = new Map<Mode, HTMLInputElement>();
  /** Whether a gallery image is a part of a panorama, by id. */
  readonly #panoramaImages = new Map<string, boolean>();
  #photos: readonly ComparablePhoto[] = [];
  #matches: readonly ImageMatch[] = [];
  #urls: string[] = [];
  #panoramas: ShownPanorama[] = [];
  #abort = new AbortController();

  constructor(context: AppContext) {
    this.#context = context;
    const select = () => createElement("select", { onchange: () => void this.#show() });
    [this.#left, this.#right] = [select(), select()];
    const fieldset = createElement("fieldset", { class: "modes" }, createElement("legend", { class: "visually-hidden" }, texts.mode));
    for (const mode of modes) {
      const input = createElement("input", {
        type: "radio",
        name: "comparison-mode",
        onchange: () => void this.#show(),
      });
      this.#modes.set(mode, input);
      fieldset.append(createElement("label", {}, input, createElement("span", {}, texts.modes[mode])));
    }
    const button = (text: string, onClick: () => void) =>
      createElement("button", { type: "button", onclick: onClick }, text);
    this.#dialog = createElement(
      "dialog",
      { class: "comparison", "aria-label": texts.comparison, onclose: () => this.#empty() },
      createElement(
        "div",
        { class: "comparison-head" },
        createElement("h2", {}, texts.comparison),
        button(strings.shell.close, () => this.#dialog.close()),
      ),
      createElement(
        "div",
        { class: "comparison-choice" },
        createElement("label", {}, texts.left, this.#left),
        button(texts.swap, () => this.#swap()),
        createElement("label", {}, texts.right, this.#right),
      ),
      fieldset,
      this.#note,
      this.#stage,
    );
    document.body.append(this.#dialog);
  }

  /** Photos among which the user chooses, and the matched points between them. */
  setPhotos(photos: readonly ComparablePhoto[], matches: readonly ImageMatch[]): void {
    this.#photos = photos;
    this.#matches = matches;
    for (const select of [this.#left, this.#right]) {
      replaceChildren(select, ...photos.map(({ id, name }) => createElement("option", { value: id }, name)));
    }
  }

  open(leftId: string, rightId: string): void {
    this.#left.value = leftId;
    this.#right.value = rightId;
    this.#choose(this.#findMatch() === undefined ? "side" : "matches");
    this.#dialog.showModal();
    void this.#show();
  }

  close(): void {
    this.#dialog.close();
  }

  dispose(): void {
    this.#empty();
    this.#dialog.remove();
  }

  #choose(mode: Mode): void {
    for (const [name, input] of this.#modes) {
      input.checked = name === mode;
    }
  }

  #swap(): void {
    [this.#left.value, this.#right.value] = [this.#right.value, this.#left.value];
    void this.#show();
  }

  #empty(): void {
    this.#abort.abort();
    this.#abort = new AbortController();
    for (const panorama of this.#panoramas.splice(0)) {
      panorama.dispose();
    }
    for (const url of this.#urls.splice(0)) {
      URL.revokeObjectURL(url);
    }
    replaceChildren(this.#stage);
  }

  #get(select: HTMLSelectElement): ComparablePhoto | undefined {
    return this.#photos.find(({ id }) => id === select.value);
  }

  async #show(): Promise<void> {
    this.#empty();
    const { signal } = this.#abort;
    const [left, right] = [this.#get(this.#left), this.#get(this.#right)];
    if (left === undefined || right === undefined) {
      return;
    }
    const match = this.#findMatch();
    this.#enable("matches", match !== undefined);
    replaceChildren(this.#note, texts.loading);
    try {
      const isPanorama = await Promise.all([left, right].map((photo) => this.#isPanorama(photo, signal)));
      signal.throwIfAborted();
      this.#enable("panorama", isPanorama.includes(true));
      if (this.#modes.get("panorama")?.checked === true) {
        replaceChildren(this.#note, texts.panoramaHint);
        await this.#showPanoramas([left, right].filter((_, index) => isPanorama[index]), signal);
        return;
      }
      const shown = await Promise.all([this.#load(left, signal), this.#load(right, signal)]);
      signal.throwIfAborted();
      replaceChildren(this.#note, this.#describe(match, shown.some(({ isThumbnail }) => isThumbnail)));
      this.#draw(shown, match, right.query !== null);
    } catch (error) {
      if (!isAbort(error)) {
        replaceChildren(this.#note, "");
        this.#context.showError(error);
      }
    }
  }

  /** A mode that does not exist for these photos is not offered; side by side always exists. */
  #enable(mode: Mode, exists: boolean): void {
    const input = this.#modes.get(mode);
    if (input !== undefined) {
      input.disabled = !exists;
      if (!exists && input.checked) {
        this.#choose("side");
      }
    }
  }

  #describe(match: ImageMatch | undefined, isThumbnail: boolean): string {
    const points = match === undefined ? texts.noMatches : texts.pointsMatched(match.query_points.length);
    return isThumbnail ? `${points} ${texts.smallerImage}` : points;
  }

  #draw([left, right]: [ShownPhoto, ShownPhoto], match: ImageMatch | undefined, isQueryRight: boolean): void {
    const isStacked = this.#stage.clientWidth < 620;
    if (match !== undefined && this.#modes.get("matches")?.checked === true) {
      replaceChildren(this.#stage, drawMatches(match, left, right, { isQueryRight, isStacked }));
    } else {
      const draw = this.#modes.get("divided")?.checked === true ? drawDivided : drawPair;
      replaceChildren(this.#stage, draw(left, right));
    }
  }

  async #showPanoramas(photos: readonly ComparablePhoto[], signal: AbortSignal): Promise<void> {
    const grid = createElement("div", { class: "comparison-panoramas" });
    replaceChildren(this.#stage, grid);
    for (const photo of photos) {
      const container = createElement("div", { class: "panorama", role: "img" });
      grid.append(
        createElement("figure", {}, container, createElement("figcaption", {}, photo.credit)),
      );
      const path = `v1/images/${photo.id}/file?panorama=true&width=${maxPanoramaWidthPx}`;
      const blob =
        photo.query?.file ?? (await (await this.#context.client.request("GET", path, { signal })).blob());
      signal.throwIfAborted();
      this.#panoramas.push(await showPanorama(container, blob, texts.panoramaOf(photo.name)));
    }
  }

  /** A query photo twice as wide as high, or a gallery image that was cut from a panorama. */
  async #isPanorama({ id, query }: ComparablePhoto, signal: AbortSignal): Promise<boolean> {
    const known = this.#panoramaImages.get(id);
    if (known !== undefined) {
      return known;
    }
    const isPanorama =
      query === null ? await this.#isFace(id, signal) : await isTwiceAsWide(query.url);
    if (query === null) {
      this.#panoramaImages.set(id, isPanorama);
    }
    return isPanorama;
  }

  async #isFace(imageId: string, signal: AbortSignal): Promise<boolean> {
    const { client } = this.#context;
    if (!client.hasScope("read")) {
      return false;
    }
    const image = await client.getJson<{ cubemap_face: string | null }>(`v1/images/${imageId}`, signal);
    return image.cubemap_face !== null;
  }

  /** The file of an image, or its thumbnail if the key may not see the file. */
  async #load(photo: ComparablePhoto, signal: AbortSignal): Promise<ShownPhoto & { isThumbnail: boolean }> {
    const { id, name, credit, query } = photo;
    if (query !== null) {
      return { url: query.url, name, credit, isThumbnail: false };
    }
    const { client } = this.#context;
    const path = `v1/images/${id}`;
    let url: string;
    let isThumbnail = false;
    try {
      url = await client.fetchBlobUrl(`${path}/file?width=${maxWidthPx}`, signal);
    } catch (error) {
      if (!(error instanceof ApiError) || !unavailableStatuses.includes(error.status)) {
        throw error;
      }
      url = await client.fetchBlobUrl(`${path}/thumbnail`, signal);
      isThumbnail = true;
    }
    this.#urls.push(url);
    return { url, name, credit, isThumbnail };
  }

  /** Matched points of the chosen query photo and the chosen image, in either order. */
  #findMatch(): ImageMatch | undefined {
    const chosen = [this.#get(this.#left), this.#get(this.#right)];
    const query = chosen.find((photo) => photo !== undefined && photo.query !== null);
    const image = chosen.find((photo) => photo?.query === null);
    return this.#matches.find(
      ({ image_id, photo, query_points }) =>
        image_id === image?.id && photo === query?.query?.number && query_points.length > 0,
    );
  }
}

async function isTwiceAsWide(url: string): Promise<boolean> {
  const image = new Image();
  image.src = url;
  try {
    await image.decode();
  } catch {
    // A format that the browser cannot show.
    return false;
  }
  return image.naturalWidth >= 1_024 && image.naturalWidth === 2 * image.naturalHeight;
}
