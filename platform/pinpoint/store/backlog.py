"""`ports.Backlog`: live images that lack vectors of a contract, each call one transaction."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, Select, delete, exists, func, select, text, tuple_

from pinpoint.errors import DatabaseUnavailable
from pinpoint.records import Hint, Point, StoredFile, StoredImage
from pinpoint.store.database import Transactions
from pinpoint.store.rows import among
from pinpoint.store.tables import batch_items, embeddings, images, item_images, sources

_LONGEST_S: Final = 180.0
"""Above what the sessions' own timeouts leave a transaction."""
_LOOK_S: Final = 0.05
_AT_ONCE: Final = 10_000
_LIVE = images.c.state.in_(("pending", "indexed"))
_UNDER_WAY = exists().where(
    item_images.c.image_id == images.c.id,
    item_images.c.done.is_(False),
    batch_items.c.id == item_images.c.item_id,
    batch_items.c.state.in_(("received", "stored")),
)


class Backlog:
    """The work list of a re-embedding: what is missing, asked of PostgreSQL every time.

    Args:
        transactions: Units of work on the owner's engine.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def live(self) -> int:
        """How many live images there are."""
        with self._transactions.begin() as unit:
            counted = select(func.count()).select_from(images).where(_LIVE)
            return int(unit.connection.execute(counted).scalar_one())

    def missing(
        self, contract: str, channels: Collection[str], *, under_way: bool = True
    ) -> list[UUID]:
        """Live images without a vector in each of these channels; those of a file together."""
        whole = (
            select(embeddings.c.image_id)
            .where(embeddings.c.contract == contract, embeddings.c.channel.in_(channels))
            .group_by(embeddings.c.image_id)
            .having(func.count() == len(channels))
            .subquery()
        )
        wanted = (
            select(images.c.id)
            .outerjoin(whole, whole.c.image_id == images.c.id)
            .where(_LIVE, whole.c.image_id.is_(None))
            .order_by(images.c.locator, images.c.id)
        )
        if not under_way:
            wanted = wanted.where(~_UNDER_WAY)
        with self._transactions.begin() as unit:
            return list(unit.connection.execute(wanted).scalars())

    def forget(self, contract: str) -> int:
        """Delete all vectors of a contract; returns how many."""
        key = (embeddings.c.image_id, embeddings.c.contract, embeddings.c.channel)
        some = select(*key).where(embeddings.c.contract == contract).limit(_AT_ONCE)
        gone = 0
        while True:
            with self._transactions.begin() as unit:
                done = unit.connection.execute(delete(embeddings).where(tuple_(*key).in_(some)))
            gone += done.rowcount
            if done.rowcount < _AT_ONCE:
                return gone

    def outlast(self) -> None:
        """Wait until every transaction that writes now has ended.

        Raises:
            DatabaseUnavailable: One does not end for minutes.
        """
        begun, until = self._snapshot("xmax"), time.monotonic() + _LONGEST_S
        while self._snapshot("xmin") < begun:
            if time.monotonic() > until:
                raise DatabaseUnavailable(
                    f"a transaction of before does not end within {_LONGEST_S:g} s; look for it in "
                    "pg_stat_activity, then run the command again"
                )
            time.sleep(_LOOK_S)

    def _snapshot(self, end: str) -> int:
        asked = text(f"SELECT pg_snapshot_{end}(pg_current_snapshot())::text::bigint")
        with self._transactions.begin() as unit:
            return int(unit.connection.execute(asked).scalar_one())

    def files(self, ids: Sequence[UUID]) -> list[StoredFile]:
        """What is kept of these images' files; images that are gone are left out."""
        wanted: Select[Any] = (
            select(
                images.c.id,
                images.c.kind,
                images.c.face,
                images.c.external_id,
                images.c.locator,
                images.c.sha256,
                images.c.captured_at,
                func.ST_Y(images.c.geom).label("lat"),
                func.ST_X(images.c.geom).label("lon"),
                sources.c.originals,
            )
            .join(sources, sources.c.id == images.c.source_id)
            .where(_LIVE, among(images.c.id, ids))
            .order_by(images.c.locator, images.c.source_id, images.c.external_id, images.c.id)
        )
        with self._transactions.begin() as unit:
            rows = unit.connection.execute(wanted).all()
        # Two sources may keep the same file by reference, each under a name of its own.
        return [
            _file(list(group))
            for _, group in groupby(rows, key=lambda row: (row.locator, row.external_id))
        ]


def _file(rows: Sequence[Row[Any]]) -> StoredFile:
    first = rows[0]
    return StoredFile(
        file=first.external_id,
        locator=first.locator or "",
        hint=Hint(lat=first.lat, lon=first.lon, captured_at=first.captured_at),
        whole=first.originals != "rendition",
        images=tuple(
            StoredImage(
                id=row.id,
                kind=row.kind,
                face=row.face,
                point=Point(lat=row.lat, lon=row.lon),
                sha256=row.sha256.hex(),
            )
            for row in rows
        ),
    )
