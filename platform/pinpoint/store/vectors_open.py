"""The index of this installation: on a Qdrant server, or behind the embedded owner's socket."""

from __future__ import annotations

from pathlib import Path

from pinpoint.ports import VectorIndex
from pinpoint.settings import Places
from pinpoint.store.installation import Installation
from pinpoint.store.vectors_remote import RemoteIndex


def open_index(places: Places, socket: Path, installation: Installation) -> VectorIndex:
    """The index; opens no connection yet.

    Args:
        places: Says whether there is a Qdrant server, and under which alias to look there.
        socket: Of the embedded index's owner.
        installation: Whose index it must be.
    """
    if places.qdrant_url:
        # Here, because the client takes a second to import, and the embedded index needs none.
        from pinpoint.store.vectors_qdrant import QdrantIndex

        return QdrantIndex(
            url=places.qdrant_url,
            api_key=places.qdrant_api_key,
            alias=places.qdrant_alias,
            installation=installation.id,
        )
    return RemoteIndex(socket, installation=installation.id)
