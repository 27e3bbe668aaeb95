/** Saving of a file that needs the key; a plain link cannot send it. */

import { createElement } from "./dom";

/** Let the browser save a `blob:` URL as a file; the URL is revoked. */
export function saveFile(url: string, name: string): void {
  createElement("a", { href: url, download: name }).click();
  // The browser reads the file after this function ends.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
