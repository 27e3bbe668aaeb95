/** Texts of the view `locate` before there is an answer. */

export const heading = "Where was this photo taken?";
export const intro = "or drop or paste them here. The server does not keep them.";
export const choose = "Choose photos";
export const preview = (name: string) => `Preview of ${name}`;
export const noPreview = "This browser cannot show this format. The server can read it nevertheless.";
export const remove = "Remove";
export const severalPhotos = "Several photos";
export const together = "show the same place: one query";
export const apart = "show different places: locate one by one";
export const region = "Use a region of the photo";
export const regionHint = "Drag over the photo, or enter pixels.";
export const regionSides = ["Left", "Top", "Width", "Height"] as const;
export const regionClear = "Use the whole photo";
export const regionNeedsPreview =
  "A region needs photos that this browser shows. Locate them one by one, or use the whole photo.";
export const options = "Options";
export const kinds = "Search in";
export const kindChoices = { "": "All kinds", photo: "Internet photos", street: "Street level" };
export const queryKind = "Kind of your photo";
export const queryKinds = { "": "Not stated", photo: "Internet photo", street: "Street level" };
export const sources = "Sources";
export const area = "Taken in";
export const areas = { "": "Anywhere", view: "The map in view", drawn: "An area drawn on the map" };
export const drawHint = "Click each corner on the map; press Enter to finish.";
export const drawnArea = (corners: number) => `Area with ${corners} corners`;
export const noArea = "No area is drawn.";
export const country = "Countries (ISO codes)";
export const firstDay = "Gallery from";
export const lastDay = "until";
export const top = "Candidates shown";
export const verify = "Candidates verified";
export const submit = "Locate";
export const cancel = "Cancel";
export const progress = "Progress";
export const noPhotos = "Choose at least one photo first.";
export const tooMany = (count: number) => `Only the first ${count} photos are used.`;
export const sending = (sent: string, total: string) => `Sending ${sent} of ${total}`;
export const working = "The server works …";
export const canceled = "Canceled.";
export const failed = "This photo was not located";
export const answers = "Answers";
export const answerOf = (index: number, count: number) => `Photo ${index} of ${count}: `;
export const stageNames: Record<string, string> = {
  decode: "Read photo",
  encode: "Encode",
  search: "Search",
  exclude: "Exclude images",
  retrieve: "Search",
  evidence: "Collect evidence",
  rank: "Rank",
  verify: "Verify",
  decide: "Decide",
};
