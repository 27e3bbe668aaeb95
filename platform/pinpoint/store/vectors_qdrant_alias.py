"""A client of a Qdrant server, and the alias that says which collection serves.

One collection for each contract and build, `<alias>.<contract>.<build>`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

from qdrant_client import QdrantClient
from qdrant_client import models as m
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from pinpoint.circuit_breaker import CircuitBreaker
from pinpoint.errors import BadRequest, IndexUnavailable, Misconfigured
from pinpoint.store.vectors_payload import check_installation

INSTALLATION: Final = "installation"
"""Key of a collection's metadata: id of the installation that it belongs to."""
_REFUSED: Final = frozenset({400, 413, 422})
"""Statuses by which a server says that it cannot take what it was sent."""

T = TypeVar("T")


class Alias:
    """One installation's alias on a server.

    Args:
        url: `http(s)://…` of the server, or `:memory:`.
        api_key: The server's key.
        name: Of the alias.
        timeout_s: Longest wait for one request.
        installation: Says whose the collections must be; None: nothing is checked.
        client: One that is shared with others; by default a new one.
        breaker: Leaves a server alone that does not answer; None asks it every time.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None,
        name: str,
        timeout_s: int,
        *,
        installation: Callable[[], str] | None = None,
        client: QdrantClient | None = None,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self._attempt = contextlib.nullcontext if breaker is None else breaker.attempt
        self.local = url == ":memory:"
        self.name = name
        self._known_dims: dict[str, dict[str, int]] = {}
        self._shelved: dict[str, bool] = {}
        self._installation = installation
        self._owners: dict[str, str | None] = {}
        # The in-memory engine is plain numpy without locks.
        self._lock: Any = threading.RLock() if self.local else contextlib.nullcontext()
        self._client = client or (
            QdrantClient(location=url)
            if self.local
            else QdrantClient(url=url, api_key=api_key, timeout=timeout_s)
        )

    @contextlib.contextmanager
    def asking(self) -> Iterator[QdrantClient]:
        """The client; its errors become ours."""
        with self._attempt():
            try:
                with self._lock:
                    yield self._client
            except ResponseHandlingException as error:
                # The cause names addresses and the system's words: they stay in the chain.
                raise IndexUnavailable("the Qdrant server does not answer") from error
            except UnexpectedResponse as error:
                if error.status_code in (401, 403):
                    said = "Qdrant refuses the key; set PINPOINT_QDRANT_API_KEY"
                    raise Misconfigured(said) from error
                if error.status_code in _REFUSED:
                    raise BadRequest(
                        "Qdrant cannot take what it was sent; the log says why",
                        reason="index_refused",
                    ) from error
                raise IndexUnavailable(
                    f"the Qdrant server refused a request with status {error.status_code}"
                ) from error

    def collection(self) -> str | None:
        """Name of the collection that serves, None before there is one."""
        with self.asking() as client:
            aliases = client.get_aliases().aliases
        names = [each.collection_name for each in aliases if each.alias_name == self.name]
        return names[0] if names else None

    def live(self) -> str:
        """Name of the collection that serves.

        Raises:
            IndexUnavailable: There is none yet.
        """
        name = self.collection()
        if name is None:
            raise IndexUnavailable("there is no index yet; it is made when the bundle is known")
        return name

    def in_live(self, do: Callable[[str], T]) -> T:
        """Do something in the collection that serves, by its own name: so never in two.

        It is done again where the alias was switched and that collection removed meanwhile.
        """
        while True:
            name = self.live()
            try:
                self.check_owner(name)
                return do(name)
            except (IndexUnavailable, ValueError):  # ValueError: how the in-memory engine says it
                if self.collection() in (None, name):
                    raise

    def check_owner(self, name: str) -> None:
        """Refuse a collection of another installation.

        Raises:
            Misconfigured: It belongs to another one, or names none.
        """
        if self._installation is not None:
            check_installation(self.owner_of(name), self._installation())

    def owner_of(self, name: str) -> str | None:
        """Id of the installation that a collection belongs to; it never changes."""
        if name not in self._owners:
            with self.asking() as client:
                metadata = client.get_collection(name).config.metadata or {}
            held = metadata.get(INSTALLATION)
            self._owners[name] = None if held is None else str(held)
        return self._owners[name]

    def dims(self, name: str) -> Mapping[str, int]:
        """Named vectors of a collection and their width; they never change."""
        if name not in self._known_dims:
            with self.asking() as client:
                vectors = client.get_collection(name).config.params.vectors
            named = vectors if isinstance(vectors, dict) else {}
            self._known_dims[name] = {channel: each.size for channel, each in named.items()}
        return self._known_dims[name]

    def shelves(self, name: str) -> bool:
        """Whether the points of a collection have the field `shelf`: not in earlier versions'."""
        if self.local:
            return True  # it keeps no list of fields, and nothing from before
        known = self._shelved.get(name)
        if known is None:
            with self.asking() as client:
                known = "shelf" in client.get_collection(name).payload_schema
            self._shelved[name] = known
        return known

    def switch(self, name: str) -> None:
        """Let a collection serve, in one request: there is no moment without one."""
        create = m.CreateAlias(collection_name=name, alias_name=self.name)
        steps: list[Any] = [m.CreateAliasOperation(create_alias=create)]
        if self.collection() is not None:
            gone = m.DeleteAlias(alias_name=self.name)
            steps.insert(0, m.DeleteAliasOperation(delete_alias=gone))
        with self.asking() as client:
            client.update_collection_aliases(steps)

    def remove(self, name: str) -> None:
        """Delete a collection."""
        self._known_dims.pop(name, None)
        self._shelved.pop(name, None)
        self._owners.pop(name, None)
        with self.asking() as client:
            client.delete_collection(name)

    def close(self) -> None:
        """Close the client."""
        self._client.close()


def is_server_failure(error: BaseException) -> bool:
    """Whether an error means that the server did not answer, or not as a server that works."""
    cause = error.__cause__
    if isinstance(cause, UnexpectedResponse):
        return (cause.status_code or 500) >= 500
    return isinstance(error, IndexUnavailable) and isinstance(cause, ResponseHandlingException)


def contract_of(name: str) -> str:
    """The contract in a collection's name."""
    return name.rsplit(".", 2)[1]
