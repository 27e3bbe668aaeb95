/** Texts of the view `gallery`. */

import { count, numbers } from "./numbers";

export const title = "Gallery";
export const intro = "Where your images are, and where one kind is missing.";
export const show = "Show on the map";
export const layers = {
  all: "All images",
  photo: "Internet photos",
  street: "Street level",
  gaps: "Gaps",
} as const;
export const kinds = { photo: "Internet photo", street: "Street level" } as const;
export const inView = {
  cells: (images: number) => `About ${count(images, "image")} in view`,
  points: (images: number) => `${count(images, "image")} in view`,
  sample: (shown: number, all: number) =>
    `${numbers.format(shown)} of about ${count(all, "image")} in view are drawn; zoom in for all`,
  none: "No image in view",
  unknown: "The number in view is not known",
  loading: "Loading the map…",
} as const;
export const listInView = "List images in view";
export const tooSlow =
  "The server needs too long to count the filtered images of so large an area. Zoom in, or draw " + "an area.";
export const tileFailed = "A part of the gallery could not be loaded.";
export const mapHint =
  "Select a cell or a point on the map to see its images. With a keyboard: move the map with the " +
  "arrow keys, then list the images in view.";
