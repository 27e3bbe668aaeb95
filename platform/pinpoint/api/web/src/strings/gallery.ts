/** Texts of the view `gallery`. */
export const gallery = {
  title: "Gallery",
} as const;
