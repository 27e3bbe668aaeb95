"""Opens the index of this installation: a Qdrant server or the socket of the embedded owner."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from pinpoint.circuit_breaker import CircuitBreaker
from pinpoint.ports import VectorIndex
from pinpoint.settings import ServiceSettings
from pinpoint.store.db.installation import Installation
from pinpoint.store.vectors.rpc.client import RemoteIndex, is_index_failure, refuse_index

_TIMEOUT_S: Final = 30.0


def open_index(
    settings: ServiceSettings,
    socket: Path,
    installation: Installation,
    *,
    budget_s: float | None = None,
) -> VectorIndex:
    """The index; no connection is opened yet.

    Args:
        settings: URL of the Qdrant server, if any, and the alias.
        socket: Socket of the owner of the embedded index.
        installation: Installation that the index must belong to.
        budget_s: Time budget of one API request. It limits each call, and enables a circuit
            breaker: calls fail at once while the index does not answer.
    """
    if settings.qdrant_url:
        # Imported here: the client takes a second to import, and the embedded index does not need
        # it.
        from pinpoint.store.vectors.qdrant import QdrantIndex, Replication
        from pinpoint.store.vectors.qdrant_alias import is_server_failure

        return QdrantIndex(
            url=settings.qdrant_url,
            api_key=settings.qdrant_api_key,
            alias=settings.qdrant_alias,
            timeout_s=math.ceil(_TIMEOUT_S if budget_s is None else budget_s),
            installation=installation.id,
            breaker=None if budget_s is None else CircuitBreaker(refuse_index, is_server_failure),
            replication=Replication(
                shards=settings.qdrant_shards,
                replicas=settings.qdrant_replicas,
                write_replicas=settings.qdrant_write_replicas,
            ),
        )
    return RemoteIndex(
        socket,
        timeout_s=_TIMEOUT_S,
        installation=installation.id,
        breaker=None if budget_s is None else CircuitBreaker(refuse_index, is_index_failure),
    )
