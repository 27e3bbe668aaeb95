/** The page: header, panel, map. It mounts the view of the URL, or sign-in while nobody is signed in. */

import "./styles/app.css";
import { ApiClient, type SignedOutDetail, isAbort } from "./api_client";
import type { AppContext, MountedView } from "./context";
import { createElement, replaceChildren } from "./dom";
import { describeError } from "./error_text";
import { Header } from "./header";
import { MapView } from "./map/map_view";
import * as shellTexts from "./strings/shell";
import * as signInTexts from "./strings/sign_in";
import { ThemeChoice } from "./theme";
import { UrlState, type PageState } from "./url_state";
import { views } from "./views";
import { mountSignIn } from "./views/sign_in";

const tokenPattern = /^#sign-in=([A-Za-z0-9_-]{1,100})$/;

class App {
  readonly #client = new ApiClient(new URL(".", document.baseURI).href);
  readonly #state: UrlState;
  readonly #theme = new ThemeChoice();
  readonly #header: Header;
  readonly #context: AppContext;
  readonly #panel = getElement("panel");
  readonly #status = getElement("status");
  readonly #errors = getElement("errors");
  #mounted: MountedView | null = null;
  #mountedId = "";

  constructor() {
    this.#state = new UrlState(views.map((view) => view.id));
    const map = new MapView({
      container: getElement("map"),
      client: this.#client,
      state: this.#state,
      theme: this.#theme.current,
      onUnsupported: () => this.#showMapMessage(shellTexts.noWebgl),
      onBasemapError: (error) => {
        console.warn(error);
        this.#announce(shellTexts.basemapFailed);
      },
    });
    this.#context = {
      client: this.#client,
      map,
      state: this.#state,
      announce: (text) => this.#announce(text),
      showError: (error) => this.#showError(error),
    };
    this.#header = new Header(getElement("header"), {
      views,
      state: this.#state,
      theme: this.#theme,
      onSignOut: () => this.#client.signOut(shellTexts.signedOut),
    });
    this.#theme.subscribe((theme) => void map.setTheme(theme));
    this.#state.subscribe((state) => this.#update(state));
    this.#client.addEventListener("signed-in", () => this.#onSignedIn());
    this.#client.addEventListener("signed-out", (event) => {
      this.#showSignIn((event as CustomEvent<SignedOutDetail>).detail);
    });
    void map.start();
  }

  /** Sign in with the token of the URL, or without a key where the API admits it. */
  async start(token: string | null): Promise<void> {
    try {
      if (token !== null) {
        await this.#client.signInWithToken(token);
      } else if (await this.#client.isKeyless()) {
        await this.#client.signInWithKey(null);
      } else {
        this.#showSignIn({ reason: "", requestId: null });
      }
    } catch (error) {
      const reason = token === null ? "" : `${signInTexts.tokenFailed} ${describeError(error)}`;
      this.#showSignIn({ reason, requestId: null });
    }
  }

  #onSignedIn(): void {
    this.#header.setSignedIn(true);
    this.#announce(signInTexts.signedIn);
    this.#mountView(this.#state.get());
    this.#panel.focus();
  }

  #update(state: PageState): void {
    this.#header.update(state);
    if (!this.#client.isSignedIn) {
      return;
    }
    if (state.view === this.#mountedId) {
      this.#mounted?.update(state);
    } else {
      this.#mountView(state);
    }
  }

  #mountView(state: PageState): void {
    const definition = views.find((view) => view.id === state.view);
    if (definition === undefined) {
      return;
    }
    this.#emptyPanel();
    this.#mountedId = definition.id;
    this.#header.update(state);
    document.title = `${definition.title} – ${shellTexts.productName}`;
    void definition.load().then(
      (view) => {
        // Unless another view was chosen while this one was loaded.
        if (this.#mountedId === definition.id && this.#mounted === null) {
          this.#mounted = view.mount(this.#panel, this.#context);
        }
      },
      (error: unknown) => this.#showError(error),
    );
  }

  #showSignIn({ reason, requestId }: SignedOutDetail): void {
    this.#emptyPanel();
    this.#header.setSignedIn(false);
    document.title = `${signInTexts.title} – ${shellTexts.productName}`;
    const id = requestId === null ? "" : ` ${shellTexts.requestId(requestId)}`;
    this.#mounted = mountSignIn(this.#panel, this.#context, reason === "" ? "" : reason + id);
    document.getElementById("sign-in-key")?.focus();
  }

  #emptyPanel(): void {
    this.#mounted?.dispose();
    this.#mounted = null;
    this.#mountedId = "";
    replaceChildren(this.#panel);
    replaceChildren(this.#errors);
    this.#panel.scrollTop = 0;
  }

  #announce(text: string): void {
    replaceChildren(this.#status, text);
  }

  #showError(error: unknown): void {
    if (isAbort(error) || (!this.#client.isSignedIn && this.#mountedId === "")) {
      return;
    }
    const row = createElement("div.error", describeError(error));
    const close = createElement(
      "button.quiet",
      { onclick: () => row.remove() },
      shellTexts.close,
    );
    row.append(close);
    this.#errors.append(row);
  }

  #showMapMessage(text: string): void {
    replaceChildren(getElement("map"), createElement("p.map-message", text));
  }
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
  await new App().start(token);
}

void startWhenShown();
