/** The views of the page, in the order of the header; the first is shown by default. */

import type { ViewDefinition } from "./context";
import { view as gallery } from "./views/gallery";
import { view as locate } from "./views/locate";
import { view as work } from "./views/work";

export type { MountedView, ViewDefinition } from "./context";

export const views: readonly ViewDefinition[] = [locate, gallery, work];
