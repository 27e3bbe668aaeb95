"""One HTTP exchange: who we are, and how a problem becomes the right class of error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx

from pinpoint import errors
from pinpoint.settings import Places
from pinpoint.stack.places import StackPlaces
from pinpoint.stack.state import read_state

TIMEOUT: Final = httpx.Timeout(120.0, connect=5.0)
ORGANIZATION_HEADER: Final = "X-Pinpoint-Organization"
_PREFIX: Final = "urn:pinpoint:problem:"
_FORM_PROBLEMS: Final = ("invalid_request", "method_not_allowed", "unsupported_media_type")


class Wire:
    """A connection to one API.

    Args:
        server: Base URL.
        key: API key, or the operator's secret of this machine.
        organization: In whose name the operator asks.
        embedded: The server is this machine's embedded stack.
    """

    def __init__(
        self, server: str, key: str | None, organization: str | None, *, embedded: bool
    ) -> None:
        headers = {}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        if organization is not None:
            headers[ORGANIZATION_HEADER] = organization
        self.server = server.rstrip("/")
        self.embedded = embedded
        try:
            # Proxies of the environment are for the world outside, not for this machine.
            self._http = httpx.Client(
                base_url=self.server, headers=headers, timeout=TIMEOUT, trust_env=not embedded
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise errors.BadRequest(f"{server!r} is no URL of a server: {error}") from error

    @classmethod
    def to_embedded(cls, organization: str | None) -> Wire:
        """Find the embedded stack below `PINPOINT_HOME`.

        Raises:
            StackError: None is running there.
        """
        home = Places().home
        places = StackPlaces(home)
        state = read_state(places)
        if state is None:
            raise errors.StackError(
                f"no embedded stack is running below {home}; start it with `pinpoint up`, "
                "or name a server: --server URL, connect(server=URL)",
                reason="stack_not_running",
            )
        try:
            key = places.operator_key_file.read_text().strip() or None
        except (FileNotFoundError, PermissionError):
            key = None
        return cls(state.api_url, key, organization if key is not None else None, embedded=True)

    def call(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        form: Mapping[str, Any] | None = None,
        files: list[tuple[str, tuple[str, Any]]] | None = None,
        query: Mapping[str, Any] | None = None,
    ) -> Any:
        """One request; the decoded JSON, or None where there is none."""
        response = self.send(method, path, json=json, data=form, files=files, params=_given(query))
        return response.json() if response.content else None

    def fetch(self, path: str) -> bytes:
        """Bytes of a picture."""
        return self.send("GET", path).content

    def send(self, method: str, path: str, **parts: Any) -> httpx.Response:
        """One request; a response that is no error.

        Raises:
            PinpointError: What the server said was wrong, by class.
            StackError: The embedded stack does not answer.
            Unavailable: The server does not answer.
        """
        try:
            response = self._http.request(method, path, **parts)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        except httpx.InvalidURL as error:
            raise errors.BadRequest(f"{self.server!r} is no URL of a server: {error}") from error
        if response.is_error:
            raise from_response(response)
        return response

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _unreachable(self, error: httpx.HTTPError) -> errors.PinpointError:
        what = str(error) or type(error).__name__
        if self.embedded and isinstance(error, httpx.ConnectError):
            return errors.StackError(
                f"the embedded stack does not answer at {self.server} ({what}); "
                "see `pinpoint status`, start it with `pinpoint up`",
                reason="stack_not_running",
            )
        return errors.Unavailable(f"{self.server} does not answer: {what}")


def from_response(response: httpx.Response) -> errors.PinpointError:
    """The error that a problem response stands for."""
    try:
        body = response.json()
    except ValueError:
        body = {}
    if not isinstance(body, dict) or not str(body.get("type", "")).startswith(_PREFIX):
        return errors.Unavailable(
            f"{response.request.url} answered {response.status_code} and is no Pinpoint"
        )
    kind = str(body["type"]).removeprefix(_PREFIX)
    message = str(body.get("detail") or body.get("title") or kind)
    if response.status_code >= 500 and body.get("request_id"):
        message = f"{message} (request {body['request_id']})"
    return _class_of(kind)(message, reason=str(body.get("reason") or kind))


def _class_of(kind: str) -> type[errors.PinpointError]:
    if kind in _FORM_PROBLEMS:
        return errors.BadRequest
    for known in _tree(errors.PinpointError):
        if known.reason == kind:
            return known
    return errors.PinpointError


def _tree(root: type[errors.PinpointError]) -> Iterator[type[errors.PinpointError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def _given(query: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (query or {}).items() if value is not None}
