/** Metadata of an image as a list of names and values; every value is text. */

import { createElement } from "../../dom";
import * as galleryTexts from "../../strings/gallery";
import * as texts from "../../strings/gallery_image";
import type { GalleryImage } from "./answers";

/** Attributes whose value is the accuracy of a position. */
const accuracyPattern = /accuracy|hdop|horizontal_error/i;
const maxAttributes = 40;

type Row = readonly [name: string, value: string | Node | null];

export function makeDetails(image: GalleryImage): HTMLElement {
  const rows: Row[] = [...positionRows(image), ...timeRows(image), ...creditRows(image), ...fileRows(image)];
  const attributes = Object.entries(image.attributes).slice(0, maxAttributes);
  for (const [name, value] of attributes) {
    if (!accuracyPattern.test(name)) {
      rows.push([name, typeof value === "string" ? value : JSON.stringify(value)]);
    }
  }
  const warnings = image.warnings.map((warning) => createElement("li", warning));
  return createElement(
    "div.details",
    createElement("h3", texts.metadata),
    createElement(
      "dl",
      ...rows.flatMap(([name, value]) =>
        value === null ? [] : [createElement("dt", name), createElement("dd", value)],
      ),
    ),
    warnings.length > 0 && createElement("h3", texts.warnings),
    warnings.length > 0 && createElement("ul.warnings", ...warnings),
  );
}

function positionRows(image: GalleryImage): Row[] {
  const { name, country } = image.nearest_place;
  const accuracy = Object.entries(image.attributes)
    .filter(([attribute]) => accuracyPattern.test(attribute))
    .map(([attribute, value]) => `${attribute}: ${String(value)}`);
  return [
    [texts.position, `${image.lat.toFixed(6)}, ${image.lon.toFixed(6)}`],
    [texts.positionSource, describeOrigin(image.position_source)],
    [texts.accuracy, accuracy.length > 0 ? accuracy.join("; ") : texts.unknown],
    [texts.place, [name, country].filter(Boolean).join(", ")],
    [texts.heading, image.heading_deg === null ? texts.unknown : texts.degrees(image.heading_deg)],
    [texts.fieldOfView, image.field_of_view_deg === null ? texts.unknown : texts.degrees(image.field_of_view_deg)],
    [texts.altitude, image.altitude_m === null ? null : texts.meters(image.altitude_m)],
  ];
}

function timeRows(image: GalleryImage): Row[] {
  const { captured_at: time, time_source: origin } = image;
  return [
    [texts.capturedAt, time === null ? texts.unknown : makeTime(time)],
    [texts.timeSource, origin === null ? null : describeOrigin(origin)],
  ];
}

function creditRows(image: GalleryImage): Row[] {
  return [
    [texts.source, `${image.source} (${galleryTexts.kinds[image.source_kind]})`],
    [texts.license, image.license ?? texts.unknown],
    [texts.attribution, image.attribution],
    [texts.creator, image.creator],
    [texts.sequence, image.sequence],
    [texts.camera, image.camera],
  ];
}

function fileRows(image: GalleryImage): Row[] {
  return [
    [texts.size, texts.pixels(image.width_px, image.height_px, image.format)],
    [texts.face, image.cubemap_face],
    [texts.sha256, createElement("code", image.sha256)],
    [texts.state, image.state],
    [texts.version, String(image.version)],
  ];
}

function makeTime(time: string): HTMLElement {
  return createElement("time", { dateTime: time }, texts.utc(time));
}

function describeOrigin(origin: string): string {
  return origin === "manual" ? texts.manual : origin;
}
