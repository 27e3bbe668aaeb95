/** View `locate`: photos in, place and evidence out. */

import { isAbort } from "../../api_client";
import type { AppContext, MountedView, ViewDefinition } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import { describeError } from "../../error_text";
import { formatBytes, formatDistance, formatPoint } from "../../format";
import { strings } from "../../strings";
import { Thumbnails } from "../gallery/thumbnails";
import { AnswerLayers } from "./answer_layers";
import { AnswerPanel } from "./answer_panel";
import type { Answer, CitedImage } from "./answer_types";
import { Comparison, type ComparablePhoto } from "./comparison";
import { namePlace } from "./finding";
import { describeCredit } from "./image_cards";
import { requestAnswer } from "./locate_request";
import { type ChosenPhoto, PhotoInput } from "./photo_input";
import { QueryOptions } from "./query_options";

const texts = strings.locate;

/** A query with its answer, or with the reason why it has none. */
interface LocatedQuery {
  readonly photos: readonly ChosenPhoto[];
  readonly answer: Answer | null;
  readonly panel: AnswerPanel | null;
  readonly element: HTMLElement;
  readonly title: string;
}

/**
 * The view. It stays in memory with its photos and answers while another view is shown, until the
 * user signs out; they are in no storage and not in the URL.
 */
class LocateView {
  readonly #context: AppContext;
  readonly #root: HTMLElement;
  readonly #input: PhotoInput;
  readonly #options: QueryOptions;
  readonly #thumbnails: Thumbnails;
  readonly #comparison: Comparison;
  readonly #together = createElement("input", { type: "radio", name: "photo-use", checked: true });
  readonly #apart = createElement("input", { type: "radio", name: "photo-use" });
  readonly #photoUse: HTMLElement;
  readonly #submit = createElement("button", { type: "submit", class: "primary" }, texts.submit);
  readonly #cancel = createElement(
    "button",
    { type: "button", hidden: true, onclick: () => this.#abort.abort() },
    texts.cancel,
  );
  readonly #progress = createElement("progress", { max: 1, hidden: true, "aria-label": texts.progress });
  readonly #stage = createElement("p", { class: "stage", role: "status" });
  readonly #choice = createElement("div", { class: "query-choice", role: "group", "aria-label": texts.answers });
  readonly #result = createElement("div", { class: "result" });
  #layers: AnswerLayers | null = null;
  #queries: LocatedQuery[] = [];
  #shown: LocatedQuery | null = null;
  #abort = new AbortController();

  constructor(context: AppContext) {
    this.#context = context;
    this.#thumbnails = new Thumbnails(context);
    this.#comparison = new Comparison(context);
    this.#options = new QueryOptions(context);
    this.#input = new PhotoInput({ onChange: () => this.#onPhotosChanged() });
    this.#photoUse = createElement(
      "fieldset",
      { class: "photo-use", hidden: true },
      createElement("legend", {}, texts.severalPhotos),
      createElement("label", { class: "check" }, this.#together, texts.together),
      createElement("label", { class: "check" }, this.#apart, texts.apart),
    );
    this.#root = createElement(
      "div",
      { class: "locate" },
      createElement("h1", {}, texts.heading),
      createElement(
        "form",
        { class: "locate-form", onsubmit: (event: Event) => void this.#onSubmit(event) },
        this.#input.element,
        this.#photoUse,
        this.#options.element,
        createElement("div", { class: "actions" }, this.#submit, this.#cancel),
        this.#progress,
        this.#stage,
      ),
      this.#choice,
      this.#result,
    );
  }

  mount(panel: HTMLElement): void {
    panel.append(this.#root);
    this.#layers = new AnswerLayers(this.#context, {
      onHover: (id) => this.#emphasize(id),
      onSelect: (id) => this.#shown?.panel?.focusImage(id),
    });
    this.#layers.show(this.#shown?.answer ?? null);
    this.#input.listen();
  }

  /** Leave the page; photos and answers stay. */
  unmount(): void {
    this.#input.stopListening();
    this.#options.stopDrawing();
    this.#comparison.close();
    this.#layers?.dispose();
    this.#layers = null;
  }

  /** Forget photos and answers. */
  dispose(): void {
    this.#abort.abort();
    this.#input.dispose();
    this.#options.dispose();
    this.#comparison.dispose();
    this.#thumbnails.dispose();
  }

  #onPhotosChanged(): void {
    const { photos } = this.#input;
    this.#photoUse.hidden = photos.length < 2;
    replaceChildren(this.#submit, this.#queries.length > 0 ? texts.again : texts.submit);
    replaceChildren(this.#stage, "");
  }

  async #onSubmit(event: Event): Promise<void> {
    event.preventDefault();
    const { photos } = this.#input;
    const queries = this.#apart.checked ? photos.map((photo) => [photo]) : [[...photos]];
    const message = photos.length === 0 ? texts.noPhotos : checkRegions(queries);
    if (message !== "") {
      replaceChildren(this.#stage, message);
      return;
    }
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.#clearAnswers();
    this.#showBusy(true);
    try {
      for (const [index, query] of queries.entries()) {
        await this.#locate(query, index, queries.length, signal);
      }
      replaceChildren(this.#stage, "");
    } catch (error) {
      if (!isAbort(error)) {
        throw error;
      }
      replaceChildren(this.#stage, texts.canceled);
    } finally {
      if (this.#abort.signal === signal) {
        this.#showBusy(false);
        replaceChildren(this.#submit, this.#queries.length > 0 ? texts.again : texts.submit);
      }
    }
  }

  async #locate(photos: ChosenPhoto[], index: number, count: number, signal: AbortSignal): Promise<void> {
    const prefix = count > 1 ? `${texts.answerOf(index + 1, count)} ` : "";
    try {
      const answer = await requestAnswer(
        this.#context.client,
        this.#options.makeForm(photos),
        {
          onSent: (sent, total) => this.#showSent(prefix, sent, total),
          onStage: (name) => replaceChildren(this.#stage, prefix + texts.stageRuns(texts.stageNames[name] ?? name)),
        },
        signal,
      );
      const panel = new AnswerPanel(answer, {
        thumbnails: this.#thumbnails,
        onHover: (id) => this.#emphasize(id),
        onCompare: (id) => this.#compare(photos, answer, id),
      });
      const title = answer.abstention_reason === null ? (namePlace(answer) ?? texts.finding) : texts.abstainedShort;
      this.#add({ photos, answer, panel, element: panel.element, title });
      this.#context.announce(prefix + describeAnswer(answer));
    } catch (error) {
      if (isAbort(error)) {
        throw error;
      }
      const names = photos.map(({ file }) => file.name).join(", ");
      const element = createElement(
        "section",
        { class: "failure", "aria-label": texts.failed },
        createElement("h2", {}, texts.failed),
        createElement("p", { class: "error", role: "alert" }, describeError(error)),
        createElement("p", { class: "muted" }, names),
      );
      this.#add({ photos, answer: null, panel: null, element, title: texts.failed });
    }
  }

  /** Add a query; the first one is shown, the others can be chosen. */
  #add(query: LocatedQuery): void {
    this.#queries.push(query);
    if (this.#queries.length === 1) {
      this.#show(query);
      this.#result.scrollIntoView({ block: "start" });
    }
    this.#showChoice();
  }

  #show(query: LocatedQuery | null): void {
    this.#shown = query;
    replaceChildren(this.#result, query?.element);
    this.#layers?.show(query?.answer ?? null);
    this.#showChoice();
  }

  #showChoice(): void {
    this.#choice.hidden = this.#queries.length < 2;
    const buttons = this.#queries.map((query) => {
      const photo = query.photos[0];
      const hasPreview = photo !== undefined && photo.region.hasPreview;
      return createElement(
        "button",
        { type: "button", "aria-pressed": String(query === this.#shown), onclick: () => this.#choose(query) },
        hasPreview && createElement("img", { src: photo.url, alt: "" }),
        createElement("span", {}, query.title),
      );
    });
    replaceChildren(this.#choice, ...buttons);
  }

  #choose(query: LocatedQuery): void {
    this.#show(query);
    this.#choice.querySelector<HTMLElement>("[aria-pressed=true]")?.focus();
    this.#context.announce(query.answer === null ? texts.failed : describeAnswer(query.answer));
  }

  #compare(photos: readonly ChosenPhoto[], answer: Answer, imageId: string): void {
    const queryPhotos: ComparablePhoto[] = photos.map(({ file, url }, number) => ({
      id: `query-${number}`,
      name: texts.yourPhoto(number + 1),
      credit: `${texts.yourPhoto(number + 1)} · ${file.name}`,
      query: { file, url, number },
    }));
    const images = new Map<string, { image: CitedImage; role: string }>();
    const add = (image: CitedImage, role: string) => {
      if (!images.has(image.image_id)) {
        images.set(image.image_id, { image, role });
      }
    };
    answer.candidates.forEach((image, index) => add(image, texts.candidateRank(index + 1)));
    Object.values(answer.citations).flat().forEach((image) => add(image, texts.evidence));
    answer.candidates.flatMap(({ evidence }) => evidence).forEach((image) => add(image, texts.evidence));
    const compared = answer.explanation?.candidates ?? [];
    const galleryPhotos = [...images].map(([id, { image, role }]): ComparablePhoto => ({
      id,
      name: `${role} · ${image.file_name ?? texts.deleted}`,
      credit: describeCredit(image),
      query: null,
    }));
    for (const { image_id: id, rank } of compared) {
      if (!images.has(id)) {
        galleryPhotos.push({ id, name: texts.candidateRank(rank + 1), credit: texts.noCredit, query: null });
      }
    }
    const matches = answer.matches ?? [];
    const matched = matches.find((match) => match.image_id === imageId && match.query_points.length > 0);
    this.#comparison.setPhotos([...queryPhotos, ...galleryPhotos], matches);
    this.#comparison.open(`query-${matched?.photo ?? 0}`, imageId);
  }

  #emphasize(imageId: string | null): void {
    this.#layers?.emphasize(imageId);
    this.#shown?.panel?.emphasize(imageId);
  }

  #clearAnswers(): void {
    this.#queries = [];
    this.#show(null);
  }

  #showSent(prefix: string, sent: number, total: number): void {
    if (sent < total) {
      this.#progress.value = sent / total;
      replaceChildren(this.#stage, prefix + texts.sending(formatBytes(sent), formatBytes(total)));
    } else {
      // Without a value the bar shows work of unknown duration.
      this.#progress.removeAttribute("value");
      replaceChildren(this.#stage, prefix + texts.working);
    }
  }

  #showBusy(isBusy: boolean): void {
    this.#submit.disabled = isBusy;
    this.#cancel.hidden = !isBusy;
    this.#progress.hidden = !isBusy;
  }
}

/** Why these regions cannot be sent; empty if they can. A photo without a preview has no known size. */
function checkRegions(queries: readonly (readonly ChosenPhoto[])[]): string {
  const isMixed = queries.some(
    (photos) => photos.some(({ region }) => region.region !== null) && photos.some(({ region }) => !region.hasPreview),
  );
  return isMixed ? texts.regionNeedsPreview : "";
}

/** The answer in one sentence, for screen readers. */
function describeAnswer(answer: Answer): string {
  const { point, abstention_reason, credible_discs } = answer;
  if (abstention_reason !== null || point === null) {
    return texts.announcedAbstention;
  }
  const widest = [...credible_discs].sort((a, b) => b.probability - a.probability)[0];
  const radius = widest === undefined ? "" : ` ${texts.within(formatDistance(widest.radius_m))}.`;
  return texts.announced(namePlace(answer) ?? formatPoint(point)) + radius;
}

let kept: { view: LocateView; context: AppContext } | null = null;

/** The view of this page; a signed-out user's view is forgotten. */
function getView(context: AppContext): LocateView {
  if (kept === null || kept.context !== context) {
    const view = new LocateView(context);
    kept = { view, context };
    context.client.addEventListener(
      "signed-out",
      () => {
        view.dispose();
        kept = null;
      },
      { once: true },
    );
  }
  return kept.view;
}

export const view: ViewDefinition = {
  mount(panel, context): MountedView {
    const locateView = getView(context);
    locateView.mount(panel);
    return {
      // The state of the URL has nothing of this view: photos and answers never get there.
      update() {},
      dispose: () => locateView.unmount(),
    };
  },
};
