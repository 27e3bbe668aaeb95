/** The button that saves the dossier of a query: the server answers the same form with a ZIP file. */

import type { ApiClient } from "../../api_client";
import { createElement, replaceChildren } from "../../dom";
import { describeError } from "../../error_text";
import { saveFile } from "../../save_file";
import * as texts from "../../strings/locate_answer";

export interface Dossier {
  readonly client: ApiClient;
  /** The form that was answered. */
  readonly form: FormData;
}

export function createDossier({ client, form }: Dossier): HTMLElement {
  const withPhoto = createElement("input", { type: "checkbox" });
  const note = createElement("p.muted", { role: "status" });
  const save = async () => {
    button.disabled = true;
    replaceChildren(note, texts.dossierWorking);
    form.set("include_photo", String(withPhoto.checked));
    try {
      const answer = await client.request("POST", "v1/dossiers", { body: form });
      const header = answer.headers.get("Content-Disposition") ?? "";
      const name = /filename="?([\w.-]+)/.exec(header)?.[1] ?? "dossier.zip";
      saveFile(URL.createObjectURL(await answer.blob()), name);
      replaceChildren(note, texts.dossierSaved(name));
    } catch (error) {
      replaceChildren(note, createElement("span.error", describeError(error)));
    }
    button.disabled = false;
  };
  const button = createElement("button", { onclick: () => void save() }, texts.dossier);
  return createElement("div.dossier", button, createElement("label.check", withPhoto, texts.dossierPhoto), note);
}
