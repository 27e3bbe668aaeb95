"""Source of index rebuilds: all live, embedded images of one contract in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, func, select, text

from pinpoint import logs
from pinpoint.iteration import batched
from pinpoint.records import Contract, IndexPoint, IndexSpec, Point
from pinpoint.store.db.database import Transactions
from pinpoint.store.db.installation import Installation
from pinpoint.store.db.rows import content_key, dedup_group, unpack_vector
from pinpoint.store.db.tables import embeddings, images, tombstones

_log = logs.get_logger(__name__)


def select_points(contract: str) -> Select[Any]:
    """Select rows with the vectors of one contract; the caller adds conditions."""
    return (
        select(
            images.c.id,
            images.c.version,
            images.c.organization_id,
            images.c.source_id,
            images.c.source_kind,
            images.c.captured_at,
            images.c.cell_r7,
            images.c.panorama_id,
            images.c.sequence,
            images.c.sha256,
            images.c.cubemap_face,
            func.ST_Y(images.c.geom).label("lat"),
            func.ST_X(images.c.geom).label("lon"),
            embeddings.c.channel,
            embeddings.c.vector,
        )
        .join(embeddings, embeddings.c.image_id == images.c.id)
        .where(embeddings.c.contract == contract)
    )


def to_points(rows: Sequence[Row[Any]]) -> list[IndexPoint]:
    """Convert rows, one per channel of an image, to points in the order of their first row."""
    points: dict[UUID, Row[Any]] = {}
    vectors: dict[UUID, dict[str, Any]] = {}
    for row in rows:
        points.setdefault(row.id, row)
        vectors.setdefault(row.id, {})[row.channel] = unpack_vector(row.vector)
    return [
        IndexPoint(
            id=row.id,
            version=row.version,
            organization_id=row.organization_id,
            source_id=row.source_id,
            kind=row.source_kind,
            point=Point(lat=row.lat, lon=row.lon),
            captured_at=row.captured_at,
            cell=row.cell_r7,
            group=dedup_group(row.id, row.panorama_id, row.sequence),
            content_key=content_key(row.sha256, row.cubemap_face),
            vectors=vectors[row.id],
        )
        for row in points.values()
    ]


def _to_valid_points(rows: Sequence[Row[Any]]) -> list[IndexPoint]:
    """Convert rows to points; an invalid row is skipped and logged."""
    try:
        return to_points(rows)
    except (ValueError, TypeError):
        points: list[IndexPoint] = []
        for image_id, group in groupby(rows, key=attrgetter("id")):
            try:
                points += to_points(list(group))
            except (ValueError, TypeError):
                _log.exception("image skipped in the build", image=str(image_id))
        return points


class RebuildSource:
    """Implements `ports.PointSource` on the owner's engine.

    Args:
        transactions: Units of work on the owner's engine.
        contract: Returns the contract of the vectors; called only at the first read.
    """

    def __init__(self, transactions: Transactions, contract: Callable[[], Contract]) -> None:
        self._transactions = transactions
        self._contract = contract
        self._installation = Installation(transactions)

    def spec(self) -> IndexSpec:
        """Contract, vector widths and installation of the index."""
        contract = self._contract()
        return IndexSpec(
            contract=contract.digest, dims=contract.dims, installation=self._installation.id()
        )

    def watermark(self) -> int:
        """Id of the oldest running transaction.

        Every change that a later `stream` from here could miss was written by this transaction or a
        later one.
        """
        with self._transactions.begin() as unit:
            oldest = unit.connection.execute(
                text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
            ).scalar_one()
        return int(oldest)

    def stream(self, since: int = 0, chunk: int = 512) -> Iterator[list[IndexPoint]]:
        """Points of rows that changed at or after `since` (0: all), in id order, with vectors."""
        contract = self._contract().digest
        for ids in self._changed_ids(since, chunk) if since else self._page_ids(chunk):
            with self._transactions.begin() as unit:
                rows = unit.connection.execute(
                    select_points(contract)
                    .where(images.c.id.in_(ids), images.c.state == "indexed")
                    .order_by(images.c.id)
                ).all()
            yield _to_valid_points(rows)

    def _page_ids(self, chunk: int) -> Iterator[Sequence[UUID]]:
        after = UUID(int=0)
        page = select(images.c.id).where(images.c.state == "indexed").limit(chunk)
        while True:
            statement = page.where(images.c.id > after).order_by(images.c.id)
            with self._transactions.begin() as unit:
                ids = unit.connection.execute(statement).scalars().all()
            if not ids:
                return
            yield ids
            after = ids[-1]

    def _changed_ids(self, since: int, chunk: int) -> Iterator[Sequence[UUID]]:
        """List all ids at once: for pages in id order PostgreSQL would scan the whole table."""
        statement = select(images.c.id).where(
            images.c.state == "indexed", images.c.modified_xid >= since
        )
        with self._transactions.begin() as unit:
            ids = sorted(unit.connection.execute(statement).scalars())
        yield from batched(ids, chunk)

    def bounds(self) -> tuple[int, int]:
        """Number of indexed images with a vector of the contract, and with pending ones added."""
        statement = (
            select(func.count().filter(images.c.state == "indexed"), func.count())
            .select_from(images)
            .where(
                images.c.state.in_(("indexed", "pending")),
                select(embeddings.c.image_id)
                .where(embeddings.c.image_id == images.c.id)
                .where(embeddings.c.contract == self._contract().digest)
                .exists(),
            )
        )
        with self._transactions.begin() as unit:
            minimum, maximum = unit.connection.execute(statement).one()
        return int(minimum), int(maximum)

    def tombstones(self, since: int = 0) -> dict[UUID, int]:
        """Deleted rows that changed at or after `since`, with their version."""
        with self._transactions.begin() as unit:
            rows = unit.connection.execute(
                select(tombstones.c.image_id, tombstones.c.version).where(
                    tombstones.c.modified_xid >= since
                )
            )
            return {row.image_id: row.version for row in rows}
