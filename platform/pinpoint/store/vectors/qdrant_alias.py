"""Client of a Qdrant server, and the alias that names the live collection.

One collection per contract and build, named `<alias>.<contract>.<build>`.
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
from pinpoint.errors import BadRequestError, ConfigurationError, IndexUnavailableError
from pinpoint.store.vectors.payload import check_installation
from pinpoint.store.vectors.qdrant_failover import FailoverTransport

INSTALLATION: Final = "installation"
"""Key in a collection's metadata: id of the installation that it belongs to."""
_REJECTED_STATUSES: Final = frozenset({400, 413, 422})
"""Status codes with which the server rejects the content of a request."""

T = TypeVar("T")


class QdrantAlias:
    """Alias of one installation on a server.

    Args:
        url: `http(s)://…` of the server, or of several nodes separated by commas, or `:memory:`.
        api_key: The server's key.
        name: Name of the alias.
        timeout_s: Maximum wait for one request, in seconds.
        installation: Returns the id of the installation that the collections must belong to; None
            disables the check.
        client: A client shared with other aliases; None creates one.
        breaker: Circuit breaker; None sends every request.
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
        self._dims_by_name: dict[str, dict[str, int]] = {}
        self._installation = installation
        self._owners: dict[str, str | None] = {}
        # The in-memory engine is plain numpy without locks.
        self._lock: Any = threading.RLock() if self.local else contextlib.nullcontext()
        self._client = client or (
            QdrantClient(location=url) if self.local else _connect(url, api_key, timeout_s)
        )
        self._live: str | None = None

    @contextlib.contextmanager
    def open_client(self) -> Iterator[QdrantClient]:
        """The client; its errors are translated to `PinpointError`."""
        with self._attempt():
            try:
                with self._lock:
                    yield self._client
            except ResponseHandlingException as error:
                # The cause contains addresses and system messages: they remain in the exception
                # chain.
                raise IndexUnavailableError("the Qdrant server does not answer") from error
            except UnexpectedResponse as error:
                if error.status_code in (401, 403):
                    message = "Qdrant rejects the API key; set PINPOINT_QDRANT_API_KEY"
                    raise ConfigurationError(message) from error
                if error.status_code in _REJECTED_STATUSES:
                    raise BadRequestError(
                        "Qdrant rejected the content of a request; the log contains the reason",
                        reason="index_refused",
                    ) from error
                raise IndexUnavailableError(
                    f"the Qdrant server rejected a request with status {error.status_code}"
                ) from error

    def collection(self) -> str | None:
        """Name of the live collection; None if it does not exist yet."""
        with self.open_client() as client:
            aliases = client.get_aliases().aliases
        names = [alias.collection_name for alias in aliases if alias.alias_name == self.name]
        self._live = names[0] if names else None
        return self._live

    def live_collection(self) -> str:
        """Name of the live collection.

        Raises:
            IndexUnavailableError: No collection exists yet.
        """
        name = self.collection()
        if name is None:
            raise IndexUnavailableError(
                "there is no index yet; it is created when the bundle is known"
            )
        return name

    def with_live_collection(self, action: Callable[[str], T]) -> T:
        """Run an action in the live collection, which stays the same during the action.

        The alias is read once, and again only after a failure: a rebuild removes the collection
        that it replaces. The action is repeated if the alias was switched in the meantime.
        """
        while True:
            name = self._live or self.live_collection()
            try:
                self.check_owner(name)
                return action(name)
            except ConfigurationError:
                # An operator may let this installation take over; then the alias has changed.
                self._live = None
                raise
            except (
                IndexUnavailableError,
                ValueError,
            ):  # ValueError: raised by the in-memory engine
                if self.collection() in (None, name):
                    raise

    def check_owner(self, name: str) -> None:
        """Reject a collection of another installation.

        Raises:
            ConfigurationError: The collection belongs to another installation, or names none.
        """
        if self._installation is not None:
            check_installation(self.owner_of(name), self._installation())

    def owner_of(self, name: str) -> str | None:
        """Id of the installation that a collection belongs to; it never changes."""
        if name not in self._owners:
            with self.open_client() as client:
                metadata = client.get_collection(name).config.metadata or {}
            installation = metadata.get(INSTALLATION)
            self._owners[name] = None if installation is None else str(installation)
        return self._owners[name]

    def dims(self, name: str) -> Mapping[str, int]:
        """Width of each named vector of a collection; the widths never change."""
        if name not in self._dims_by_name:
            with self.open_client() as client:
                vectors = client.get_collection(name).config.params.vectors
            named = vectors if isinstance(vectors, dict) else {}
            self._dims_by_name[name] = {channel: params.size for channel, params in named.items()}
        return self._dims_by_name[name]

    def switch(self, name: str) -> None:
        """Make a collection live in one request, so that the alias always exists."""
        create = m.CreateAlias(collection_name=name, alias_name=self.name)
        steps: list[Any] = [m.CreateAliasOperation(create_alias=create)]
        if self.collection() is not None:
            delete = m.DeleteAlias(alias_name=self.name)
            steps.insert(0, m.DeleteAliasOperation(delete_alias=delete))
        with self.open_client() as client:
            client.update_collection_aliases(steps)
        self._live = name

    def remove(self, name: str) -> None:
        """Delete a collection."""
        self._dims_by_name.pop(name, None)
        self._owners.pop(name, None)
        if self._live == name:
            self._live = None
        with self.open_client() as client:
            client.delete_collection(name)

    def close(self) -> None:
        """Close the client."""
        self._client.close()


def _connect(urls: str, api_key: str | None, timeout_s: int) -> QdrantClient:
    """Open a client; it sends no request yet, so that a start does not wait for the server."""
    first, *others = nodes = [url.strip() for url in urls.split(",")]
    options: dict[str, Any] = {"transport": FailoverTransport(nodes)} if others else {}
    return QdrantClient(
        url=first, api_key=api_key, timeout=timeout_s, check_compatibility=False, **options
    )


def is_server_failure(error: BaseException) -> bool:
    """Whether an error means that the server did not answer, or failed internally."""
    cause = error.__cause__
    if isinstance(cause, UnexpectedResponse):
        return (cause.status_code or 500) >= 500
    return isinstance(error, IndexUnavailableError) and isinstance(cause, ResponseHandlingException)


def contract_of_collection(name: str) -> str:
    """Contract in the name of a collection."""
    return name.rsplit(".", 2)[1]
