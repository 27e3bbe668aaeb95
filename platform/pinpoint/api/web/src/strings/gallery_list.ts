/** Texts of the view `gallery`: list. */

import { count } from "./numbers";

export const title = {
  cell: "Images of the cell",
  near: "Images at this place",
  box: "Images in view",
} as const;
export const close = "Close list";
export const more = "Show more";
export const loading = "Loading…";
export const shown = (images: number, hasMore: boolean) =>
  hasMore ? `The first ${count(images, "image")}` : count(images, "image");
export const none = "No image matches the filters here.";
export const noTime = "no time";
export const describe = (kind: string, source: string) => `${kind} of the source ${source}`;
