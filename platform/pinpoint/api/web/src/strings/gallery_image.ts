/** Texts of the view `gallery`: image. */

import { days, numbers, times } from "./numbers";

export const back = "Back";
export const loading = "Loading the image…";
export const notFound = "There is no such image in your gallery.";
export const pictureOf = (name: string) => `Picture ${name}`;
export const noPicture = "Your key may not see the picture of this image.";
export const show = "Show on map";
export const download = "Download file";
export const panoramax = "Panoramax item";
export const original = "Original page";
export const metadata = "Details";
export const position = "Position";
export const positionSource = "Position from";
export const place = "Nearest place";
export const accuracy = "Accuracy";
export const capturedAt = "Captured";
export const timeSource = "Time from";
export const heading = "Heading";
export const fieldOfView = "Field of view";
export const altitude = "Altitude";
export const camera = "Camera";
export const creator = "Creator";
export const sequence = "Sequence";
export const source = "Source";
export const license = "License";
export const attribution = "Attribution";
export const size = "Size";
export const sha256 = "SHA-256";
export const state = "State";
export const version = "Version";
export const face = "Face of a panorama";
export const warnings = "Notes";
export const unknown = "unknown";
export const manual = "corrected by hand";
export const degrees = (value: number) => `${numbers.format(Math.round(value * 10) / 10)}°`;
export const meters = (value: number) => `${numbers.format(Math.round(value * 10) / 10)} m`;
export const pixels = (width: number, height: number, format: string) => `${width} × ${height} px, ${format}`;
export const utc = (time: string) => `${times.format(new Date(time))} UTC`;
export const day = (time: string) => days.format(new Date(time));
export const neighbors = "Nearby images";
export const noNeighbors = "No image within 250 m.";
export const lookingAt = "Images that look at this place";
export const noLookingAt = "No image within 50 m looks at this place.";
export const distance = (meters: number) =>
  meters < 1_000 ? `${Math.round(meters)} m` : `${(meters / 1_000).toFixed(1)} km`;
