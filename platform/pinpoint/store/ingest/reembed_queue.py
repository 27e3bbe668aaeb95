"""Live images without vectors of a contract (`ports.ReembedQueue`).

Each call is one transaction.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, Select, delete, exists, func, select, text, tuple_

from pinpoint.errors import DatabaseUnavailableError
from pinpoint.records import MetadataOverride, Point, StoredFile, StoredImage
from pinpoint.store.db.database import Transactions
from pinpoint.store.db.rows import is_any_of
from pinpoint.store.db.tables import batch_items, embeddings, images, item_images, sources

_MAX_TRANSACTION_S: Final = 180.0
"""Longer than the timeouts of the sessions allow a transaction to run."""
_POLL_INTERVAL_S: Final = 0.05
_DELETE_BATCH: Final = 10_000
_LIVE = images.c.state.in_(("pending", "indexed"))
_IN_PROGRESS = exists().where(
    item_images.c.image_id == images.c.id,
    item_images.c.processed.is_(False),
    batch_items.c.id == item_images.c.item_id,
    batch_items.c.status.in_(("received", "stored")),
)


class CatalogReembedQueue:
    """Work list of a re-embedding, read from PostgreSQL at each call.

    Args:
        transactions: Units of work on the owner's engine.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def count_live(self) -> int:
        """Number of live images."""
        with self._transactions.begin() as unit:
            counted = select(func.count()).select_from(images).where(_LIVE)
            return int(unit.connection.execute(counted).scalar_one())

    def list_missing(
        self, contract: str, channels: Collection[str], *, include_in_progress: bool = True
    ) -> list[UUID]:
        """Live images that lack a vector in any of these channels, sorted by file."""
        complete = (
            select(embeddings.c.image_id)
            .where(embeddings.c.contract == contract, embeddings.c.channel.in_(channels))
            .group_by(embeddings.c.image_id)
            .having(func.count() == len(channels))
            .subquery()
        )
        statement = (
            select(images.c.id)
            .outerjoin(complete, complete.c.image_id == images.c.id)
            .where(_LIVE, complete.c.image_id.is_(None))
            .order_by(images.c.uri, images.c.id)
        )
        if not include_in_progress:
            statement = statement.where(~_IN_PROGRESS)
        with self._transactions.begin() as unit:
            return list(unit.connection.execute(statement).scalars())

    def delete_vectors(self, contract: str) -> int:
        """Delete all vectors of a contract; returns their number."""
        key = (embeddings.c.image_id, embeddings.c.contract, embeddings.c.channel)
        batch = select(*key).where(embeddings.c.contract == contract).limit(_DELETE_BATCH)
        total = 0
        while True:
            with self._transactions.begin() as unit:
                deleted = unit.connection.execute(delete(embeddings).where(tuple_(*key).in_(batch)))
            total += deleted.rowcount
            if deleted.rowcount < _DELETE_BATCH:
                return total

    def wait_for_open_transactions(self) -> None:
        """Wait until all transactions that are writing now have ended.

        Raises:
            DatabaseUnavailableError: A transaction does not end within 180 s.
        """
        horizon, give_up_at = self._read_snapshot_end("xmax"), time.monotonic() + _MAX_TRANSACTION_S
        while self._read_snapshot_end("xmin") < horizon:
            if time.monotonic() > give_up_at:
                raise DatabaseUnavailableError(
                    f"an older transaction did not end within {_MAX_TRANSACTION_S:g} s; "
                    "look for it in pg_stat_activity, then run the command again"
                )
            time.sleep(_POLL_INTERVAL_S)

    def _read_snapshot_end(self, end: str) -> int:
        statement = text(f"SELECT pg_snapshot_{end}(pg_current_snapshot())::text::bigint")
        with self._transactions.begin() as unit:
            return int(unit.connection.execute(statement).scalar_one())

    def files(self, ids: Sequence[UUID]) -> list[StoredFile]:
        """Stored files of these images; deleted images are omitted."""
        statement: Select[Any] = (
            select(
                images.c.id,
                images.c.source_kind,
                images.c.cubemap_face,
                images.c.external_id,
                images.c.uri,
                images.c.sha256,
                images.c.captured_at,
                func.ST_Y(images.c.geom).label("lat"),
                func.ST_X(images.c.geom).label("lon"),
                sources.c.originals,
            )
            .join(sources, sources.c.id == images.c.source_id)
            .where(_LIVE, is_any_of(images.c.id, ids))
            .order_by(images.c.uri, images.c.source_id, images.c.external_id, images.c.id)
        )
        with self._transactions.begin() as unit:
            rows = unit.connection.execute(statement).all()
        # Two sources may reference the same file, each with its own external id.
        return [
            _to_stored_file(list(group))
            for _, group in groupby(rows, key=lambda row: (row.uri, row.external_id))
        ]


def _to_stored_file(rows: Sequence[Row[Any]]) -> StoredFile:
    first = rows[0]
    return StoredFile(
        file=first.external_id,
        uri=first.uri or "",
        metadata_override=MetadataOverride(
            lat=first.lat, lon=first.lon, captured_at=first.captured_at
        ),
        whole=first.originals != "rendition",
        images=tuple(
            StoredImage(
                id=row.id,
                source_kind=row.source_kind,
                cubemap_face=row.cubemap_face,
                point=Point(lat=row.lat, lon=row.lon),
                sha256=row.sha256.hex(),
            )
            for row in rows
        ),
    )
