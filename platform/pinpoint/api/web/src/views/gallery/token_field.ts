/** A text field for several values: each becomes a chip with a button that removes it. */

import { createElement, replaceChildren } from "../../dom";
import * as texts from "../../strings/gallery_filters";


export interface TokenFieldOptions {
  id: string;
  label: string;
  hint: string;
  /** Whether a value can be added; the field shows a message if it cannot. */
  check?(value: string): string | null;
  onChange(values: readonly string[]): void;
}

export class TokenField {
  readonly element: HTMLElement;
  readonly #options: TokenFieldOptions;
  readonly #input: HTMLInputElement;
  readonly #choices: HTMLDataListElement;
  readonly #chips = createElement("ul.chips");
  readonly #message: HTMLElement;
  #values: readonly string[] = [];

  constructor(options: TokenFieldOptions) {
    this.#options = options;
    const { id } = options;
    this.#choices = createElement("datalist", { id: `${id}-choices` });
    this.#message = createElement("p.field-error", { id: `${id}-error`, role: "alert" });
    this.#input = createElement("input", {
      id,
      type: "text",
      list: `${id}-choices`,
      placeholder: options.hint,
      autocomplete: "off",
      maxLength: 200,
      "aria-describedby": `${id}-error`,
    });
    const row = createElement(
      "form.token-row",
      {
        onsubmit: (event: Event) => {
          event.preventDefault();
          this.#add(this.#input.value.trim());
        },
      },
      this.#input,
      createElement("button", { type: "submit" }, texts.add),
    );
    this.#input.addEventListener("input", (event) => {
      // A choice of the list arrives at once, not letter by letter.
      const isTyped = event instanceof InputEvent && event.inputType !== "insertReplacementText";
      const choices = [...this.#choices.options].map((option) => option.value);
      if (!isTyped && choices.includes(this.#input.value)) {
        this.#add(this.#input.value);
      }
    });
    this.element = createElement(
      "div.field",
      createElement("label", { htmlFor: id }, options.label),
      this.#choices,
      row,
      this.#message,
      this.#chips,
    );
  }

  setChoices(choices: readonly string[]): void {
    replaceChildren(this.#choices, ...choices.map((value) => createElement("option", { value })));
  }

  setValues(values: readonly string[]): void {
    this.#values = values;
    replaceChildren(
      this.#chips,
      ...values.map((value) =>
        createElement(
          "li.chip",
          createElement("span", value),
          createElement(
            "button",
            {
              "aria-label": texts.remove(value),
              onclick: () => {
                this.#options.onChange(this.#values.filter((other) => other !== value));
                this.#input.focus();
              },
            },
            "×",
          ),
        ),
      ),
    );
  }

  #add(value: string): void {
    const problem = value === "" ? "" : (this.#options.check?.(value) ?? "");
    replaceChildren(this.#message, problem);
    if (value === "" || problem !== "") {
      return;
    }
    this.#input.value = "";
    if (!this.#values.includes(value)) {
      this.#options.onChange([...this.#values, value]);
    }
  }
}
