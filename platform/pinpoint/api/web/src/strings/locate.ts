/** Texts of the view `locate`. */
export const locate = {
  title: "Locate",
} as const;
