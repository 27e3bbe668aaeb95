/** Sign-in by key. The page shows this view instead of any other while nobody is signed in. */

import { ApiError } from "../../api_client";
import type { AppContext, MountedView } from "../../context";
import { createElement, replaceChildren } from "../../dom";
import { describeError } from "../../error_text";
import * as texts from "../../strings/sign_in";

/** Show the form; `reason` says why the user has to sign in again (empty at the start). */
export function mountSignIn(panel: HTMLElement, context: AppContext, reason: string): MountedView {
  const message = createElement("p.sign-in-reason", { role: "alert" });
  replaceChildren(message, reason);
  const key = createElement("input", {
    id: "sign-in-key",
    type: "password",
    autocomplete: "current-password",
    spellcheck: false,
    required: true,
    "aria-describedby": "sign-in-explanation",
  });
  const button = createElement("button", { type: "submit", class: "primary" }, texts.submit);
  const submit = async (event: Event) => {
    event.preventDefault();
    const secret = key.value.trim();
    if (secret === "") {
      replaceChildren(message, texts.emptyKey);
      return;
    }
    button.disabled = true;
    context.announce(texts.working);
    try {
      await context.client.signInWithKey(secret);
    } catch (error) {
      replaceChildren(message, describeError(error));
      if (error instanceof ApiError) {
        key.select();
      }
    } finally {
      button.disabled = false;
    }
  };
  panel.append(
    createElement("h1", texts.title),
    message,
    createElement(
      "form.sign-in",
      { onsubmit: submit },
      createElement("p", { id: "sign-in-explanation" }, texts.explanation),
      // Password managers expect the name of an account.
      createElement("input", { type: "text", autocomplete: "username", value: "pinpoint", hidden: true }),
      createElement("label", { htmlFor: "sign-in-key" }, texts.key),
      key,
      button,
    ),
  );
  return { update() {}, dispose() {} };
}
