/** Requests to the API of this origin, with the key or session of the signed-in user. */

/** An error that the API described (RFC 9457), or that prevented an answer (`status` 0). */
export class ApiError extends Error {
  constructor(
    /** HTTP status; 0 if no answer arrived. */
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    /** `X-Request-ID` of the answer, by which the operator finds its log lines. */
    readonly requestId: string | null = null,
    /** Seconds after which the API wants to be asked again. */
    readonly retryAfterS: number | null = null,
  ) {
    super(detail || title);
    this.name = "ApiError";
  }
}

export interface RequestOptions {
  body?: BodyInit;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
}

export interface PostOptions {
  onProgress: ProgressListener;
  onText?: (text: string) => void;
  signal: AbortSignal;
  headers?: Record<string, string>;
}

export type ProgressListener = (sentBytes: number, totalBytes: number) => void;

/** Why the user has to sign in again. */
export interface SignedOutDetail {
  reason: string;
  requestId: string | null;
}

interface SessionAnswer {
  session: string;
}

/**
 * Client of the API. It emits `signed-out` (CustomEvent with SignedOutDetail) when an answer is 401
 * or the user signs out, and `signed-in`.
 *
 * The key stays in this object: it is in no storage, cookie or URL and is gone with the page.
 */
export class ApiClient extends EventTarget {
  #secret: string | null = null;
  #scopes: readonly string[] | null = [];
  #signedIn = false;
  readonly #base: string;

  /** `base`: URL of the API's root with a trailing slash. */
  constructor(base: string) {
    super();
    this.#base = base;
  }

  get isSignedIn(): boolean {
    return this.#signedIn;
  }

  /** Absolute URL of a path such as `v1/images`; throws for another origin. */
  resolveUrl(path: string): string {
    const url = new URL(path.replace(/^\//, ""), this.#base);
    if (url.origin !== new URL(this.#base).origin) {
      throw new TypeError(`${url.origin} is not the origin of this page`);
    }
    return url.href;
  }

  /**
   * Sign in with a key, or without one where the API admits it.
   *
   * A key that may not read its limits (403) is valid nevertheless.
   */
  async signInWithKey(secret: string | null): Promise<void> {
    const headers = secret === null ? {} : { Authorization: `Bearer ${secret}` };
    const response = await this.#fetchResponse("GET", "v1/limits", { headers });
    if (!response.ok && response.status !== 403) {
      throw await readProblem(response);
    }
    const scopes = response.ok ? ((await response.json()) as { scopes: string[] }).scopes : [];
    this.#openSession(secret, scopes);
  }

  /** Whether the key has a scope; the operator has all. */
  hasScope(scope: string): boolean {
    return this.#scopes === null || this.#scopes.includes(scope);
  }

  /** Whether the API admits this machine without a key. */
  async isKeyless(): Promise<boolean> {
    const response = await this.#fetchResponse("GET", "", { headers: { Accept: "application/json" } });
    return response.ok && ((await response.json()) as { keyless?: boolean }).keyless === true;
  }

  /** Exchange the one-time token of a sign-in URL for a session. */
  async signInWithToken(token: string): Promise<void> {
    const headers = { Authorization: `Bearer ${token}` };
    const response = await this.#fetchResponse("POST", "sign-in", { headers });
    if (!response.ok) {
      throw await readProblem(response);
    }
    const answer = (await response.json()) as SessionAnswer;
    // The session of the operator of this machine.
    this.#openSession(answer.session, null);
  }

  /** Forget the key. */
  signOut(reason = "", requestId: string | null = null): void {
    this.#secret = null;
    if (this.#signedIn) {
      this.#signedIn = false;
      const detail: SignedOutDetail = { reason, requestId };
      this.dispatchEvent(new CustomEvent("signed-out", { detail }));
    }
  }

  /** Headers that authorize a request to this API. */
  authorizationHeaders(): Record<string, string> {
    return this.#secret === null ? {} : { Authorization: `Bearer ${this.#secret}` };
  }

  /** Send a request; throws ApiError unless the status is 2xx. */
  async request(method: string, path: string, options: RequestOptions = {}): Promise<Response> {
    const headers = { ...this.authorizationHeaders(), ...options.headers };
    const response = await this.#fetchResponse(method, path, { ...options, headers });
    if (!response.ok) {
      throw this.#noteError(await readProblem(response));
    }
    return response;
  }

  /** Get a JSON document. */
  async getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
    const response = await this.request("GET", path, { signal });
    return (await response.json()) as T;
  }

  /** Send a JSON document (none if `body` is undefined); null if the answer has no body. */
  async sendJson<T>(
    method: string,
    path: string,
    body?: unknown,
    options: Omit<RequestOptions, "body"> = {},
  ): Promise<T> {
    const headers = { ...options.headers };
    if (body !== undefined) {
      headers["Content-Type"] = "application/json";
    }
    const content = body === undefined ? {} : { body: JSON.stringify(body) };
    const response = await this.request(method, path, { ...options, ...content, headers });
    const text = await response.text();
    return (text === "" ? null : JSON.parse(text)) as T;
  }

  /** Post a form with files and report the sent bytes; the answer is JSON. */
  async upload<T>(path: string, form: FormData, onProgress: ProgressListener, signal: AbortSignal): Promise<T> {
    return JSON.parse((await this.post(path, form, { onProgress, signal })).responseText) as T;
  }

  /**
   * Post a form; throws ApiError unless the status is 2xx. `onText` gets all of the answer that has
   * arrived so far.
   *
   * `fetch` reports no progress of an upload; XMLHttpRequest does.
   */
  post(path: string, form: FormData, { onProgress, onText, signal, headers }: PostOptions): Promise<XMLHttpRequest> {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", this.resolveUrl(path));
      const allHeaders = { Accept: "application/json", ...this.authorizationHeaders(), ...headers };
      for (const [name, value] of Object.entries(allHeaders)) {
        request.setRequestHeader(name, value);
      }
      const isSuccess = () => request.status >= 200 && request.status < 300;
      request.upload.onprogress = ({ loaded, total }) => onProgress(loaded, total);
      request.onprogress = () => isSuccess() && onText?.(request.responseText);
      request.onload = () => {
        const { status, responseText } = request;
        const getHeader = (name: string) => request.getResponseHeader(name);
        if (isSuccess()) {
          resolve(request);
        } else {
          reject(this.#noteError(makeError(status, responseText, getHeader)));
        }
      };
      request.onerror = () => reject(makeUnreachableError());
      request.onabort = () => reject(signal.reason);
      signal.addEventListener("abort", () => request.abort(), { once: true });
      request.send(form);
    });
  }

  /**
   * Get a file as a `blob:` URL for an image; the caller revokes it (`URL.revokeObjectURL`).
   *
   * An `<img>` cannot send the key, and a key in the URL would be logged.
   */
  async fetchBlobUrl(path: string, signal?: AbortSignal): Promise<string> {
    const response = await this.request("GET", path, { signal });
    return URL.createObjectURL(await response.blob());
  }

  #openSession(secret: string | null, scopes: string[] | null): void {
    this.#secret = secret;
    this.#scopes = scopes;
    this.#signedIn = true;
    this.dispatchEvent(new CustomEvent("signed-in"));
  }

  #noteError(error: ApiError): ApiError {
    if (error.status === 401) {
      this.signOut(error.detail, error.requestId);
    }
    return error;
  }

  async #fetchResponse(method: string, path: string, options: RequestOptions): Promise<Response> {
    const { body, headers, signal } = options;
    try {
      return await fetch(this.resolveUrl(path), {
        method,
        headers: { Accept: "application/json, */*;q=0.5", ...headers },
        ...(body === undefined ? {} : { body }),
        ...(signal === undefined ? {} : { signal }),
        // Neither cookies nor passwords that the browser has saved.
        credentials: "omit",
        cache: "no-cache",
        redirect: "error",
      });
    } catch (error) {
      if (signal?.aborted) {
        throw signal.reason ?? error;
      }
      throw error instanceof TypeError ? makeUnreachableError() : error;
    }
  }
}

/** Whether an error is the end of a request that the page itself aborted. */
export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

function makeUnreachableError(): ApiError {
  return new ApiError(0, "", "");
}

async function readProblem(response: Response): Promise<ApiError> {
  return makeError(response.status, await response.text(), (name) => response.headers.get(name));
}

/** Error of a problem document (RFC 9457), which may name status and request id itself. */
export function makeError(
  status: number,
  body: string,
  getHeader: (name: string) => string | null = () => null,
): ApiError {
  let problem: Record<string, unknown> = {};
  try {
    problem = Object(JSON.parse(body)) as Record<string, unknown>;
  } catch {
    // A proxy in front of the API answers in HTML; its status is all that the page can tell.
  }
  const text = (name: string) => (typeof problem[name] === "string" ? problem[name] : "");
  return new ApiError(
    status || Number(problem["status"]),
    text("title"),
    text("detail"),
    getHeader("X-Request-ID") || text("request_id") || null,
    Number(getHeader("Retry-After")) || null,
  );
}
