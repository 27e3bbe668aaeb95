"""GPS vectors: the encoded position of an image, channel `gps` of a bundle with a location tower.

The vector depends only on the row's position, and a position changes without its file: by a
correction or by new metadata. Every change sends the row through the index stage, so the vector is
computed there, under the row's lock: no indexed row has the vector of an earlier position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, delete
from sqlalchemy.dialects.postgresql import insert

from pinpoint.geo.points import lat_lon
from pinpoint.ports import EncodePositions
from pinpoint.records import GPS_CHANNEL, IndexPoint
from pinpoint.store.db.rows import is_any_of, pack_vector, unpack_vector
from pinpoint.store.db.tables import embeddings


def delete_other_contracts(
    connection: Connection, points: Sequence[IndexPoint], contract: str
) -> None:
    """Delete the GPS vectors that other bundles computed for these rows.

    Other bundles are not loaded when a row has moved, so their vectors of it must be deleted. They
    are computed again when such a bundle is used again.
    """
    if points:
        connection.execute(
            delete(embeddings).where(
                is_any_of(embeddings.c.image_id, [point.id for point in points]),
                embeddings.c.channel == GPS_CHANNEL,
                embeddings.c.contract != contract,
            )
        )


def add_gps_vectors(
    connection: Connection,
    points: Sequence[IndexPoint],
    contract: str,
    encode_positions: EncodePositions | None,
) -> list[IndexPoint]:
    """Add GPS vectors to the points and store them; the rows must be locked.

    Args:
        connection: Connection that holds the locks.
        points: Points of the current rows.
        contract: Digest of the current bundle.
        encode_positions: Its location tower; None if it has none.
    """
    if not points or encode_positions is None:
        return list(points)
    packed = [
        pack_vector(vector)
        for vector in encode_positions(lat_lon([point.point for point in points]))
    ]
    statement = insert(embeddings)
    connection.execute(
        statement.on_conflict_do_update(
            constraint="pk_embeddings", set_={"vector": statement.excluded.vector}
        ),
        [
            {
                "image_id": point.id,
                "contract": contract,
                "channel": GPS_CHANNEL,
                "organization_id": point.organization_id,
                "vector": vector,
            }
            for point, vector in zip(points, packed, strict=True)
        ],
    )
    return [
        replace(point, vectors={**point.vectors, GPS_CHANNEL: unpack_vector(vector)})
        for point, vector in zip(points, packed, strict=True)
    ]
