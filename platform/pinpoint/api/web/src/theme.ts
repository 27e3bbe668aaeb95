/** Light or dark colors: those of the system until the user chooses. */

import type { Theme } from "./map/basemap";

const storageKey = "pinpoint-theme";

export type ThemeChoice = ReturnType<typeof createThemeChoice>;

/** The chosen theme, kept in this browser. */
export function createThemeChoice() {
  let chosen: Theme | null = readChoice();
  const system = matchMedia("(prefers-color-scheme: dark)");
  const listeners: ((theme: Theme) => void)[] = [];
  const getCurrent = (): Theme => chosen ?? (system.matches ? "dark" : "light");
  system.addEventListener("change", () => apply());
  apply();

  /** Change from light to dark or back. */
  function toggle(): void {
    chosen = getCurrent() === "dark" ? "light" : "dark";
    try {
      localStorage.setItem(storageKey, chosen);
    } catch {
      // The browser keeps nothing for this page; the choice lasts until it is closed.
    }
    apply();
  }

  function subscribe(listener: (theme: Theme) => void): void {
    listeners.push(listener);
  }

  function apply(): void {
    document.documentElement.dataset["theme"] = getCurrent();
    for (const listener of listeners) {
      listener(getCurrent());
    }
  }
  return {
    get current() {
      return getCurrent();
    },
    toggle,
    subscribe,
  };
}

function readChoice(): Theme | null {
  try {
    const stored = localStorage.getItem(storageKey);
    return stored === "light" || stored === "dark" ? stored : null;
  } catch {
    return null;
  }
}
