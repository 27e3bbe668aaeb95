"""Where an image stands, as a vector: channel `gps` of a bundle with a location tower.

It follows from the row's position alone, and a position changes without its picture: by a fix, by
new metadata. Every change sends the row through the index stage, so the vector is made there, under
the row's lock: no row that is indexed has the vector of a place where it stood before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, delete
from sqlalchemy.dialects.postgresql import insert

from pinpoint.geo.points import lat_lon
from pinpoint.ports import EncodePlaces
from pinpoint.records import GPS_CHANNEL, IndexPoint
from pinpoint.store.rows import among, pack, unpack
from pinpoint.store.tables import embeddings


def forget_others(connection: Connection, points: Sequence[IndexPoint], contract: str) -> None:
    """Drop what other bundles made of these places.

    They are not at hand where a row has moved, so what they said of it must not stay. Going back to
    one of them makes it anew.
    """
    if points:
        connection.execute(
            delete(embeddings).where(
                among(embeddings.c.image_id, [point.id for point in points]),
                embeddings.c.channel == GPS_CHANNEL,
                embeddings.c.contract != contract,
            )
        )


def placed(
    connection: Connection,
    points: Sequence[IndexPoint],
    contract: str,
    encode_places: EncodePlaces | None,
) -> list[IndexPoint]:
    """The points with the vectors of their positions, which are stored; their rows are locked.

    Args:
        connection: Holds the locks.
        points: As the rows say now.
        contract: Digest of the bundle in use.
        encode_places: Its location tower; None where it has none.
    """
    if not points or encode_places is None:
        return list(points)
    packed = [pack(vector) for vector in encode_places(lat_lon([each.point for each in points]))]
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
        replace(point, vectors={**point.vectors, GPS_CHANNEL: unpack(vector)})
        for point, vector in zip(points, packed, strict=True)
    ]
