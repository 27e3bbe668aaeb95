"""HTTP transports: authentication, and conversion of failures to errors."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import httpx

from pinpoint_client import errors
from pinpoint_client.calls.call import JSON, ByteProgress, Call, Json, read_json
from pinpoint_client.local_stack import LocalStack, is_proven, read_local_stack, unproven_error
from pinpoint_client.parameters import drop_none, to_form, to_path_segment
from pinpoint_client.problems import describe_cause, error_from_response, invalid_server_error

__all__ = ["AsyncHttpTransport", "HttpTransport", "Json", "to_form", "to_path_segment"]

TIMEOUT: Final = httpx.Timeout(120.0, connect=5.0)
ORGANIZATION_HEADER: Final = "X-Pinpoint-Organization"
"""Name of an organization, sent with the operator's key."""
_LIVE_PATH: Final = "/health/live"

T = TypeVar("T")


def complete_server(server: str) -> str:
    """Complete the address of a server: without a scheme it gets `http://`, or `https://`.

    Addresses of this machine and addresses with a port get `http://`.

    Raises:
        BadRequestError: It is not the address of a server.
    """
    text = server.strip()
    if "://" not in text:
        has_port = re.search(r":[0-9]+(/|$)", text) and not text.endswith(":443")
        is_plain = has_port or text.partition("/")[0] in ("localhost", "127.0.0.1", "[::1]")
        text = f"{'http' if is_plain else 'https'}://{text}"
    try:
        parts = urlsplit(text)
        is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        raise invalid_server_error(server)
    return text.rstrip("/")


class _Connection:
    """What both transports share: the address, and the conversion of failures."""

    def __init__(self, server: str, *, embedded: bool, home: Path | None) -> None:
        self.server = server.rstrip("/")
        self.embedded, self.home = embedded, home

    def _options(self, key: str | None, organization: str | None) -> dict[str, Any]:
        # Proxies in the environment apply to remote servers, not to this machine.
        return {
            "base_url": self.server,
            "headers": _auth_headers(key, organization),
            "timeout": TIMEOUT,
            "trust_env": not self.embedded,
        }

    def _convert_error(self, error: Exception) -> errors.PinpointError:
        if isinstance(error, httpx.InvalidURL):
            if "too long" in str(error):
                return errors.BadRequestError(
                    "the filters are too long for a URL: simplify the outline of the area, or use "
                    "its bbox"
                )
            return invalid_server_error(self.server)
        if isinstance(error, httpx.UnsupportedProtocol):
            return invalid_server_error(self.server)
        cause = describe_cause(error)
        if self.home is not None and isinstance(error, httpx.ConnectError):
            return errors.StackError(
                f"the API of the stack in {self.home} does not answer at {self.server} ({cause}); "
                "`pinpoint status` shows its processes, `pinpoint up` starts those that are down",
                reason="stack_not_running",
            )
        return errors.UnavailableError(f"{self.server} does not answer: {cause}")


class HttpTransport(_Connection):
    """A connection to one API.

    Args:
        server: Base URL.
        key: API key, or the operator's secret of this machine.
        organization: Organization that the operator acts for.
        embedded: Whether the server is this machine's embedded stack.
        home: Home of the embedded stack.
    """

    def __init__(
        self,
        server: str,
        key: str | None,
        organization: str | None,
        *,
        embedded: bool,
        home: Path | None = None,
    ) -> None:
        super().__init__(server, embedded=embedded, home=home)
        try:
            self._http = httpx.Client(**self._options(key, organization))
        except (httpx.InvalidURL, ValueError) as error:
            raise invalid_server_error(server) from error

    @classmethod
    def to_embedded(cls, organization: str | None, home: Path | None = None) -> HttpTransport:
        """Connect to the embedded stack of a home.

        Args:
            organization: Organization that the operator acts for.
            home: Home of the stack; default: the home in the environment.

        Raises:
            StackError: No stack is running in this home, or another process listens on its port.
        """
        stack = read_local_stack(home)
        transport = cls(stack.url, None, None, embedded=True, home=stack.home)
        if stack.key is not None:
            nonce = secrets.token_urlsafe(24)
            transport._authenticate_stack(
                stack, nonce, transport.call("GET", _LIVE_PATH, query={"nonce": nonce})
            )
            transport._http.headers.update(_auth_headers(stack.key, organization))
        return transport

    def _authenticate_stack(self, stack: LocalStack, nonce: str, answer: Any) -> None:
        if not is_proven(stack, nonce, answer):
            self.close()
            raise unproven_error(self.server)

    def send_call(self, call: Call[T]) -> T:
        """Send a call; return its converted answer.

        Raises:
            PinpointError: As `send`.
        """
        return call.read(
            self.send(call.method, call.path, on_upload=call.on_upload, **_parts(call))
        )

    def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        form: Mapping[str, Any] | None = None,
        files: list[tuple[str, tuple[str, Any]]] | None = None,
        query: Mapping[str, Any] | None = None,
        accept: str = JSON,
    ) -> Any:
        """Send one request; return the decoded JSON, or None for an empty response."""
        call = Call(
            method=method, path=path, read=read_json, body=body, form=form, files=files,
            query=query, accept=accept,
        )  # fmt: skip
        return self.send_call(call)

    def fetch(self, path: str, query: Mapping[str, Any] | None = None) -> bytes:
        """Download a file; return its bytes."""
        return self.send("GET", path, params=drop_none(query)).content

    def send(
        self, method: str, path: str, *, on_upload: ByteProgress | None = None, **parts: Any
    ) -> httpx.Response:
        """Send one request; return its successful response.

        Args:
            method: HTTP method.
            path: Path of the route, or the URL of a next page.
            on_upload: Called with the bytes of the body that were sent.
            parts: Further arguments of `httpx.Client.build_request`.

        Raises:
            PinpointError: The server returned a problem; its type selects the class.
            StackError: The embedded stack does not answer.
            UnavailableError: The server does not answer.
        """
        try:
            request = self._http.build_request(method, path, **parts)
            _report_upload(request, on_upload)
            response = self._http.send(request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._convert_error(error) from error
        if response.is_error:
            raise error_from_response(response)
        return response

    @contextmanager
    def stream(
        self, path: str, *, query: Mapping[str, Any], timeout_s: float, accept: str = "*/*"
    ) -> Iterator[httpx.Response]:
        """Send a GET request; the body of its successful response is not read yet.

        Args:
            path: Path of the route.
            query: Query parameters.
            timeout_s: Maximum wait for the response, and for each part of its body, seconds.
            accept: Media type of the response.

        Raises:
            PinpointError: As `send`; also while the body is read inside the context.
        """
        timeout = httpx.Timeout(timeout_s, connect=5.0)
        try:
            with self._http.stream(
                "GET",
                path,
                params=drop_none(query),
                timeout=timeout,
                headers={"Accept": accept},
            ) as response:
                if response.is_error:
                    response.read()
                    raise error_from_response(response)
                yield response
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._convert_error(error) from error

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


class AsyncHttpTransport(_Connection):
    """A connection to one API for asynchronous programs.

    Args:
        server: Base URL.
        key: API key, or the operator's secret of this machine.
        organization: Organization that the operator acts for.
        stack: The stack of this machine, if the server is its API; its key is sent after the first
            answer has proven that the API knows it.
    """

    def __init__(
        self,
        server: str,
        key: str | None,
        organization: str | None,
        *,
        stack: LocalStack | None = None,
    ) -> None:
        super().__init__(
            server, embedded=stack is not None, home=None if stack is None else stack.home
        )
        self._organization = organization
        self._unproven_stack = None if stack is None or stack.key is None else stack
        try:
            self._http = httpx.AsyncClient(**self._options(key, organization))
        except (httpx.InvalidURL, ValueError) as error:
            raise invalid_server_error(server) from error

    async def send_call(self, call: Call[T]) -> T:
        """Send a call; return its converted answer.

        Raises:
            PinpointError: As `HttpTransport.send`.
        """
        await self._authenticate_stack()
        return call.read(
            await self._send_request(
                call.method, call.path, on_upload=call.on_upload, **_parts(call)
            )
        )

    @asynccontextmanager
    async def stream(
        self, path: str, *, query: Mapping[str, Any], timeout_s: float, accept: str = "*/*"
    ) -> AsyncIterator[httpx.Response]:
        """Send a GET request, as `HttpTransport.stream` does."""
        await self._authenticate_stack()
        timeout = httpx.Timeout(timeout_s, connect=5.0)
        try:
            async with self._http.stream(
                "GET",
                path,
                params=drop_none(query),
                timeout=timeout,
                headers={"Accept": accept},
            ) as response:
                if response.is_error:
                    await response.aread()
                    raise error_from_response(response)
                yield response
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._convert_error(error) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _authenticate_stack(self) -> None:
        """Before the first call: verify that the API is the stack, then send its key."""
        stack = self._unproven_stack
        if stack is None:
            return
        nonce = secrets.token_urlsafe(24)
        answer = read_json(await self._send_request("GET", _LIVE_PATH, params={"nonce": nonce}))
        if not is_proven(stack, nonce, answer):
            raise unproven_error(self.server)
        self._http.headers.update(_auth_headers(stack.key, self._organization))
        self._unproven_stack = None

    async def _send_request(
        self, method: str, path: str, *, on_upload: ByteProgress | None = None, **parts: Any
    ) -> httpx.Response:
        try:
            request = self._http.build_request(method, path, **parts)
            _report_upload(request, on_upload)
            response = await self._http.send(request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._convert_error(error) from error
        if response.is_error:
            raise error_from_response(response)
        return response


class _ReportedStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a request, whose sent bytes are reported."""

    def __init__(self, body: Any, total: int | None, on_upload: ByteProgress) -> None:
        self._body, self._total, self._on_upload = body, total, on_upload

    def __iter__(self) -> Iterator[bytes]:
        sent = 0
        for part in self._body:
            yield part
            sent += len(part)
            self._on_upload(sent, self._total)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        sent = 0
        async for part in self._body:
            yield part
            sent += len(part)
            self._on_upload(sent, self._total)


def _report_upload(request: httpx.Request, on_upload: ByteProgress | None) -> None:
    if on_upload is not None:
        length = request.headers.get("Content-Length")
        total = None if length is None else int(length)
        request.stream = _ReportedStream(request.stream, total, on_upload)


def _parts(call: Call[Any]) -> dict[str, Any]:
    """Arguments of `build_request` for a call."""
    return {
        "json": call.body,
        "data": call.form,
        "files": call.files,
        "params": drop_none(call.query),
        "headers": call.headers,
    }


def _auth_headers(key: str | None, organization: str | None) -> dict[str, str]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return headers if organization is None else {**headers, ORGANIZATION_HEADER: organization}
