/** Texts of the page around the views. */
export const productName = "Pinpoint";
export const skipToPanel = "Skip to the panel";
export const skipToMap = "Skip to the map";
export const viewTitles = { locate: "Locate", gallery: "Gallery", work: "Batches and jobs", quality: "Quality" } as const;
export const views = "Views";
export const panel = "Panel";
export const map = "Map";
export const signOut = "Sign out";
export const signedOut = "You are signed out.";
export const darkTheme = "Dark";
export const lightTheme = "Light";
export const themeHint = "Light or dark colors";
export const globe = "Globe";
export const flat = "Flat map";
export const projectionHint = "Globe or flat map";
export const noWebgl =
  "This browser cannot draw the map, because WebGL is off or not supported. All other parts of " + "the page work.";
export const basemapFailed = "A part of the background map could not be loaded.";
export const close = "Close";
export const requestId = (id: string) => `Request id: ${id}`;
export const retryAfter = (seconds: number) => `Try again in ${seconds} s.`;
export const unreachable = "The server does not answer. Check that Pinpoint is running and that you are online.";
export const unexpected = "The page has met an unexpected error.";
export const status = (status: number) => `The server answered with status ${status}.`;
