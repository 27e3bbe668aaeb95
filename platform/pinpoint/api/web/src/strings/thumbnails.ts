/** Texts of thumbnails. */

export const noPreview = "No preview";
