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

export type ApiClient = ReturnType<typeof createApiClient>;

/**
 * Client of the API. It emits `signed-out` (CustomEvent with SignedOutDetail) when an answer is 401
 * or the user signs out, and `signed-in`.
 *
 * The key stays in this object: it is in no storage, cookie or URL and is gone with the page.
 */
export function createApiClient(base: string) {
  const target = new EventTarget();
  let currentSecret: string | null = null;
  let currentScopes: readonly string[] | null = [];
  let signedIn = false;

  /** Absolute URL of a path such as `v1/images`; throws for another origin. */
  function resolveUrl(path: string): string {
    const url = new URL(path.replace(/^\//, ""), base);
    if (url.origin !== new URL(base).origin) {
      throw new TypeError(`${url.origin} is not the origin of this page`);
    }
    return url.href;
  }

  /**
   * Sign in with a key, or without one where the API admits it.
   *
   * A key that may not read its limits (403) is valid nevertheless.
   */
  async function signInWithKey(secret: string | null): Promise<void> {
    const headers = secret === null ? {} : { Authorization: `Bearer ${secret}` };
    const response = await fetchResponse("GET", "v1/limits", { headers });
    if (!response.ok && response.status !== 403) {
      throw await readProblem(response);
    }
    const scopes = response.ok ? ((await response.json()) as { scopes: string[] }).scopes : [];
    openSession(secret, scopes);
  }

  /** Whether the key has a scope; the operator has all. */
  function hasScope(scope: string): boolean {
    return currentScopes === null || currentScopes.includes(scope);
  }

  /** Whether the API admits this machine without a key. */
  async function isKeyless(): Promise<boolean> {
    const response = await fetchResponse("GET", "", { headers: { Accept: "application/json" } });
    return response.ok && ((await response.json()) as { keyless?: boolean }).keyless === true;
  }

  /** Exchange the one-time token of a sign-in URL for a session. */
  async function signInWithToken(token: string): Promise<void> {
    const headers = { Authorization: `Bearer ${token}` };
    const response = await fetchResponse("POST", "sign-in", { headers });
    if (!response.ok) {
      throw await readProblem(response);
    }
    const answer = (await response.json()) as SessionAnswer;
    // The session of the operator of this machine.
    openSession(answer.session, null);
  }

  /** Forget the key. */
  function signOut(reason = "", requestId: string | null = null): void {
    currentSecret = null;
    if (signedIn) {
      signedIn = false;
      const detail: SignedOutDetail = { reason, requestId };
      target.dispatchEvent(new CustomEvent("signed-out", { detail }));
    }
  }

  /** Headers that authorize a request to this API. */
  function authorizationHeaders(): Record<string, string> {
    return currentSecret === null ? {} : { Authorization: `Bearer ${currentSecret}` };
  }

  /** Send a request; throws ApiError unless the status is 2xx. */
  async function sendRequest(method: string, path: string, options: RequestOptions = {}): Promise<Response> {
    const headers = { ...authorizationHeaders(), ...options.headers };
    const response = await fetchResponse(method, path, { ...options, headers });
    if (!response.ok) {
      throw noteError(await readProblem(response));
    }
    return response;
  }

  /** Get a JSON document. */
  async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
    const response = await sendRequest("GET", path, { signal });
    return (await response.json()) as T;
  }

  /** Send a JSON document (none if `body` is undefined); null if the answer has no body. */
  async function sendJson<T>(
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
    const response = await sendRequest(method, path, { ...options, ...content, headers });
    const text = await response.text();
    return (text === "" ? null : JSON.parse(text)) as T;
  }

  /** Post a form with files and report the sent bytes; the answer is JSON. */
  async function upload<T>(
    path: string,
    form: FormData,
    onProgress: ProgressListener,
    signal: AbortSignal,
  ): Promise<T> {
    return JSON.parse((await post(path, form, { onProgress, signal })).responseText) as T;
  }

  /**
   * Post a form; throws ApiError unless the status is 2xx. `onText` gets all of the answer that has
   * arrived so far.
   *
   * `fetch` reports no progress of an upload; XMLHttpRequest does.
   */
  function post(
    path: string,
    form: FormData,
    { onProgress, onText, signal, headers }: PostOptions,
  ): Promise<XMLHttpRequest> {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open("POST", resolveUrl(path));
      const allHeaders = { Accept: "application/json", ...authorizationHeaders(), ...headers };
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
          reject(noteError(makeError(status, responseText, getHeader)));
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
  async function fetchBlobUrl(path: string, signal?: AbortSignal): Promise<string> {
    const response = await sendRequest("GET", path, { signal });
    return URL.createObjectURL(await response.blob());
  }

  /** As `fetchBlobUrl` for the file of an image, or for its thumbnail if the key may not see the file or it is gone. */
  async function fetchPicture(id: string, widthPx: number, signal: AbortSignal) {
    const path = `v1/images/${id}`;
    try {
      return { url: await fetchBlobUrl(`${path}/file?width=${widthPx}`, signal), isSmall: false };
    } catch (error) {
      if (!(error instanceof ApiError) || ![403, 404, 409, 410].includes(error.status)) {
        throw error;
      }
      return { url: await fetchBlobUrl(`${path}/thumbnail`, signal), isSmall: true };
    }
  }

  function openSession(secret: string | null, scopes: string[] | null): void {
    currentSecret = secret;
    currentScopes = scopes;
    signedIn = true;
    target.dispatchEvent(new CustomEvent("signed-in"));
  }

  function noteError(error: ApiError): ApiError {
    if (error.status === 401) {
      signOut(error.detail, error.requestId);
    }
    return error;
  }

  async function fetchResponse(method: string, path: string, options: RequestOptions): Promise<Response> {
    const { body, headers, signal } = options;
    try {
      return await fetch(resolveUrl(path), {
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
  return {
    addEventListener: target.addEventListener.bind(target),
    get isSignedIn() {
      return signedIn;
    },
    resolveUrl,
    signInWithKey,
    hasScope,
    isKeyless,
    signInWithToken,
    signOut,
    authorizationHeaders,
    request: sendRequest,
    getJson,
    sendJson,
    upload,
    post,
    fetchBlobUrl,
    fetchPicture,
  };
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
