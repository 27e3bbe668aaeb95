/**
 * State of the page in the hash of its URL: view, map position, selected image, filters.
 *
 * Back and forward work, and a copied URL shows the same. Keys, sessions and photos never get there.
 */

export interface MapPosition {
  /** Degrees, WGS84. */
  readonly lat: number;
  /** Degrees, WGS84. */
  readonly lon: number;
  readonly zoom: number;
}

export interface PageState {
  /** Id of the view. */
  readonly view: string;
  /** Position of the map; null before the user has moved it. */
  readonly position: MapPosition | null;
  /** Id of the selected image. */
  readonly image: string | null;
  /** `globe` or `flat`. */
  readonly projection: Projection;
  /** Further values of the views, such as filters, by name. */
  readonly filters: Readonly<Record<string, string>>;
}

export type Projection = "globe" | "flat";

export type StateListener = (state: PageState) => void;

const maxValueLength = 2_000;
const maxFilters = 32;
const reservedNames = new Set(["view", "map", "image", "projection", "sign-in"]);

export type UrlState = ReturnType<typeof createUrlState>;

/** The state in the URL. Listeners get each change, from the page as from the browser's buttons. */
export function createUrlState(viewIds: readonly string[]) {
  const listeners = new Set<StateListener>();
  let current: PageState = parseState(location.hash, viewIds);
  window.addEventListener("popstate", () => readLocation());
  window.addEventListener("hashchange", () => readLocation());
  function getState(): PageState {
    return current;
  }

  /**
   * Change a part of the state.
   *
   * `replace` changes the current history entry (positions while the map moves); otherwise the
   * change is a new entry. `filters` replaces all filters; `setFilter` changes one.
   */
  function setState(change: Partial<PageState>, { replace = false } = {}): void {
    const next = { ...current, ...change };
    const hash = formatState(next);
    if (hash === formatState(current)) {
      return;
    }
    if (replace) {
      history.replaceState(null, "", hash);
    } else {
      history.pushState(null, "", hash);
    }
    apply(next);
  }

  /** Set one filter; null removes it. */
  function setFilter(name: string, value: string | null, options: { replace?: boolean } = {}): void {
    if (reservedNames.has(name)) {
      throw new TypeError(`${name} is a reserved name`);
    }
    const filters = { ...current.filters };
    if (value === null || value === "") {
      delete filters[name];
    } else {
      filters[name] = value;
    }
    setState({ filters }, options);
  }

  /** Call a listener after each change; returns a function that ends this. */
  function subscribe(listener: StateListener): () => void {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  function readLocation(): void {
    const next = parseState(location.hash, viewIds);
    if (formatState(next) !== formatState(current)) {
      apply(next);
    }
  }

  function apply(next: PageState): void {
    current = next;
    for (const listener of [...listeners]) {
      listener(next);
    }
  }
  return { get: getState, set: setState, setFilter, subscribe };
}

/** Hash of a state, for links. */
export function formatState(state: PageState): string {
  const parameters = new URLSearchParams({ view: state.view });
  if (state.position !== null) {
    const { lat, lon, zoom } = state.position;
    parameters.set("map", `${zoom.toFixed(2)}/${lat.toFixed(5)}/${lon.toFixed(5)}`);
  }
  if (state.image !== null) {
    parameters.set("image", state.image);
  }
  if (state.projection !== "globe") {
    parameters.set("projection", state.projection);
  }
  for (const [name, value] of Object.entries(state.filters).sort()) {
    parameters.set(name, value);
  }
  return `#${parameters.toString().replaceAll("%2F", "/").replaceAll("%2C", ",")}`;
}

/** Parse a hash; parts that cannot be read are left out, because anybody can write a link. */
export function parseState(hash: string, viewIds: readonly string[]): PageState {
  const parameters = new URLSearchParams(hash.replace(/^#/, ""));
  const view = parameters.get("view") ?? "";
  const filters: Record<string, string> = {};
  for (const [name, value] of parameters) {
    const fits = /^[a-z_]{1,32}$/.test(name) && value.length <= maxValueLength;
    if (fits && !reservedNames.has(name) && Object.keys(filters).length < maxFilters) {
      filters[name] = value;
    }
  }
  return {
    view: viewIds.includes(view) ? view : (viewIds[0] ?? ""),
    position: parsePosition(parameters.get("map")),
    image: parseId(parameters.get("image")),
    projection: parameters.get("projection") === "flat" ? "flat" : "globe",
    filters,
  };
}

function parsePosition(text: string | null): MapPosition | null {
  const match = /^(\d{1,2}(?:\.\d+)?)\/(-?\d{1,2}(?:\.\d+)?)\/(-?\d{1,3}(?:\.\d+)?)$/.exec(text ?? "");
  if (match === null) {
    return null;
  }
  const [zoom, lat, lon] = match.slice(1).map(Number) as [number, number, number];
  return zoom <= 24 && Math.abs(lat) <= 90 && Math.abs(lon) <= 180 ? { zoom, lat, lon } : null;
}

function parseId(text: string | null): string | null {
  return text !== null && /^[0-9a-f-]{36}$/i.test(text) ? text : null;
}
