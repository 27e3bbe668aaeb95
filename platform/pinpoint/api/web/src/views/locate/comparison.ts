/** Two photos side by side, under a divider, or with lines between their matched points. */

import { ApiError, isAbort } from "../../api_client";
import type { AppContext } from "../../context";
import { createElement, createSvgElement, replaceChildren } from "../../dom";
import { strings } from "../../strings";
import type { ImageMatch } from "./answer_types";

const texts = strings.locate;
/** Height of both photos in the drawing of matched points, in its own units. */
const drawingHeight = 300;
const gap = 12;

/** A photo that can be compared: a query photo in the browser, or an image of the gallery. */
export interface ComparablePhoto {
  readonly id: string;
  readonly name: string;
  /** `blob:` URL of a query photo; null for a gallery image, which is loaded. */
  readonly url: string | null;
  /** Number of a query photo from 0. */
  readonly photo: number | null;
}

type Mode = "side" | "curtain" | "matches";

/** A dialog that compares two photos. The server gets neither the query photo nor the drawing. */
export class Comparison {
  readonly #context: AppContext;
  readonly #dialog: HTMLDialogElement;
  readonly #left = createElement("select", { onchange: () => void this.#show() });
  readonly #right = createElement("select", { onchange: () => void this.#show() });
  readonly #stage = createElement("div", { class: "comparison-stage" });
  readonly #note = createElement("p", { class: "muted", role: "status" });
  readonly #modes = new Map<Mode, HTMLInputElement>();
  #photos: ComparablePhoto[] = [];
  #matches: readonly ImageMatch[] = [];
  #urls: string[] = [];
  #abort = new AbortController();

  constructor(context: AppContext) {
    this.#context = context;
    const modes = createElement("fieldset", { class: "modes" });
    for (const mode of ["side", "curtain", "matches"] as const) {
      const input = createElement("input", {
        type: "radio",
        name: "comparison-mode",
        checked: mode === "side",
        onchange: () => void this.#show(),
      });
      this.#modes.set(mode, input);
      modes.append(createElement("label", { class: "check" }, input, texts.modes[mode]));
    }
    const close = createElement(
      "button",
      { type: "button", onclick: () => this.#dialog.close() },
      strings.shell.close,
    );
    this.#dialog = createElement(
      "dialog",
      { class: "comparison", "aria-label": texts.comparison, onclose: () => this.#empty() },
      createElement("div", { class: "comparison-head" }, createElement("h2", {}, texts.comparison), close),
      createElement(
        "div",
        { class: "comparison-choice" },
        createElement("label", {}, texts.left, this.#left),
        createElement("label", {}, texts.right, this.#right),
        modes,
      ),
      this.#note,
      this.#stage,
    );
    document.body.append(this.#dialog);
  }

  /** Photos among which the user chooses, and the matched points between them. */
  setPhotos(photos: ComparablePhoto[], matches: readonly ImageMatch[]): void {
    this.#photos = photos;
    this.#matches = matches;
    for (const select of [this.#left, this.#right]) {
      replaceChildren(
        select,
        ...photos.map(({ id, name }) => createElement("option", { value: id }, name)),
      );
    }
  }

  open(leftId: string, rightId: string): void {
    this.#left.value = leftId;
    this.#right.value = rightId;
    const hasMatches = this.#findMatch()?.query_points.length ? true : false;
    const mode = this.#modes.get(hasMatches ? "matches" : "side");
    if (mode !== undefined) {
      mode.checked = true;
    }
    this.#dialog.showModal();
    void this.#show();
  }

  dispose(): void {
    this.#empty();
    this.#dialog.remove();
  }

  #empty(): void {
    this.#abort.abort();
    this.#abort = new AbortController();
    for (const url of this.#urls.splice(0)) {
      URL.revokeObjectURL(url);
    }
    replaceChildren(this.#stage);
  }

  async #show(): Promise<void> {
    this.#empty();
    const { signal } = this.#abort;
    const left = this.#photos.find(({ id }) => id === this.#left.value);
    const right = this.#photos.find(({ id }) => id === this.#right.value);
    if (left === undefined || right === undefined) {
      return;
    }
    replaceChildren(this.#note, "");
    try {
      const [leftUrl, rightUrl] = await Promise.all([this.#load(left, signal), this.#load(right, signal)]);
      if (signal.aborted) {
        return;
      }
      const mode = [...this.#modes].find(([, input]) => input.checked)?.[0] ?? "side";
      const draw = { side: drawPair, curtain: drawCurtain, matches: drawPair }[mode];
      const match = mode === "matches" ? this.#findMatch() : undefined;
      if (mode === "matches" && !match?.query_points.length) {
        replaceChildren(this.#note, texts.noMatches);
      }
      const drawing = match?.query_points.length
        ? drawMatches(match, leftUrl, rightUrl, left.photo === null, right)
        : draw({ url: leftUrl, name: left.name }, { url: rightUrl, name: right.name });
      replaceChildren(this.#stage, drawing);
    } catch (error) {
      if (!isAbort(error)) {
        this.#context.showError(error);
      }
    }
  }

  /** The file of an image, or its thumbnail if the key may not see the file. */
  async #load(photo: ComparablePhoto, signal: AbortSignal): Promise<string> {
    if (photo.url !== null) {
      return photo.url;
    }
    let url: string;
    try {
      url = await this.#context.client.fetchBlobUrl(`v1/images/${photo.id}/file`, signal);
    } catch (error) {
      if (!(error instanceof ApiError) || ![403, 404, 409, 410].includes(error.status)) {
        throw error;
      }
      url = await this.#context.client.fetchBlobUrl(`v1/images/${photo.id}/thumbnail`, signal);
      replaceChildren(this.#note, texts.smallerImage);
    }
    this.#urls.push(url);
    return url;
  }

  /** Matched points of the chosen query photo and the chosen image, in either order. */
  #findMatch(): ImageMatch | undefined {
    const chosen = [this.#left.value, this.#right.value].map((id) =>
      this.#photos.find((photo) => photo.id === id),
    );
    const query = chosen.find((photo) => photo?.photo !== null && photo !== undefined);
    const image = chosen.find((photo) => photo?.photo === null);
    return this.#matches.find(
      (match) => match.image_id === image?.id && match.photo === query?.photo,
    );
  }
}

interface NamedUrl {
  url: string;
  name: string;
}

function drawPair(left: NamedUrl, right: NamedUrl): HTMLElement {
  const figure = ({ url, name }: NamedUrl) =>
    createElement(
      "figure",
      {},
      createElement("img", { src: url, alt: name }),
      createElement("figcaption", {}, name),
    );
  return createElement("div", { class: "comparison-pair" }, figure(left), figure(right));
}

function drawCurtain(left: NamedUrl, right: NamedUrl): HTMLElement {
  const upper = createElement("img", { src: left.url, alt: left.name, class: "upper" });
  const divider = createElement("input", {
    type: "range",
    min: "0",
    max: "100",
    value: "50",
    "aria-label": texts.curtain,
    oninput: () => move(),
  });
  const move = () => {
    upper.style.clipPath = `inset(0 ${100 - Number(divider.value)}% 0 0)`;
  };
  move();
  return createElement(
    "div",
    { class: "comparison-curtain" },
    createElement("div", { class: "layers" }, createElement("img", { src: right.url, alt: right.name }), upper),
    divider,
  );
}

/** Both photos with a line between each pair of matched points. */
function drawMatches(
  match: ImageMatch,
  leftUrl: string,
  rightUrl: string,
  isQueryRight: boolean,
  right: ComparablePhoto,
): SVGElement {
  const query = { width: match.query_width_px, height: match.query_height_px, points: match.query_points };
  const image = { width: match.image_width_px, height: match.image_height_px, points: match.image_points };
  const [first, second] = isQueryRight ? [image, query] : [query, image];
  const widths = [first, second].map(({ width, height }) => (width * drawingHeight) / height) as [number, number];
  const offset = widths[0] + gap;
  const drawing = createSvgElement("svg", {
    viewBox: `0 0 ${offset + widths[1]} ${drawingHeight}`,
    class: "comparison-matches",
    role: "img",
    "aria-label": texts.matchedPoints(match.query_points.length, right.name),
  });
  const photo = (url: string, x: number, width: number) =>
    createSvgElement("image", { href: url, x, y: 0, width, height: drawingHeight, preserveAspectRatio: "none" });
  drawing.append(photo(leftUrl, 0, widths[0]), photo(rightUrl, offset, widths[1]));
  for (const [index, [x1, y1]] of first.points.entries()) {
    const [x2, y2] = second.points[index] ?? [0, 0];
    const start = { x: (x1 * widths[0]) / first.width, y: (y1 * drawingHeight) / first.height };
    const end = { x: offset + (x2 * widths[1]) / second.width, y: (y2 * drawingHeight) / second.height };
    drawing.append(
      createSvgElement("line", { x1: start.x, y1: start.y, x2: end.x, y2: end.y, class: `hue-${index % 6}` }),
      createSvgElement("circle", { cx: start.x, cy: start.y, r: 2.2, class: `hue-${index % 6}` }),
      createSvgElement("circle", { cx: end.x, cy: end.y, r: 2.2, class: `hue-${index % 6}` }),
    );
  }
  return drawing;
}
