/** Texts of the view `gallery`: edit. */

export const start = "Correct position";
export const notAllowed = "Your key cannot correct images; it needs the scope “ingest”.";
export const title = "Correct position and heading";
export const hint =
  "Drag the marker, and its handle for the heading. With a keyboard: type numbers, or move the " +
  "marker with the arrow keys (1 m; with Shift 10 m).";
export const lat = "Latitude (°)";
export const lon = "Longitude (°)";
export const heading = "Heading (° from north, empty if unknown)";
export const save = "Save";
export const cancel = "Cancel";
export const marker = (name: string) => `Position of ${name}; the arrow keys move it`;
export const headingHandle = "Heading; the left and right arrow keys turn it";
export const unchanged = "Nothing is changed.";
export const saved = (meters: string) => `Saved; the image moved by ${meters}.`;
export const savedHeading = "Saved; the heading is changed.";
export const undo = "Undo";
export const undone = "The correction is undone.";
export const conflict =
  "Somebody has changed this image in the meantime. The page shows the new state now; correct " +
  "it again if it is still wrong.";
export const wrongNumber = "Latitude must be within ±90, longitude within ±180, heading from 0 to less than 360.";
export const zeroPosition = "The position 0, 0 cannot be stored.";
