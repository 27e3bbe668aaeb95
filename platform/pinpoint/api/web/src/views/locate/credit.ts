/** Whom the license of an image wants named. */

import * as texts from "../../strings/locate_credit";
import type { ImageCredit } from "./answer_types";

/** File, source, attribution and license: whom the license wants named. */
export function describeCredit({ file_name, source, license, attribution }: ImageCredit): string {
  return file_name === null
    ? texts.deleted
    : [file_name, source, attribution, texts.license(license ?? texts.unknown)].filter(Boolean).join(" · ");
}
