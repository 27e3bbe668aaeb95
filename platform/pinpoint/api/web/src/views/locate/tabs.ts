/** Tabs (WAI-ARIA Authoring Practices): arrow keys move between them, Tab goes into the panel. */

import { createElement } from "../../dom";

export interface TabDefinition {
  readonly id: string;
  readonly title: string;
  /** Makes the content when the tab is shown for the first time. */
  make(): HTMLElement;
}

let groups = 0;

export class Tabs {
  readonly element: HTMLElement;
  readonly #definitions: readonly TabDefinition[];
  readonly #buttons: HTMLButtonElement[];
  readonly #panels: HTMLElement[];
  readonly #onShow: () => void;

  constructor(label: string, definitions: readonly TabDefinition[], onShow: () => void = () => {}) {
    groups += 1;
    const prefix = `tabs-${groups}`;
    this.#definitions = definitions;
    this.#onShow = onShow;
    this.#buttons = definitions.map(({ title }, index) =>
      createElement(
        "button",
        {
          type: "button",
          role: "tab",
          id: `${prefix}-tab-${index}`,
          "aria-controls": `${prefix}-panel-${index}`,
          onclick: () => this.#select(index),
        },
        title,
      ),
    );
    this.#panels = definitions.map((_, index) =>
      createElement("div", {
        role: "tabpanel",
        id: `${prefix}-panel-${index}`,
        "aria-labelledby": `${prefix}-tab-${index}`,
      }),
    );
    const list = createElement("div", { class: "tabs", role: "tablist", "aria-label": label }, ...this.#buttons);
    list.addEventListener("keydown", (event) => this.#onKey(event));
    this.element = createElement("div", {}, list, ...this.#panels);
    this.#select(0);
  }

  /** Show a tab by its id. */
  show(id: string): void {
    this.#select(this.#definitions.findIndex((definition) => definition.id === id));
  }

  #select(selected: number): void {
    const panel = this.#panels[selected];
    if (panel === undefined) {
      return;
    }
    for (const [index, button] of this.#buttons.entries()) {
      button.setAttribute("aria-selected", String(index === selected));
      button.tabIndex = index === selected ? 0 : -1;
      (this.#panels[index] as HTMLElement).hidden = index !== selected;
    }
    if (panel.childElementCount === 0) {
      panel.append((this.#definitions[selected] as TabDefinition).make());
    }
    this.#onShow();
  }

  #onKey(event: KeyboardEvent): void {
    const count = this.#buttons.length;
    const current = this.#buttons.indexOf(event.target as HTMLButtonElement);
    const next = { ArrowRight: current + 1, ArrowLeft: current - 1 + count, Home: 0, End: count - 1 }[event.key];
    if (current >= 0 && next !== undefined) {
      event.preventDefault();
      this.#select(next % count);
      this.#buttons[next % count]?.focus();
    }
  }
}
