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

export type TokenField = ReturnType<typeof createTokenField>;

export function createTokenField(options: TokenFieldOptions) {
  const chips = createElement("ul.chips");
  let values: readonly string[] = [];
  const { id } = options;
  const choiceList = createElement("datalist", { id: `${id}-choices` });
  const message = createElement("p.field-error", { id: `${id}-error`, role: "alert" });
  const input = createElement("input", {
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
        add(input.value.trim());
      },
    },
    input,
    createElement("button", { type: "submit" }, texts.add),
  );
  input.addEventListener("input", (event) => {
    // A choice of the list arrives at once, not letter by letter.
    const isTyped = event instanceof InputEvent && event.inputType !== "insertReplacementText";
    const choices = [...choiceList.options].map((option) => option.value);
    if (!isTyped && choices.includes(input.value)) {
      add(input.value);
    }
  });
  const element = createElement(
    "div.field",
    createElement("label", { htmlFor: id }, options.label),
    choiceList,
    row,
    message,
    chips,
  );

  function setChoices(choices: readonly string[]): void {
    replaceChildren(choiceList, ...choices.map((value) => createElement("option", { value })));
  }

  function setValues(next: readonly string[]): void {
    values = next;
    replaceChildren(
      chips,
      ...values.map((value) =>
        createElement(
          "li.chip",
          createElement("span", value),
          createElement(
            "button",
            {
              "aria-label": texts.remove(value),
              onclick: () => {
                options.onChange(values.filter((other) => other !== value));
                input.focus();
              },
            },
            "×",
          ),
        ),
      ),
    );
  }

  function add(value: string): void {
    const problem = value === "" ? "" : (options.check?.(value) ?? "");
    replaceChildren(message, problem);
    if (value === "" || problem !== "") {
      return;
    }
    input.value = "";
    if (!values.includes(value)) {
      options.onChange([...values, value]);
    }
  }
  return { setChoices, setValues, element };
}
