/** The page: header, panel, map. It mounts the view of the URL, or sign-in while nobody is signed in. */

import "./styles/app.css";
import { createApiClient, type SignedOutDetail, isAbort } from "./api_client";
import type { AppContext, MountedView } from "./context";
import { createElement, replaceChildren } from "./dom";
import { describeError } from "./error_text";
import { createHeader } from "./header";
import { MapView } from "./map/map_view";
import * as shellTexts from "./strings/shell";
import * as signInTexts from "./strings/sign_in";
import { createThemeChoice } from "./theme";
import { createUrlState, type PageState } from "./url_state";
import { views } from "./views";
import { mountSignIn } from "./views/sign_in";

const tokenPattern = /^#sign-in=([A-Za-z0-9_-]{1,100})$/;

function createApp() {
  const client = createApiClient(new URL(".", document.baseURI).href);
  const themeChoice = createThemeChoice();
  const panel = getElement("panel");
  const status = getElement("status");
  const errors = getElement("errors");
  let mounted: MountedView | null = null;
  let mountedId = "";
  const urlState = createUrlState(views.map((view) => view.id));
  const map = new MapView({
    container: getElement("map"),
    client,
    state: urlState,
    theme: themeChoice.current,
    onUnsupported: () => showMapMessage(shellTexts.noWebgl),
    onBasemapError: (error) => {
      console.warn(error);
      announce(shellTexts.basemapFailed);
    },
  });
  const context: AppContext = {
    client,
    map,
    state: urlState,
    announce: (text) => announce(text),
    showError: (error) => showError(error),
  };
  const header = createHeader(getElement("header"), {
    views,
    state: urlState,
    theme: themeChoice,
    onSignOut: () => client.signOut(shellTexts.signedOut),
  });
  themeChoice.subscribe((theme) => void map.setTheme(theme));
  urlState.subscribe((state) => update(state));
  client.addEventListener("signed-in", () => onSignedIn());
  client.addEventListener("signed-out", (event) => {
    showSignIn((event as CustomEvent<SignedOutDetail>).detail);
  });
  void map.start();

  /** Sign in with the token of the URL, or without a key where the API admits it. */
  async function start(token: string | null): Promise<void> {
    try {
      if (token !== null) {
        await client.signInWithToken(token);
      } else if (await client.isKeyless()) {
        await client.signInWithKey(null);
      } else {
        showSignIn({ reason: "", requestId: null });
      }
    } catch (error) {
      const reason = token === null ? "" : `${signInTexts.tokenFailed} ${describeError(error)}`;
      showSignIn({ reason, requestId: null });
    }
  }

  function onSignedIn(): void {
    header.setSignedIn(true);
    announce(signInTexts.signedIn);
    mountView(urlState.get());
    panel.focus();
  }

  function update(state: PageState): void {
    header.update(state);
    if (!client.isSignedIn) {
      return;
    }
    if (state.view === mountedId) {
      mounted?.update(state);
    } else {
      mountView(state);
    }
  }

  function mountView(state: PageState): void {
    const definition = views.find((view) => view.id === state.view);
    if (definition === undefined) {
      return;
    }
    emptyPanel();
    mountedId = definition.id;
    header.update(state);
    document.title = `${definition.title} – ${shellTexts.productName}`;
    void definition.load().then(
      (view) => {
        // Unless another view was chosen while this one was loaded.
        if (mountedId === definition.id && mounted === null) {
          mounted = view.mount(panel, context);
        }
      },
      (error: unknown) => showError(error),
    );
  }

  function showSignIn({ reason, requestId }: SignedOutDetail): void {
    emptyPanel();
    header.setSignedIn(false);
    document.title = `${signInTexts.title} – ${shellTexts.productName}`;
    const id = requestId === null ? "" : ` ${shellTexts.requestId(requestId)}`;
    mounted = mountSignIn(panel, context, reason === "" ? "" : reason + id);
    document.getElementById("sign-in-key")?.focus();
  }

  function emptyPanel(): void {
    mounted?.dispose();
    mounted = null;
    mountedId = "";
    replaceChildren(panel);
    replaceChildren(errors);
    panel.scrollTop = 0;
  }

  function announce(text: string): void {
    replaceChildren(status, text);
  }

  function showError(error: unknown): void {
    if (isAbort(error) || (!client.isSignedIn && mountedId === "")) {
      return;
    }
    const row = createElement("div.error", describeError(error));
    const close = createElement("button.quiet", { onclick: () => row.remove() }, shellTexts.close);
    row.append(close);
    errors.append(row);
  }

  function showMapMessage(text: string): void {
    replaceChildren(getElement("map"), createElement("p.map-message", text));
  }
  return { start };
}

function getElement(id: string): HTMLElement {
  const element = document.getElementById(id);
  if (element === null) {
    throw new TypeError(`index.html has no element #${id}`);
  }
  return element;
}

/** Take the token out of the URL and of the history, before anything else can read it. */
function takeToken(): string | null {
  const match = tokenPattern.exec(location.hash);
  if (match === null) {
    return null;
  }
  history.replaceState(null, "", location.pathname);
  return match[1] ?? null;
}

/** Start when the user sees the page: a browser that prerenders it must not use up the token. */
async function startWhenShown(): Promise<void> {
  const page = document as Document & { prerendering?: boolean };
  if (page.prerendering) {
    await new Promise((resolve) => {
      page.addEventListener("prerenderingchange", resolve, { once: true });
    });
  }
  const token = takeToken();
  await createApp().start(token);
}

void startWhenShown();
