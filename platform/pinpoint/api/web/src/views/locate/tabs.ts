/** Tabs (WAI-ARIA Authoring Practices): arrow keys move between them, Tab goes into the panel. */

import { createElement } from "../../dom";

export interface Tabs {
  readonly element: HTMLElement;
  /** Show a tab by its number from 0. */
  show(selected: number): void;
}

let numTabs = 0;

/** Titles with functions that make the content when the tab is shown for the first time. */
export function createTabs(definitions: readonly (readonly [string, () => HTMLElement])[]): Tabs {
  const panels: HTMLElement[] = [];
  const buttons = definitions.map(([title], index) => {
    const id = `tab-${(numTabs += 1)}`;
    panels.push(createElement("div", { role: "tabpanel", id: `${id}-panel`, "aria-labelledby": id }));
    const properties = { role: "tab", id, "aria-controls": `${id}-panel`, onclick: () => show(index) };
    return createElement("button", properties, title);
  });
  const show = (selected: number) => {
    const panel = panels[selected];
    buttons.forEach((button, index) => {
      button.ariaSelected = String(index === selected);
      button.tabIndex = index === selected ? 0 : -1;
    });
    panels.forEach((other) => (other.hidden = other !== panel));
    if (panel?.childElementCount === 0) {
      panel.append(definitions[selected]?.[1]() ?? "");
    }
  };
  const onKey = (event: KeyboardEvent) => {
    const current = buttons.indexOf(event.target as HTMLButtonElement);
    const last = buttons.length - 1;
    const next = { ArrowRight: current + 1, ArrowLeft: current + last, Home: 0, End: last }[event.key];
    if (next !== undefined) {
      event.preventDefault();
      show(next % buttons.length);
      buttons[next % buttons.length]?.focus();
    }
  };
  show(0);
  return {
    element: createElement("div", createElement("div.tabs", { role: "tablist", onkeydown: onKey }, buttons), panels),
    show,
  };
}
