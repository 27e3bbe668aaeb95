/** Texts of the page around the views. */
export const shell = {
  productName: "Pinpoint",
  skipToPanel: "Skip to the panel",
  skipToMap: "Skip to the map",
  views: "Views",
  panel: "Panel",
  map: "Map",
  signOut: "Sign out",
  signedOut: "You are signed out.",
  darkTheme: "Dark",
  lightTheme: "Light",
  themeHint: "Light or dark colors",
  globe: "Globe",
  flat: "Flat map",
  projectionHint: "Globe or flat map",
  noWebgl:
    "This browser cannot draw the map, because WebGL is off or not supported. All other parts of " +
    "the page work.",
  basemapFailed: "A part of the background map could not be loaded.",
  close: "Close",
  requestId: (id: string) => `Request id: ${id}`,
  retryAfter: (seconds: number) => `Try again in ${seconds} s.`,
  unreachable: "The server does not answer. Check that Pinpoint is running and that you are online.",
  unexpected: "The page has met an unexpected error.",
  status: (status: number) => `The server answered with status ${status}.`,
} as const;
