/** View `locate`: photos in, place and evidence out. */

import { isAbort } from "../../api_client";
import type { AppContext, MountedView, ViewDefinition } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import { describeError } from "../../error_text";
import { formatBytes } from "../../format";
import * as texts from "../../strings/locate";
import { createThumbnails } from "../gallery/thumbnails";
import type { AnswerLayers } from "./answer_layers";
import type { AnswerPanel } from "./answer_panel";
import type { Answer } from "./answer_types";
import type { Comparison } from "./comparison";
import { requestAnswer } from "./locate_request";
import { type ChosenPhoto, createPhotoInput } from "./photo_input";
import { createQueryOptions } from "./query_options";

/** A query with its answer, or with the reason why it has none. */
interface LocatedQuery {
  readonly photos: readonly ChosenPhoto[];
  readonly element: HTMLElement;
  readonly title: string;
  readonly answer: Answer | null;
  readonly panel: AnswerPanel | null;
}

interface LocateView extends MountedView {
  mount(panel: HTMLElement): void;
  /** Forget photos and answers. */
  forget(): void;
}

/**
 * The view. It stays in memory with its photos and answers while another view is shown, until the
 * user signs out; they are in no storage and not in the URL.
 */
function createView(context: AppContext): LocateView {
  const { client, map } = context;
  let abort = new AbortController();
  let leave = new AbortController();
  let queries: LocatedQuery[] = [];
  let shown: LocatedQuery | null = null;
  let layers: AnswerLayers | null = null;
  let comparison: Comparison | null = null;
  const thumbnails = createThumbnails(context);
  const options = createQueryOptions(context);
  const makeChoice = (text: string, checked: boolean) => {
    const input = createElement("input", { type: "radio", name: "photo-use", checked });
    return [input, createElement("label.check", input, text)] as const;
  };
  const [, together] = makeChoice(texts.together, true);
  const [isApart, apart] = makeChoice(texts.apart, false);
  const photoUse = createElement(
    "fieldset.photo-use",
    { hidden: true },
    createElement("legend", texts.severalPhotos),
    together,
    apart,
  );
  const submit = createElement("button.primary", { type: "submit" }, texts.submit);
  const cancel = createElement("button", { hidden: true, onclick: () => abort.abort() }, texts.cancel);
  const progress = createElement("progress", { max: 1, hidden: true, "aria-label": texts.progress });
  const stage = createElement("div.stage", { role: "status" });
  const choice = createElement("div.query-choice", { role: "group", "aria-label": texts.answers });
  const result = createElement("div.result");
  const input = createPhotoInput(() => {
    photoUse.hidden = input.getPhotos().length < 2;
    replaceChildren(stage);
  });
  const root = createElement(
    "div.locate",
    createElement("h1", texts.heading),
    createElement(
      "form.locate-form",
      { onsubmit: (event: Event) => void onSubmit(event) },
      input.element,
      photoUse,
      options.element,
      createElement("div.actions", submit, cancel),
      progress,
      stage,
    ),
    choice,
    result,
  );

  const emphasize = (imageId: string | null) => {
    layers?.emphasize(imageId);
    shown?.panel?.emphasize(imageId);
  };
  const showLayers = async () => {
    const { signal } = leave;
    const { createAnswerLayers } = await import("./answer");
    if (!signal.aborted) {
      layers ??= createAnswerLayers(context, {
        onHover: emphasize,
        onSelect: (id) => shown?.panel?.focusImage(id),
      });
      layers.show(shown?.answer ?? null);
    }
  };
  const show = (query: LocatedQuery | null) => {
    shown = query;
    replaceChildren(result, query?.element);
    if (query?.answer || layers !== null) {
      void showLayers().catch(context.showError);
    }
    choice.hidden = queries.length < 2;
    const buttons = queries.map((row) => {
      const [photo] = row.photos;
      const choose = () => {
        show(row);
        context.announce(row.title);
        choice.querySelector<HTMLElement>("[aria-pressed=true]")?.focus();
      };
      return createElement(
        "button",
        { "aria-pressed": String(row === query), onclick: choose },
        photo?.region.hasPreview() && createElement("img", { src: photo.url, alt: "" }),
        createElement("span", row.title),
      );
    });
    replaceChildren(choice, ...buttons);
  };
  /** Show the sent bytes, then the stages; a bar without a value shows work of unknown duration. */
  const showProgress = (sent: number, total: number) => {
    if (sent < total) {
      progress.value = sent / total;
      replaceChildren(stage, texts.sending(formatBytes(sent), formatBytes(total)));
    } else {
      progress.removeAttribute("value");
      replaceChildren(stage, texts.working);
    }
  };
  const showStage = (name: string) => {
    const list = stage.querySelector("ol") ?? createElement("ol.stages");
    const text = texts.stageNames[name] ?? name;
    if (list.lastChild?.textContent !== text) {
      list.append(createElement("li", text));
    }
    replaceChildren(stage, list);
  };
  const compare = async (query: readonly ChosenPhoto[], answer: Answer, imageId: string) => {
    try {
      const { createComparison } = await import("./comparison");
      comparison ??= createComparison(context);
      comparison.open(query, answer, imageId);
    } catch (error) {
      context.showError(error);
    }
  };
  const locate = async (photos: readonly ChosenPhoto[], signal: AbortSignal): Promise<LocatedQuery> => {
    const form = options.makeForm(photos);
    try {
      const [{ createAnswerPanel }, answer] = await Promise.all([
        import("./answer"),
        requestAnswer(client, form, showProgress, showStage, signal),
      ]);
      const panel = createAnswerPanel(answer, {
        client,
        form,
        thumbnails,
        stageNames: texts.stageNames,
        onHover: emphasize,
        onCompare: (id) => void compare(photos, answer, id),
      });
      return { photos, answer, panel, element: panel.element, title: panel.title };
    } catch (error) {
      if (isAbort(error)) {
        throw error;
      }
      const element = createElement(
        "section.failure",
        createElement("h2", texts.failed),
        createElement("p.error", { role: "alert" }, describeError(error)),
        createElement("p.muted", photos.map(({ file }) => file.name).join(", ")),
      );
      return { photos, answer: null, panel: null, element, title: texts.failed };
    }
  };
  const onSubmit = async (event: Event) => {
    event.preventDefault();
    const photos = input.getPhotos();
    const groups = isApart.checked ? photos.map((photo) => [photo]) : [[...photos]];
    const message = photos.length === 0 ? texts.noPhotos : checkRegions(groups);
    if (message !== "") {
      replaceChildren(stage, message);
      return;
    }
    abort.abort();
    abort = new AbortController();
    const { signal } = abort;
    queries = [];
    show(null);
    const setBusy = (isBusy: boolean) => {
      submit.disabled = isBusy;
      cancel.hidden = progress.hidden = !isBusy;
    };
    setBusy(true);
    try {
      for (const [index, group] of groups.entries()) {
        const query = await locate(group, signal);
        queries.push(query);
        show(shown ?? query);
        if (index === 0) {
          result.scrollIntoView({ block: "start" });
        }
        context.announce((groups.length > 1 ? texts.answerOf(index + 1, groups.length) : "") + query.title);
      }
      replaceChildren(stage);
    } catch (error) {
      replaceChildren(stage, texts.canceled);
      context.showError(error);
    }
    if (abort.signal === signal) {
      setBusy(false);
    }
  };
  return {
    mount: (panel) => {
      panel.append(root);
      leave = new AbortController();
      // The map's position would tell the answer, so it stays out of the URL.
      map.setPrivate(true);
      input.listen(leave.signal);
      show(shown);
    },
    // The state of the URL has nothing of this view: photos and answers never get there.
    update() {},
    dispose: () => {
      leave.abort();
      options.stopDrawing();
      comparison?.dispose();
      layers?.dispose();
      comparison = layers = null;
      map.setPrivate(false);
    },
    forget: () => {
      abort.abort();
      input.dispose();
      thumbnails.dispose();
    },
  };
}

/** Why these regions cannot be sent; empty if they can. A photo without a preview has no known size. */
function checkRegions(queries: readonly (readonly ChosenPhoto[])[]): string {
  const isMixed = queries.some(
    (photos) =>
      photos.some(({ region }) => region.getRegion() !== null) && photos.some(({ region }) => !region.hasPreview()),
  );
  return isMixed ? texts.regionNeedsPreview : "";
}

let kept: LocateView | null = null;

export const view: ViewDefinition = {
  mount(panel, context) {
    if (kept === null) {
      kept = createView(context);
      const forget = () => {
        kept?.forget();
        kept = null;
      };
      context.client.addEventListener("signed-out", forget, { once: true });
    }
    kept.mount(panel);
    return kept;
  },
};
