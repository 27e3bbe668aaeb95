/** Texts of the view `quality`. */

export const quality = {
  title: "Quality",
  none: "There is no report yet. An operator makes one by `pinpoint evaluate run` or `pinpoint calibrate --from-gallery`.",
  latest: { evaluation: "Latest evaluation", calibration: "Latest calibration" },
  older: "Reports",
  kinds: { evaluation: "evaluation", calibration: "calibration" },
  bundle: "Bundle",
  made: "Made",
  queries: "Queries",
  figure: "Figure",
  value: "Value",
  interval: "95 % interval",
  noValue: "–",
  synthetic:
    "The photos are rendered images of a synthetic planet. These figures compare methods on it and are no evidence about the Earth.",
  reliability: "Reliability: probability within 25 km",
  reliabilityAxisX: "stated probability",
  reliabilityAxisY: "share of right answers",
  reliabilityHint: "Dots on the diagonal: the stated probabilities are right. Larger dots have more queries.",
  bin: (stated: string, observed: string, queries: number) =>
    `stated ${stated}, right ${observed}, ${queries} queries`,
  errorMap: "Error map",
  errorMapHint: (shown: number) => `${shown} queries at the true positions of their photos, by distance of the answer:`,
  errorSteps: ["≤ 1 km", "1–25 km", "25–200 km", "> 200 km"],
  hidden: "The positions of the queries are hidden from this key, because protected areas apply to it.",
  notes: "What the figures hold for",
  back: "All reports",
} as const;
