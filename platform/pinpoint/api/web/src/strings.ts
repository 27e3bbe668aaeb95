/** All texts that a user reads, one file per view in `strings/`. */

import { gallery } from "./strings/gallery";
import { locate } from "./strings/locate";
import { quality } from "./strings/quality";
import { shell } from "./strings/shell";
import { signIn } from "./strings/sign_in";
import { work } from "./strings/work";

export const strings = { gallery, locate, quality, shell, signIn, work } as const;

export type Strings = typeof strings;
