"""HTTP transport: authentication, and conversion of problem responses to error classes."""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx

from pinpoint import errors
from pinpoint.http_headers import ORGANIZATION_HEADER
from pinpoint.settings import ServiceSettings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.state import compute_proof, read_state
from pinpoint.stack.supervisor.running import is_running, missing_stack

Json = dict[str, Any]

TIMEOUT: Final = httpx.Timeout(120.0, connect=5.0)
_PROBLEM_PREFIX: Final = "urn:pinpoint:problem:"
_REGISTERED_PREFIX: Final = "https://iana.org/assignments/http-problem-types#"
_REGISTERED_KINDS: Final = {
    "quota-exceeded": "quota_exceeded",
    "abnormal-usage-detected": "abnormal_usage_detected",
    "temporary-reduced-capacity": "unavailable",
}
_BAD_REQUEST_KINDS: Final = (
    "method_not_allowed",
    "not_acceptable",
    "unsupported_media_type",
)


class HttpTransport:
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
        headers = _auth_headers(key, organization)
        self.server = server.rstrip("/")
        self.embedded, self.home = embedded, home
        try:
            # Proxies in the environment apply to remote servers, not to this machine.
            self._http = httpx.Client(
                base_url=self.server, headers=headers, timeout=TIMEOUT, trust_env=not embedded
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise _invalid_server_error(server) from error

    @classmethod
    def to_embedded(cls, organization: str | None, home: Path | None = None) -> HttpTransport:
        """Connect to the embedded stack of a home.

        Args:
            organization: Organization that the operator acts for.
            home: Home of the stack; default: the home in the environment.

        Raises:
            StackError: No stack is running in this home.
        """
        home = home or ServiceSettings().home
        paths = StackPaths(home)
        try:
            state = read_state(paths)
        except PermissionError as error:
            raise missing_stack(home) from error
        if state is None:
            raise missing_stack(home)
        try:
            key = paths.operator_key_file.read_text().strip() or None
        except (FileNotFoundError, PermissionError):
            key = None
        transport = cls(state.api_url, None, None, embedded=True, home=home)
        if key is not None:
            transport._authenticate_operator(key, organization, state.api_port)
        return transport

    def _authenticate_operator(self, key: str, organization: str | None, port: int) -> None:
        """Verify that the API knows the operator's key, then send the key with each request.

        Raises:
            StackError: The API does not answer, or another process listens on the stack's port.
        """
        nonce = secrets.token_urlsafe(24)
        liveness = self.call("GET", "/health/live", query={"nonce": nonce})
        received_proof = liveness.get("proof") if isinstance(liveness, dict) else None
        if not hmac.compare_digest(
            str(received_proof).encode(), compute_proof(key, nonce, port).encode()
        ):
            self.close()
            raise errors.StackError(
                f"the server at {self.server} does not prove that it is this stack; nothing was "
                "sent to it; `pinpoint up` starts the stack, also after a change of its files"
            )
        self._http.headers.update(_auth_headers(key, organization))

    def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        form: Mapping[str, Any] | None = None,
        files: list[tuple[str, tuple[str, Any]]] | None = None,
        query: Mapping[str, Any] | None = None,
        accept: str = "application/json",
    ) -> Any:
        """Send one request; return the decoded JSON, or None for an empty response."""
        response = self.send(
            method,
            path,
            json=body,
            data=form,
            files=files,
            params=_drop_none(query),
            headers={"Accept": accept},
        )
        try:
            return response.json() if response.content else None
        except ValueError as error:
            raise errors.UnavailableError(
                f"{response.request.url} is not a Pinpoint API: its answer is not JSON"
            ) from error

    def fetch(self, path: str, query: Mapping[str, Any] | None = None) -> bytes:
        """Download a file; return its bytes."""
        return self.send("GET", path, params=_drop_none(query)).content

    def send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        """Send one request; return its successful response.

        Raises:
            PinpointError: The server returned a problem; its type selects the class.
            StackError: The embedded stack does not answer.
            UnavailableError: The server does not answer.
        """
        try:
            response = self._http.request(method, path, **parts)
        except httpx.HTTPError as error:
            raise self._connection_error(error) from error
        except httpx.InvalidURL as error:
            if "too long" in str(error):
                raise errors.BadRequestError(
                    "the filters are too long for a URL: simplify the outline of the area, or use "
                    "its bbox"
                ) from error
            raise _invalid_server_error(self.server) from error
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
                params=_drop_none(query),
                timeout=timeout,
                headers={"Accept": accept},
            ) as response:
                if response.is_error:
                    response.read()
                    raise error_from_response(response)
                yield response
        except httpx.HTTPError as error:
            raise self._connection_error(error) from error
        except httpx.InvalidURL as error:
            raise _invalid_server_error(self.server) from error

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _connection_error(self, error: httpx.HTTPError) -> errors.PinpointError:
        cause = errors.describe_cause(error)
        if isinstance(error, httpx.UnsupportedProtocol):
            return _invalid_server_error(self.server)
        if self.home is not None and isinstance(error, httpx.ConnectError):
            if not is_running(self.home):
                return missing_stack(self.home)
            return errors.StackError(
                f"the API of the stack in {self.home} does not answer at {self.server} ({cause}); "
                "`pinpoint status` shows its processes, `pinpoint up` starts those that are down",
                reason="stack_not_running",
            )
        return errors.UnavailableError(f"{self.server} does not answer: {cause}")


def _invalid_server_error(server: str) -> errors.BadRequestError:
    return errors.BadRequestError(
        f"{server!r} is not a server URL; give it as http://HOST:PORT or https://HOST"
    )


def error_from_response(response: httpx.Response) -> errors.PinpointError:
    """Convert a problem response to an error."""
    error = _parse_problem(response)
    if isinstance(error, errors.UnavailableError | errors.QuotaExceededError):
        error.retry_after_s = _parse_retry_after(response.headers.get("Retry-After", ""))
    return error


def _parse_problem(response: httpx.Response) -> errors.PinpointError:
    try:
        body = response.json()
    except ValueError:
        body = {}
    kind = _parse_kind(str(body.get("type", ""))) if isinstance(body, dict) else None
    if kind is None:
        # Most likely a response of a proxy.
        return errors.UnavailableError(
            f"{response.request.url} answered {response.status_code} and is not a Pinpoint API; "
            "check --server"
        )
    message = str(body.get("detail") or body.get("title") or kind)
    if response.status_code >= 500 and body.get("request_id"):
        message = f"{message} (request {body['request_id']})"
    reason = str(body.get("reason") or kind)
    error_class = _find_error_class(kind)
    if issubclass(error_class, errors.QuotaExceededError):
        policies = tuple(str(policy) for policy in body.get("violated-policies") or ())
        return error_class(message, reason=reason, policies=policies)
    return error_class(message, reason=reason)


def _parse_kind(problem_type: str) -> str | None:
    """Kind of a problem type; None if no Pinpoint API sends it."""
    if problem_type.startswith(_PROBLEM_PREFIX):
        return problem_type.removeprefix(_PROBLEM_PREFIX)
    if problem_type.startswith(_REGISTERED_PREFIX):
        return _REGISTERED_KINDS.get(problem_type.removeprefix(_REGISTERED_PREFIX))
    return None


def _parse_retry_after(text: str) -> float | None:
    """Parse Retry-After as whole seconds; its other form, a date, is ignored."""
    return float(text) if text.isascii() and text.isdigit() else None


def _auth_headers(key: str | None, organization: str | None) -> dict[str, str]:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return headers if organization is None else {**headers, ORGANIZATION_HEADER: organization}


def _find_error_class(kind: str) -> type[errors.PinpointError]:
    if kind in _BAD_REQUEST_KINDS:
        return errors.BadRequestError
    for error_class in _iterate_error_classes(errors.PinpointError):
        if error_class.reason == kind:
            return error_class
    return errors.PinpointError


def _iterate_error_classes(
    root: type[errors.PinpointError],
) -> Iterator[type[errors.PinpointError]]:
    yield root
    for child in root.__subclasses__():
        yield from _iterate_error_classes(child)


def _drop_none(query: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (query or {}).items() if value is not None}


def to_form(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Convert parameters to form fields; None is omitted."""
    form: dict[str, Any] = {}
    for name, value in parameters.items():
        if value is None or value in ((), []):
            continue
        if isinstance(value, Mapping):
            form[name] = json.dumps(value)
        elif name == "bbox" and not isinstance(value, str):
            form[name] = ",".join(repr(float(degrees)) for degrees in value)
        elif name == "crop" and not isinstance(value, str):
            crops = [value] if all(isinstance(number, int) for number in value) else value
            form[name] = [
                crop if isinstance(crop, str) else ",".join(map(str, crop)) for crop in crops
            ]
        elif name == "datetime" and isinstance(value, list | tuple):
            form[name] = "/".join(".." if time is None else to_text(time) for time in value)
        elif isinstance(value, list | tuple):
            form[name] = [str(item) for item in value]
        else:
            form[name] = to_text(value)
    return form


def to_text(value: object) -> str:
    """Convert a value to text; times to ISO 8601."""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def to_path_segment(identity: str | UUID) -> str:
    """Convert a name or id to a part of a path.

    Raises:
        BadRequestError: It would change the path.
    """
    text = str(identity)
    if not text or "/" in text or text in (".", ".."):
        raise errors.BadRequestError(f"{text!r} is not a valid name or id")
    return text
