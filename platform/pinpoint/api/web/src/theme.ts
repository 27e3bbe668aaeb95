/** Light or dark colors: those of the system until the user chooses. */

import type { Theme } from "./map/basemap";

const storageKey = "pinpoint-theme";

/** The chosen theme, kept in this browser. */
export class ThemeChoice {
  #chosen: Theme | null = readChoice();
  readonly #system = matchMedia("(prefers-color-scheme: dark)");
  readonly #listeners: ((theme: Theme) => void)[] = [];

  constructor() {
    this.#system.addEventListener("change", () => this.#apply());
    this.#apply();
  }

  get current(): Theme {
    return this.#chosen ?? (this.#system.matches ? "dark" : "light");
  }

  /** Change from light to dark or back. */
  toggle(): void {
    this.#chosen = this.current === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(storageKey, this.#chosen);
    } catch {
      // The browser keeps nothing for this page; the choice lasts until it is closed.
    }
    this.#apply();
  }

  subscribe(listener: (theme: Theme) => void): void {
    this.#listeners.push(listener);
  }

  #apply(): void {
    document.documentElement.dataset["theme"] = this.current;
    for (const listener of this.#listeners) {
      listener(this.current);
    }
  }
}

function readChoice(): Theme | null {
  try {
    const stored = localStorage.getItem(storageKey);
    return stored === "light" || stored === "dark" ? stored : null;
  } catch {
    return null;
  }
}
