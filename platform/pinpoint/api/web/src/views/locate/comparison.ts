/** A dialog that compares two photos. The server gets neither the query photo nor the drawing. */

import type { AppContext } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import * as texts from "../../strings/locate_comparison";
import { photoNumber } from "../../strings/locate_credit";
import type { Answer, CitedImage } from "./answer_types";
import { describeCredit } from "./credit";
import { type ShownPhoto, drawDivided, drawMatches, drawPair } from "./drawings";
import { showPanorama } from "./panorama";

/** A photo that can be compared: a query photo in the browser, or an image of the gallery. */
interface ComparablePhoto {
  id: string;
  name: string;
  credit: string;
  /** Query photo and its `blob:` URL; a gallery image has none and is loaded. */
  file?: File;
  url?: string;
}

type Mode = keyof typeof texts.modes;

export interface Comparison {
  /** Compare an image of an answer with a photo of its query. */
  open(photos: readonly { file: File; url: string }[], answer: Answer, imageId: string): void;
  dispose(): void;
}

export function createComparison({ client, showError }: AppContext): Comparison {
  let photos: ComparablePhoto[] = [];
  let matches: Answer["matches"] = [];
  let abort = new AbortController();
  /** Whether a gallery image is a part of a panorama, by id. */
  const faces = new Map<string, boolean>();
  const cleanups: (() => void)[] = [];
  const stage = createElement("div.comparison-stage");
  const note = createElement("p.muted.comparison-note", { role: "status" });
  const [left, right] = [0, 1].map(() => createElement("select", { onchange: () => void show() })) as [
    HTMLSelectElement,
    HTMLSelectElement,
  ];
  const modes = (Object.keys(texts.modes) as Mode[]).map((value) =>
    createElement("input", { type: "radio", name: "comparison-mode", value, onchange: () => void show() }),
  );
  const modeOf = (value: Mode) => modes.find((input) => input.value === value) as HTMLInputElement;
  const swap = () => {
    [left.value, right.value] = [right.value, left.value];
    void show();
  };
  const dialog = createElement(
    "dialog.comparison",
    { "aria-label": texts.comparison, onclose: () => empty() },
    createElement(
      "div.comparison-head",
      createElement("h2", texts.comparison),
      createElement("button", { onclick: () => dialog.close() }, texts.close),
    ),
    createElement(
      "div.comparison-choice",
      createElement("label", texts.left, left),
      createElement("button", { onclick: swap }, texts.swap),
      createElement("label", texts.right, right),
    ),
    createElement(
      "fieldset.modes",
      { "aria-label": texts.mode },
      modes.map((input) => createElement("label", input, createElement("span", texts.modes[input.value as Mode]))),
    ),
    note,
    stage,
  );
  document.body.append(dialog);

  const empty = () => {
    abort.abort();
    abort = new AbortController();
    cleanups.splice(0).forEach((cleanup) => cleanup());
    replaceChildren(stage);
  };
  const getPhoto = ({ value }: HTMLSelectElement) => photos.find(({ id }) => id === value) as ComparablePhoto;
  /** Matched points of the chosen query photo and the chosen image, in either order. */
  const findMatch = () =>
    matches?.find(({ image_id, photo, query_points }) => {
      const chosen = [left.value, right.value];
      return query_points.length > 0 && chosen.includes(image_id) && chosen.includes(String(photo));
    });
  /** A mode that does not exist for these photos is not offered; side by side always exists. */
  const enable = (mode: Mode, exists: boolean) => {
    const input = modeOf(mode);
    input.disabled = !exists;
    if (!exists && input.checked) {
      modeOf("side").checked = true;
    }
  };
  /** A query photo twice as wide as high, or a gallery image that was cut from a panorama. */
  const isPanorama = async ({ id, url }: ComparablePhoto, signal: AbortSignal) => {
    if (url !== undefined) {
      const { naturalWidth, naturalHeight } = await loadImage(url);
      return naturalWidth >= 1_024 && naturalWidth === 2 * naturalHeight;
    }
    if (!faces.has(id) && client.hasScope("read")) {
      const image = await client.getJson<{ cubemap_face: string | null }>(`v1/images/${id}`, signal);
      faces.set(id, image.cubemap_face !== null);
    }
    return faces.get(id) ?? false;
  };
  const load = async (photo: ComparablePhoto, signal: AbortSignal): Promise<ShownPhoto & { isSmall: boolean }> => {
    const { id, name, credit, url } = photo;
    if (url !== undefined) {
      return { url, name, credit, isSmall: false };
    }
    const picture = await client.fetchPicture(id, 2_048, signal);
    cleanups.push(() => URL.revokeObjectURL(picture.url));
    return { ...picture, name, credit };
  };
  const drawPanorama = async ({ id, file, name, credit }: ComparablePhoto, signal: AbortSignal) => {
    const container = createElement("div.panorama", { role: "img", "aria-label": texts.panoramaOf(name) });
    stage.append(createElement("figure", container, createElement("figcaption", credit)));
    const path = `v1/images/${id}/file?panorama=true&width=4096`;
    const image = file ?? (await (await client.request("GET", path, { signal })).blob());
    signal.throwIfAborted();
    cleanups.push(await showPanorama(container, image));
  };
  const show = async () => {
    empty();
    const { signal } = abort;
    const chosen = [getPhoto(left), getPhoto(right)] as const;
    const match = findMatch();
    enable("matches", match !== undefined);
    replaceChildren(note, texts.loading);
    try {
      const panoramas = await Promise.all(chosen.map((photo) => isPanorama(photo, signal)));
      signal.throwIfAborted();
      enable("panorama", panoramas.includes(true));
      if (modeOf("panorama").checked) {
        replaceChildren(note, texts.panoramaHint);
        for (const photo of chosen.filter((_, index) => panoramas[index])) {
          await drawPanorama(photo, signal);
        }
        return;
      }
      const shown = await Promise.all([load(chosen[0], signal), load(chosen[1], signal)]);
      signal.throwIfAborted();
      const points = match ? texts.pointsMatched(match.query_points.length) : texts.noMatches;
      replaceChildren(note, points, shown.some(({ isSmall }) => isSmall) && texts.smallerImage);
      const isStacked = stage.clientWidth < 620;
      const drawing =
        match && modeOf("matches").checked
          ? drawMatches(match, shown, chosen[1].file !== undefined, isStacked)
          : (modeOf("divided").checked ? drawDivided : drawPair)(shown);
      replaceChildren(stage, drawing);
    } catch (error) {
      showError(error);
    }
  };
  return {
    open: (queryPhotos, answer, imageId) => {
      matches = answer.matches;
      photos = [
        ...queryPhotos.map(({ file, url }, index) => {
          const name = photoNumber(index + 1);
          return { id: String(index), name, credit: `${name} · ${file.name}`, file, url };
        }),
        ...listImages(answer),
      ];
      for (const select of [left, right]) {
        replaceChildren(select, ...photos.map(({ id, name }) => createElement("option", { value: id }, name)));
      }
      const match = matches?.find(({ image_id, query_points }) => image_id === imageId && query_points.length > 0);
      [left.value, right.value] = [String(match?.photo ?? 0), imageId];
      modeOf(match ? "matches" : "side").checked = true;
      dialog.showModal();
      void show();
    },
    dispose: () => {
      empty();
      dialog.remove();
    },
  };
}

/** The images that an answer names: each once, the candidates with their rank first. */
function listImages({ candidates, citations, explanation }: Answer): ComparablePhoto[] {
  const images = new Map<string, ComparablePhoto>();
  const add = (image: CitedImage, prefix: string) => {
    const credit = describeCredit(image);
    if (!images.has(image.image_id)) {
      images.set(image.image_id, { id: image.image_id, name: prefix + credit, credit });
    }
  };
  candidates.forEach((image, index) => add(image, `${index + 1}. `));
  [...Object.values(citations).flat(), ...candidates.flatMap(({ evidence }) => evidence)].forEach((image) =>
    add(image, "– "),
  );
  for (const { image_id: id, rank } of explanation?.candidates ?? []) {
    if (!images.has(id)) {
      images.set(id, { id, name: `${rank + 1}.`, credit: "" });
    }
  }
  return [...images.values()];
}

/** The decoded image, with size 0 for a format that the browser cannot show. */
async function loadImage(url: string): Promise<HTMLImageElement> {
  const image = createElement("img", { src: url });
  await image.decode().catch(() => undefined);
  return image;
}
