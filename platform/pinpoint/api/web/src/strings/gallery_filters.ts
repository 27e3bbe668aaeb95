/** Texts of the view `gallery`: filters. */

export const title = (active: number) => (active === 0 ? "Filters" : `Filters (${active} active)`);
export const reset = "Reset filters";
export const source = "Sources";
export const sourceHint = "Name of a source";
export const creator = "Creators";
export const creatorHint = "Exact name of a creator";
export const add = "Add";
export const remove = (name: string) => `Remove ${name}`;
export const unknownSource = (name: string) => `There is no source “${name}”.`;
export const time = "Capture time";
export const firstDay = "First day";
export const lastDay = "Last day";
export const allTimes = "All times, images without a time included";
export const period = (from: string, to: string) => `${from} to ${to}; images without a time are left out`;
export const area = "Area";
export const polygon = "Draw polygon";
export const lasso = "Draw lasso";
export const useView = "Use map view";
export const cancelDrawing = "Stop drawing";
export const clearArea = "Remove area";
export const polygonHint = "Click each corner; click the first one again, or press Enter, to finish. Escape cancels.";
export const lassoHint = "Press, draw around an area, and release. Escape cancels.";
export const areaSet = (corners: number) => `Area with ${corners} corners`;
export const noArea = "Everywhere";
export const typedArea = "Type an area";
export const typedAreaHint = "min lon, min lat, max lon, max lat – or lat, lon; lat, lon; lat, lon";
export const apply = "Apply";
export const wrongArea =
  "This is no area: type four numbers (min lon, min lat, max lon, max lat), or three or more " +
  "positions separated by semicolons.";
export const areaApplied = "The area filters list and map.";
export const areaRemoved = "The area is removed.";
export const drawingFailed = "The drawing tool could not be loaded.";
