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

export type Header = ReturnType<typeof createHeader>;

export function createHeader(element: HTMLElement, options: HeaderOptions) {
  const links = new Map<string, HTMLAnchorElement>();
  for (const view of options.views) {
    links.set(view.id, createElement("a.view-link", view.title));
  }
  const navigation = createElement("nav", { "aria-label": texts.views, hidden: true }, ...links.values());
  const projection = makeButton(texts.projectionHint, () => toggleProjection());
  const theme = makeButton(texts.themeHint, () => options.theme.toggle());
  const signOut = makeButton(null, options.onSignOut);
  signOut.hidden = true;
  replaceChildren(signOut, texts.signOut);
  replaceChildren(
    element,
    createElement("span.brand", texts.productName),
    navigation,
    createElement("div.tools", projection, theme, signOut),
  );
  options.theme.subscribe(() => showTheme());
  showTheme();
  update(options.state.get());

  function update(state: PageState): void {
    for (const [id, link] of links) {
      // Position and projection stay when the view changes; image and filters belong to the view.
      link.href = formatState({ ...state, view: id, image: null, filters: {} });
      if (id === state.view) {
        link.setAttribute("aria-current", "page");
      } else {
        link.removeAttribute("aria-current");
      }
    }
    const isGlobe = state.projection === "globe";
    replaceChildren(projection, isGlobe ? texts.flat : texts.globe);
  }

  function setSignedIn(signedIn: boolean): void {
    navigation.hidden = !signedIn;
    signOut.hidden = !signedIn;
  }

  function showTheme(): void {
    const isDark = options.theme.current === "dark";
    replaceChildren(theme, isDark ? texts.lightTheme : texts.darkTheme);
  }

  function toggleProjection(): void {
    const { state } = options;
    state.set({ projection: state.get().projection === "globe" ? "flat" : "globe" });
  }
  return { update, setSignedIn };
}

function makeButton(hint: string | null, onClick: () => void): HTMLButtonElement {
  return createElement("button.quiet", { title: hint, onclick: onClick });
}
