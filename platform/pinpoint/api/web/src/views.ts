/** The views of the page, in the order of the header; the first is shown by default. */

import type { AppContext, MountedView } from "./context";
import { viewTitles } from "./strings/shell";

export interface ViewEntry {
  /** Id in the URL. */
  readonly id: string;
  /** Name in the header. */
  readonly title: string;
  /** Load the code of the view: a view is loaded when it is shown for the first time. */
  load(): Promise<{ mount(panel: HTMLElement, context: AppContext): MountedView }>;
}

export const views: readonly ViewEntry[] = [
  { id: "locate", title: viewTitles.locate, load: async () => (await import("./views/locate")).view },
  { id: "gallery", title: viewTitles.gallery, load: async () => (await import("./views/gallery")).view },
  { id: "work", title: viewTitles.work, load: async () => (await import("./views/work")).view },
  { id: "quality", title: viewTitles.quality, load: async () => (await import("./views/quality")).view },
];
