/** Texts of the comparison in the view `locate`. */

export const comparison = "Comparison";
export const close = "Close";
export const left = "Left";
export const right = "Right";
export const swap = "Swap";
export const mode = "Kind of comparison";
export const modes = { side: "Side by side", divided: "Divider", matches: "Matched points", panorama: "Panorama" };
export const divider = "Position of the divider";
export const loading = "Loading …";
export const noMatches = "No points of these two photos were matched.";
export const pointsMatched = (count: number) => `${count} points of both photos agree on one geometry.`;
export const matchedPoints = (count: number, left: string, right: string) =>
  `${count} matched points of ${left} and ${right}`;
export const smallerImage = " An image is shown as a thumbnail, because this key does not get its file.";
export const panoramaHint = "Drag, or use the arrow keys, to look around.";
export const panoramaOf = (name: string) => `Panorama ${name}`;
