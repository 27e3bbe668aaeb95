"""The index of this installation: on a Qdrant server, or behind the embedded owner's socket."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from pinpoint.circuit_breaker import CircuitBreaker
from pinpoint.ports import VectorIndex
from pinpoint.settings import Places
from pinpoint.store.installation import Installation
from pinpoint.store.vectors_remote import RemoteIndex, is_index_failure, refuse_index

_TIMEOUT_S: Final = 30.0


def open_index(
    places: Places, socket: Path, installation: Installation, *, budget_s: float | None = None
) -> VectorIndex:
    """The index; opens no connection yet.

    Args:
        places: Says whether there is a Qdrant server, and under which alias to look there.
        socket: Of the embedded index's owner.
        installation: Whose index it must be.
        budget_s: Time of one request of the API. With it, calls are as short, and fail at once
            while the index does not answer (circuit breaker).
    """
    if places.qdrant_url:
        # Here, because the client takes a second to import, and the embedded index needs none.
        from pinpoint.store.vectors_qdrant import QdrantIndex
        from pinpoint.store.vectors_qdrant_alias import is_server_failure

        return QdrantIndex(
            url=places.qdrant_url,
            api_key=places.qdrant_api_key,
            alias=places.qdrant_alias,
            timeout_s=math.ceil(_TIMEOUT_S if budget_s is None else budget_s),
            installation=installation.id,
            breaker=None if budget_s is None else CircuitBreaker(refuse_index, is_server_failure),
        )
    return RemoteIndex(
        socket,
        timeout_s=_TIMEOUT_S,
        installation=installation.id,
        breaker=None if budget_s is None else CircuitBreaker(refuse_index, is_index_failure),
    )
