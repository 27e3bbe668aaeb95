"""A call of the API as a value: what is sent, and how the answer is read. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpx

from pinpoint_client.errors import UnavailableError

if TYPE_CHECKING:
    from pydantic import BaseModel

T = TypeVar("T")
Model = TypeVar("Model", bound="BaseModel")
Json = dict[str, Any]

ByteProgress = Callable[[int, int | None], None]
"""Called with the bytes so far, and with all bytes if their number is known."""
FilePart = tuple[str, tuple[str, bytes]]
"""Name of a form field, with the name and the content of a file."""

JSON: Final = "application/json"
GEOJSON: Final = "application/geo+json"
IDEMPOTENCY_HEADER: Final = "Idempotency-Key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One request and the conversion of its answer.

    Args:
        method: HTTP method.
        path: Path of the route, with escaped parts.
        read: Converts a successful answer.
        query: Query parameters; those that are None are omitted.
        form: Form fields.
        files: Files of a form.
        body: JSON body.
        accept: Accepted media type.
        idempotency_key: Key by which the server recognizes a repeated request.
        is_repeatable: Whether the call may be sent again after a lost answer.
        on_upload: Called with the bytes of the request that were sent.
    """

    method: str
    path: str
    read: Callable[[httpx.Response], T]
    query: Mapping[str, Any] | None = None
    form: Mapping[str, Any] | None = None
    files: list[FilePart] | None = None
    body: object = None
    accept: str = JSON
    idempotency_key: str | None = None
    is_repeatable: bool = False
    on_upload: ByteProgress | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the request."""
        headers = {"Accept": self.accept}
        if self.idempotency_key is not None:
            headers[IDEMPOTENCY_HEADER] = self.idempotency_key
        return headers

    def as_json(self) -> Call[Any]:
        """Return the same call, whose answer is the decoded JSON."""
        return replace(self, read=read_json)


@dataclass(frozen=True, slots=True)
class Pause:
    """A step of a flow: wait."""

    seconds: float


Flow = Generator[Call[Any] | Pause, Any, T]
"""Several calls as a generator: it yields calls and receives their answers."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A page of a list, and the call of the next page; None after the last page."""

    entries: list[T]
    next_call: Call[Page[T]] | None = field(default=None, repr=False)

    def __iter__(self) -> Iterator[T]:
        return iter(self.entries)


def read_json(response: httpx.Response) -> Any:
    """Decode a JSON answer; None for an empty one.

    Raises:
        UnavailableError: The answer is not JSON.
    """
    try:
        return response.json() if response.content else None
    except ValueError as error:
        raise UnavailableError(
            f"{response.request.url} is not a Pinpoint API: its answer is not JSON"
        ) from error


def read_nothing(response: httpx.Response) -> None:
    """Check an answer whose content is of no use.

    Raises:
        UnavailableError: It is not empty and not JSON: another server has answered.
    """
    read_json(response)


def read_bytes(response: httpx.Response) -> bytes:
    """Return the body of an answer."""
    return response.content


def read_model(load: Callable[[], type[Model]]) -> Callable[[httpx.Response], Model]:
    """Make a function that converts a JSON answer to a model.

    Args:
        load: Returns the model; called at the first answer, which imports it.

    Raises:
        UnavailableError: The answer lacks fields of the model (in the function).
    """

    def read(response: httpx.Response) -> Model:
        # Imported here so that `import pinpoint_client` stays fast.
        from pydantic import ValidationError

        document = read_json(response)
        try:
            return load().model_validate(document)
        except ValidationError as error:
            raise UnavailableError(
                f"the answer of {response.request.url.path} does not match this client: "
                f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}; install the client of "
                "the server's version"
            ) from error

    return read


def read_entries(
    load: Callable[[], type[Model]], name: str
) -> Callable[[httpx.Response], list[Model]]:
    """Make a function that reads the list `name` of a JSON answer."""

    def read(response: httpx.Response) -> list[Model]:
        return [load().model_validate(entry) for entry in read_json(response)[name]]

    return read


def read_field(name: str) -> Callable[[httpx.Response], int]:
    """Make a function that returns a number of a JSON answer."""
    return lambda response: int(read_json(response)[name])


def list_call(
    path: str,
    load: Callable[[], type[Model]],
    name: str,
    query: Mapping[str, Any],
    *,
    cursor: str = "cursor",
) -> Call[Page[Model]]:
    """Make the call of a page of a list.

    Args:
        path: Path of the route.
        load: Returns the model of an entry.
        name: Field of the answer with the entries.
        query: Query parameters.
        cursor: Parameter that takes `next` of an answer if it is no link.
    """

    def read(response: httpx.Response) -> Page[Model]:
        document = read_json(response)
        entries = [load().model_validate(entry) for entry in document[name]]
        following = document.get("next")
        if following is None:
            return Page(entries)
        text = str(following)
        next_query: Mapping[str, Any] = (
            parse_qs(urlsplit(text).query) if "?" in text else {**query, cursor: text}
        )
        return Page(entries, list_call(path, load, name, next_query, cursor=cursor))

    return Call(method="GET", path=path, read=read, query=query, is_repeatable=True)
