/** The header: views, theme, projection, sign-out. */

import { createElement, replaceChildren } from "./dom";
import * as texts from "./strings/shell";
import type { ThemeChoice } from "./theme";
import type { ViewEntry } from "./views";
import { type PageState, type UrlState, formatState } from "./url_state";

export interface HeaderOptions {
  views: readonly ViewEntry[];
  state: UrlState;
  theme: ThemeChoice;
  onSignOut(): void;
}

export class Header {
  readonly #links = new Map<string, HTMLAnchorElement>();
  readonly #navigation: HTMLElement;
  readonly #projection: HTMLButtonElement;
  readonly #theme: HTMLButtonElement;
  readonly #signOut: HTMLButtonElement;
  readonly #options: HeaderOptions;

  constructor(element: HTMLElement, options: HeaderOptions) {
    this.#options = options;
    for (const view of options.views) {
      this.#links.set(view.id, createElement("a.view-link", view.title));
    }
    this.#navigation = createElement(
      "nav",
      { "aria-label": texts.views, hidden: true },
      ...this.#links.values(),
    );
    this.#projection = makeButton(texts.projectionHint, () => this.#toggleProjection());
    this.#theme = makeButton(texts.themeHint, () => options.theme.toggle());
    this.#signOut = makeButton(null, options.onSignOut);
    this.#signOut.hidden = true;
    replaceChildren(this.#signOut, texts.signOut);
    replaceChildren(
      element,
      createElement("span.brand", texts.productName),
      this.#navigation,
      createElement("div.tools", this.#projection, this.#theme, this.#signOut),
    );
    options.theme.subscribe(() => this.#showTheme());
    this.#showTheme();
    this.update(options.state.get());
  }

  update(state: PageState): void {
    for (const [id, link] of this.#links) {
      // Position and projection stay when the view changes; image and filters belong to the view.
      link.href = formatState({ ...state, view: id, image: null, filters: {} });
      if (id === state.view) {
        link.setAttribute("aria-current", "page");
      } else {
        link.removeAttribute("aria-current");
      }
    }
    const isGlobe = state.projection === "globe";
    replaceChildren(this.#projection, isGlobe ? texts.flat : texts.globe);
  }

  setSignedIn(signedIn: boolean): void {
    this.#navigation.hidden = !signedIn;
    this.#signOut.hidden = !signedIn;
  }

  #showTheme(): void {
    const isDark = this.#options.theme.current === "dark";
    replaceChildren(this.#theme, isDark ? texts.lightTheme : texts.darkTheme);
  }

  #toggleProjection(): void {
    const { state } = this.#options;
    state.set({ projection: state.get().projection === "globe" ? "flat" : "globe" });
  }
}

function makeButton(hint: string | null, onClick: () => void): HTMLButtonElement {
  return createElement("button.quiet", { title: hint, onclick: onClick });
}
