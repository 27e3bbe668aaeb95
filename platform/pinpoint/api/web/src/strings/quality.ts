/** Texts of the view `quality`. */
export const quality = {
  title: "Quality",
} as const;
