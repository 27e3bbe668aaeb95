/** Texts of the view `quality`. */

export const title = "Quality";
export const none = "There is no report yet. An operator makes one by `pinpoint evaluate run` or `pinpoint calibrate --from-gallery`.";
export const latest = { evaluation: "Latest evaluation", calibration: "Latest calibration" };
export const older = "Reports";
export const kinds = { evaluation: "evaluation", calibration: "calibration" };
export const bundle = "Bundle";
export const made = "Made";
export const queries = "Queries";
export const figure = "Figure";
export const value = "Value";
export const interval = "95 % interval";
export const noValue = "–";
export const synthetic =
  "The photos are rendered images of a synthetic planet. These figures compare methods on it and are no evidence about the Earth.";
export const reliability = "Reliability: probability within 25 km";
export const reliabilityAxisX = "stated probability";
export const reliabilityAxisY = "share of right answers";
export const reliabilityHint = "Dots on the diagonal: the stated probabilities are right. Larger dots have more queries.";
export const bin = (stated: string, observed: string, queries: number) =>
  `stated ${stated}, right ${observed}, ${queries} queries`;
export const errorMap = "Error map";
export const errorMapHint = (shown: number) => `${shown} queries at the true positions of their photos, by distance of the answer:`;
export const errorSteps = ["≤ 1 km", "1–25 km", "25–200 km", "> 200 km"];
export const hidden = "The positions of the queries are hidden from this key, because protected areas apply to it.";
export const notes = "What the figures hold for";
export const back = "All reports";
