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
import { type ChosenPhoto, PhotoInput } from "./photo_input";
import { QueryOptions } from "./query_form";

const texts = strings.locate;

class LocateView implements MountedView {
  readonly #context: AppContext;
  readonly #input: PhotoInput;
  readonly #options: QueryOptions;
  readonly #layers: AnswerLayers;
  readonly #thumbnails: Thumbnails;
  readonly #comparison: Comparison;
  readonly #together = createElement("input", { type: "checkbox", checked: true });
  readonly #togetherLabel = createElement("label", { class: "check", hidden: true }, this.#together, texts.together);
  readonly #submit = createElement("button", { type: "submit", class: "primary" }, texts.submit);
  readonly #cancel = createElement(
    "button",
    { type: "button", hidden: true, onclick: () => this.#abort.abort() },
    texts.cancel,
  );
  readonly #progress = createElement("progress", { max: 1, hidden: true, "aria-label": texts.submit });
  readonly #stage = createElement("p", { class: "stage", role: "status" });
  readonly #result = createElement("div", { class: "results" });
  #panels: AnswerPanel[] = [];
  #abort = new AbortController();

  constructor(panel: HTMLElement, context: AppContext) {
    this.#context = context;
    this.#thumbnails = new Thumbnails(context);
    this.#comparison = new Comparison(context);
    this.#layers = new AnswerLayers(context, (id) => this.#emphasize(id, true));
    this.#options = new QueryOptions(context);
    this.#input = new PhotoInput({
      onChange: () => this.#onPhotosChanged(),
      announce: context.announce,
    });
    panel.append(
      createElement("h1", {}, texts.title),
      createElement(
        "form",
        { class: "locate-form", onsubmit: (event: Event) => void this.#onSubmit(event) },
        this.#input.element,
        this.#togetherLabel,
        this.#options.element,
        createElement("div", { class: "actions" }, this.#submit, this.#cancel),
        this.#progress,
        this.#stage,
      ),
      this.#result,
    );
  }

  update(): void {
    // The state of the URL has nothing of this view: photos and answers never get there.
  }

  dispose(): void {
    this.#abort.abort();
    this.#input.dispose();
    this.#layers.dispose();
    this.#comparison.dispose();
    this.#thumbnails.dispose();
  }

  #onPhotosChanged(): void {
    this.#togetherLabel.hidden = this.#input.photos.length < 2;
    replaceChildren(this.#submit, this.#panels.length > 0 ? texts.again : texts.submit);
  }

  async #onSubmit(event: Event): Promise<void> {
    event.preventDefault();
    const { photos } = this.#input;
    if (photos.length === 0) {
      replaceChildren(this.#stage, texts.noPhotos);
      return;
    }
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.#clearAnswers();
    this.#showBusy(true);
    const queries = this.#together.checked ? [[...photos]] : photos.map((photo) => [photo]);
    try {
      for (const [index, query] of queries.entries()) {
        await this.#locate(query, index, queries.length, signal);
      }
      replaceChildren(this.#stage, "");
    } catch (error) {
      replaceChildren(this.#stage, isAbort(error) ? texts.canceled : "");
    } finally {
      this.#showBusy(false);
      this.#onPhotosChanged();
    }
  }

  async #locate(query: ChosenPhoto[], index: number, count: number, signal: AbortSignal): Promise<void> {
    const heading = count > 1 ? createElement("h2", {}, texts.answerOf(index + 1, count)) : null;
    try {
      const answer = await this.#context.client.upload<Answer>(
        "v1/locate",
        this.#options.makeForm(query),
        (sent, total) => this.#showProgress(sent, total),
        signal,
      );
      const panel = new AnswerPanel(answer, {
        thumbnails: this.#thumbnails,
        onHover: (id) => this.#emphasize(id, false),
        onCompare: (id) => this.#compare(query, answer, id),
      });
      this.#panels.push(panel);
      const show = createElement("section", { class: "result" }, heading, panel.element);
      this.#result.append(show);
      if (count > 1) {
        show.addEventListener("focusin", () => this.#layers.show(answer));
        show.addEventListener("click", () => this.#layers.show(answer));
      }
      this.#layers.show(answer);
      this.#announce(answer);
    } catch (error) {
      if (isAbort(error)) {
        throw error;
      }
      const text = createElement("p", { class: "error", role: "alert" }, describeError(error));
      const names = createElement("p", { class: "muted" }, query.map(({ file }) => file.name).join(", "));
      this.#result.append(createElement("section", { class: "result" }, heading, text, names));
    }
  }

  #announce(answer: Answer): void {
    const { point, abstention_reason, credible_discs } = answer;
    const radius = credible_discs.find(({ probability }) => probability === 0.5)?.radius_m;
    const text =
      abstention_reason === null && point !== null
        ? texts.announced(formatPoint(point), radius === undefined ? "?" : formatDistance(radius))
        : texts.announcedAbstention;
    this.#context.announce(text);
  }

  #compare(query: ChosenPhoto[], answer: Answer, imageId: string): void {
    const own: ComparablePhoto[] = query.map(({ url }, index) => ({
      id: `query-${index}`,
      name: texts.yourPhoto(index + 1),
      url,
      photo: index,
    }));
    const images = new Map<string, CitedImage>();
    for (const image of [...Object.values(answer.citations).flat(), ...answer.candidates]) {
      images.set(image.image_id, image);
      if ("evidence" in image) {
        for (const evidence of image.evidence) {
          images.set(evidence.image_id, evidence);
        }
      }
    }
    const cited = [...images].map(([id, { file_name }]) => ({ id, name: file_name, url: null, photo: null }));
    const matches = answer.matches ?? [];
    const matched = matches.find((match) => match.image_id === imageId && match.query_points.length > 0);
    this.#comparison.setPhotos([...own, ...cited], matches);
    this.#comparison.open(`query-${matched?.photo ?? 0}`, imageId);
  }

  #emphasize(imageId: string | null, isFromMap: boolean): void {
    this.#layers.emphasize(imageId);
    for (const panel of this.#panels) {
      panel.emphasize(imageId, { scroll: isFromMap });
    }
  }

  #clearAnswers(): void {
    this.#panels = [];
    replaceChildren(this.#result);
    this.#layers.show(null);
  }

  #showProgress(sent: number, total: number): void {
    if (sent < total) {
      this.#progress.value = sent / total;
      replaceChildren(this.#stage, texts.sending(formatBytes(sent), formatBytes(total)));
    } else {
      // Without a value the bar shows work of unknown duration.
      this.#progress.removeAttribute("value");
      replaceChildren(this.#stage, texts.working);
    }
  }

  #showBusy(isBusy: boolean): void {
    this.#submit.disabled = isBusy;
    this.#cancel.hidden = !isBusy;
    this.#progress.hidden = !isBusy;
  }
}

export const view: ViewDefinition = {
  mount: (panel, context) => new LocateView(panel, context),
};
