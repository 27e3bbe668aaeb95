/** What a view gets from the page. */

import type { ApiClient } from "./api_client";
import type { MapView } from "./map/map_view";
import type { PageState, UrlState } from "./url_state";

export interface AppContext {
  readonly client: ApiClient;
  readonly map: MapView;
  readonly state: UrlState;
  /** Tell screen readers what has changed, in one sentence. */
  announce(text: string): void;
  /** Show an error in words, with its request id; an aborted request is not an error. */
  showError(error: unknown): void;
}

/** A view of the page, registered in `views.ts`. */
export interface ViewDefinition {
  /** Show the view in an empty panel. The view reads `context.state` itself the first time. */
  mount(panel: HTMLElement, context: AppContext): MountedView;
}

export interface MountedView {
  /** The state in the URL has changed. */
  update(state: PageState): void;
  /** Abort requests, revoke `blob:` URLs, remove layers and listeners; the page empties the panel. */
  dispose(): void;
}
