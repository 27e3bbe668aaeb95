/** Texts of the view `work`. */
export const work = {
  title: "Batches and jobs",
} as const;
