"""The guard of all requests that users can cause.

Not used on purpose: proxies and environment variables, cookies, kept connections, content codings,
automatic redirects. Each request has a connection of its own.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import IO, Final

import certifi
import httpcore

from pinpoint.errors import ConfigurationError, RemoteFileError, describe_cause
from pinpoint.outgoing.addresses import IpNetwork
from pinpoint.outgoing.connections import (
    URL_TIMEOUT,
    URL_UNAVAILABLE,
    TransferBudget,
    VerifiedBackend,
)
from pinpoint.outgoing.name_resolution import Resolve, resolve_name
from pinpoint.outgoing.urls import URL_REFUSED, WebUrl, normalize_host, parse_url, refuse_url

URL_TOO_LARGE: Final = "url_too_large"
URL_NOT_FOUND: Final = "url_not_found"
URL_FORBIDDEN: Final = "url_forbidden"
MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_ATTEMPTS: Final = 3
_USER_AGENT: Final = b"pinpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRules:
    """Servers that requests may reach.

    Args:
        hosts: `photos.example.org` for one host, `*.example.org` for all names below it, `*` for
            every name. An address must be listed as it is. Empty: no request is allowed.
        schemes: `https`, `http`.
        ports: Allowed ports.
        networks: Networks that are allowed although they are not public.
    """

    hosts: Sequence[str]
    schemes: Sequence[str] = ("https",)
    ports: Sequence[int] = (443,)
    networks: Sequence[IpNetwork] = ()
    _exact: frozenset[str] = field(init=False)
    _suffixes: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        exact = [host for host in self.hosts if not host.startswith("*")]
        suffixes = [host for host in self.hosts if host.startswith("*.")]
        if wrong := set(self.hosts) - {"*", *exact, *suffixes}:
            raise ConfigurationError(
                f"{sorted(wrong)[0]!r} is no host: give example.org, *.example.org or *"
            )
        object.__setattr__(self, "_exact", frozenset(_normalize_entry(host) for host in exact))
        object.__setattr__(
            self, "_suffixes", tuple("." + _normalize_entry(host[2:]) for host in suffixes)
        )

    def check(self, url: WebUrl) -> None:
        """Check scheme, port and host; addresses are checked when the connection is opened.

        Raises:
            RemoteFileError: `url_refused`.
        """
        if not self.hosts:
            raise refuse_url(str(url), "the operator of this installation allows no hosts")
        if url.scheme not in self.schemes:
            raise refuse_url(str(url), f"the scheme {url.scheme} is not allowed")
        if url.port not in self.ports:
            raise refuse_url(str(url), f"port {url.port} is not allowed")
        is_name = url.address is None
        is_listed = url.host in self._exact or (
            is_name and ("*" in self.hosts or url.host.endswith(self._suffixes))
        )
        if not is_listed:
            raise refuse_url(str(url), f"the host {url.host} is not on the allow-list")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebResponse:
    """A complete response."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes


class Guard:
    """Sends requests to servers that users name; thread-safe.

    Args:
        rules: Servers that requests may reach.
        timeout_s: Time limit of one request with its redirects and its body, seconds.
        resolve: Resolves names.
        tls: TLS settings; default: the certificates of the system and of certifi.
        retry_pause_s: Pause after the first failed attempt of a download, seconds.
    """

    def __init__(
        self,
        rules: RequestRules,
        *,
        timeout_s: float = 60.0,
        resolve: Resolve = resolve_name,
        tls: ssl.SSLContext | None = None,
        retry_pause_s: float = 0.5,
    ) -> None:
        self._rules, self._timeout_s = rules, timeout_s
        self._retry_pause_s = retry_pause_s
        self._resolve, self._tls = resolve, tls

    def check_url(self, text: str) -> WebUrl:
        """Parse a URL and check it without a request.

        Raises:
            RemoteFileError: `url_refused`.
        """
        url = parse_url(text)
        self._rules.check(url)
        return url

    def fetch_to_file(
        self,
        url: str,
        file: IO[bytes],
        *,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Download a file; a server that is temporarily unavailable is tried three times.

        Args:
            url: The URL of a user.
            file: Receives the bytes; empty at the beginning.
            max_bytes: Maximum size, bytes.
            headers: Headers with credentials; with them redirects are refused.

        Raises:
            RemoteFileError: The reason is the error code: `url_refused`, `url_not_found`,
                `url_forbidden`, `url_too_large`, `url_timeout` or `url_unavailable`.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._download_to_file(self.check_url(url), file, max_bytes, headers or {})
                return
            except RemoteFileError as error:
                if error.reason != URL_UNAVAILABLE or attempt == _ATTEMPTS:
                    raise
            time.sleep(self._retry_pause_s * attempt)
            file.seek(0)
            file.truncate()

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        max_bytes: int,
    ) -> WebResponse:
        """Send one request; redirects are not followed, and no status is an error.

        Args:
            method: HTTP method.
            url: The URL.
            headers: Headers without `Host` and `Content-Length`.
            body: The body.
            max_bytes: Maximum size of the response, bytes; 0 does not read it.

        Raises:
            RemoteFileError: As `fetch_to_file`.
        """
        budget = TransferBudget(self._timeout_s)
        with self._open_response(method, self.check_url(url), headers, body, budget) as response:
            chunks = list(_read_limited(response, max_bytes)) if max_bytes else []
            return WebResponse(
                status=response.status, headers=_decode_headers(response), body=b"".join(chunks)
            )

    def _download_to_file(
        self, url: WebUrl, file: IO[bytes], max_bytes: int, headers: Mapping[str, str]
    ) -> None:
        budget = TransferBudget(self._timeout_s)
        for _ in range(MAX_REDIRECTS + 1):
            with self._open_response("GET", url, headers, b"", budget) as response:
                if response.status not in _REDIRECTS:
                    _check_status(url, response.status)
                    for chunk in _read_limited(response, max_bytes):
                        file.write(chunk)
                    return
                if headers:
                    raise refuse_url(str(url), "it redirects a request with credentials")
                url = self._follow_redirect(url, _decode_headers(response).get("location", ""))
        raise refuse_url(str(url), f"more than {MAX_REDIRECTS} redirects")

    def _follow_redirect(self, url: WebUrl, location: str) -> WebUrl:
        if not location:
            raise refuse_url(str(url), "a redirect names no location")
        target = url.join(location)
        if url.scheme == "https" and target.scheme != "https":
            raise refuse_url(str(target), "a redirect leads from https to http")
        self._rules.check(target)
        return target

    @contextmanager
    def _open_response(
        self,
        method: str,
        url: WebUrl,
        headers: Mapping[str, str],
        body: bytes,
        budget: TransferBudget,
    ) -> Iterator[httpcore.Response]:
        backend = VerifiedBackend(url, self._resolve, self._rules.networks, budget)
        all_headers = [(b"Host", url.authority.encode()), (b"User-Agent", _USER_AGENT)]
        all_headers += [(b"Accept-Encoding", b"identity"), (b"Connection", b"close")]
        all_headers += [(name.encode(), value.encode()) for name, value in headers.items()]
        if body or method not in ("GET", "HEAD"):
            all_headers.append((b"Content-Length", str(len(body)).encode()))
        http_url = httpcore.URL(
            scheme=url.scheme.encode(),
            host=url.host.encode(),
            port=url.port,
            target=url.target.encode(),
        )
        with (
            _translate_errors(url),
            httpcore.ConnectionPool(
                ssl_context=self._tls or _default_tls(),
                max_connections=1,
                max_keepalive_connections=0,
                network_backend=backend,
            ) as pool,
            pool.stream(method, http_url, headers=all_headers, content=body or None) as response,
        ):
            yield response


def _normalize_entry(host: str) -> str:
    """An entry of the allow-list in the form of parsed hosts.

    Raises:
        ConfigurationError: The entry is no host.
    """
    try:
        return normalize_host(f"[{host}]" if host.count(":") > 1 else host)
    except RemoteFileError as error:
        raise ConfigurationError(f"{host!r} is no host name or address") from error


@cache
def _default_tls() -> ssl.SSLContext:
    tls = ssl.create_default_context()
    tls.load_verify_locations(cafile=certifi.where())
    return tls


def _decode_headers(response: httpcore.Response) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): value.decode("utf-8", "replace")
        for name, value in response.headers
    }


def _read_limited(response: httpcore.Response, max_bytes: int) -> Iterator[bytes]:
    """Yield the body.

    A content coding is refused: it is never requested, and a small body could become a large file.
    """
    headers = _decode_headers(response)
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise RemoteFileError("the server sends a content coding", reason=URL_REFUSED)
    announced = headers.get("content-length", "")
    num_bytes = int(announced) if announced.isascii() and announced.isdigit() else 0
    _check_size(num_bytes, max_bytes)
    num_bytes = 0
    for chunk in response.iter_stream():
        num_bytes += len(chunk)
        _check_size(num_bytes, max_bytes)
        yield chunk


def _check_size(num_bytes: int, max_bytes: int) -> None:
    if num_bytes > max_bytes:
        raise RemoteFileError(f"the file is larger than {max_bytes} bytes", reason=URL_TOO_LARGE)


def _check_status(url: WebUrl, status: int) -> None:
    """Raise the error of a status that is not 200."""
    if status == 200:
        return
    reason = URL_UNAVAILABLE
    if status in (404, 410):
        reason = URL_NOT_FOUND
    elif status in (401, 403):
        reason = URL_FORBIDDEN
    raise RemoteFileError(f"{url.host} answered with status {status}", reason=reason)


@contextmanager
def _translate_errors(url: WebUrl) -> Iterator[None]:
    """Translate errors of the connection."""
    try:
        yield
    except httpcore.TimeoutException as error:
        raise RemoteFileError(f"{url.host} did not answer in time", reason=URL_TIMEOUT) from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        cause = describe_cause(error)
        raise RemoteFileError(
            f"{url.host} ended the connection: {cause}", reason=URL_UNAVAILABLE
        ) from error
