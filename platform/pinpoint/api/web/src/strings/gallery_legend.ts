/** Texts of the view `gallery`: legend. */

import { numbers } from "./numbers";

export const title = "Legend";
export const unit = (areaKm2: string) => `images per cell of ${areaKm2} km² (mean)`;
export const bin = (from: number, to: number | null) =>
  to === null ? `${numbers.format(from)} and more` : `${numbers.format(from)}–${numbers.format(to)}`;
export const only = { photo: "only Internet photos", street: "only street level" } as const;
export const gapUnit = (areaKm2: string) => `cells of ${areaKm2} km² (mean) with one kind of images`;
export const point = "each point is one image";
