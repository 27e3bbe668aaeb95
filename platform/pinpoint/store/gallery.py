"""`ports.Gallery`: rows of a source and the places of their pictures, read as the owner."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, func, or_, select

from pinpoint.errors import NotFound
from pinpoint.ports import BlobStore
from pinpoint.records import Point, TrainingRow, TrainingSource
from pinpoint.store.database import Transactions, UnitOfWork
from pinpoint.store.tables import images, organizations, sources

_WORDS: Final = ("external_id", "face", "panorama_id", "kind", "creator", "sequence")
_FILE: Final = ("sha256", "size_bytes", "locator", "state")
_ROWS: Final[Select[Any]] = (
    select(
        *(images.c[name] for name in (*_WORDS, *_FILE)),
        func.ST_Y(images.c.geom).label("lat"),
        func.ST_X(images.c.geom).label("lon"),
    )
    .where(images.c.state != "deleted")
    # By bytes, so that the order is that of every machine.
    .order_by(images.c.external_id.collate("C"), images.c.face.collate("C"))
)


class Gallery:
    """The catalogue as training sees it.

    Args:
        transactions: Units of work on the owner's engine.
        blobs: Knows where kept bytes lie.
    """

    def __init__(self, transactions: Transactions, blobs: BlobStore) -> None:
        self._transactions, self._blobs = transactions, blobs

    def read(self, source: str, organization: str) -> TrainingSource:
        """One source's rows, by external id and face.

        Raises:
            NotFound: There is no such organisation, or no such source in it.
        """
        with self._transactions.begin(read_only=True) as unit:
            owner = _named(unit, organizations, organization, organizations.c.revoked_at.is_(None))
            if owner is None:
                raise NotFound(f"no organisation {organization!r}")
            mine = (sources.c.organization_id == owner.id) & sources.c.erased_at.is_(None)
            found = _named(unit, sources, source, mine)
            if found is None:
                others = unit.connection.execute(
                    select(sources.c.name).where(mine).order_by(sources.c.name)
                ).scalars()
                raise NotFound(
                    f"no source {source!r} in organisation {owner.name}; "
                    f"there are: {', '.join(others) or 'none'}"
                )
            wanted = _ROWS.where(
                images.c.organization_id == owner.id, images.c.source_id == found.id
            )
            rows = unit.connection.execute(wanted).all()
        whole = found.originals != "rendition"
        return TrainingSource(
            organization=owner.name,
            name=found.name,
            rows=tuple(self._row(row, found.id, whole) for row in rows),
        )

    def _row(self, row: Row[Any], source_id: UUID, whole: bool) -> TrainingRow:
        panorama = row.panorama_id and row.panorama_id.removeprefix(f"{source_id}/")
        return TrainingRow(
            external_id=row.external_id,
            face=row.face,
            panorama_id=panorama,
            kind=row.kind,
            point=Point(lat=row.lat, lon=row.lon),
            creator=row.creator,
            sequence=row.sequence,
            sha256=row.sha256.hex() if whole else None,
            size_bytes=row.size_bytes,
            path=self._path(row.locator),
            state=row.state,
        )

    def _path(self, locator: str | None) -> str | None:
        try:
            return self._blobs.path(locator) if locator else None
        except NotFound:
            return None


def _named(
    unit: UnitOfWork, table: Any, name_or_id: str, where: ColumnElement[bool]
) -> Row[Any] | None:
    """The row of that id, else that of the name."""
    try:
        wanted = or_(table.c.id == UUID(name_or_id), table.c.name == name_or_id)
    except ValueError:
        wanted = table.c.name == name_or_id
    found = unit.connection.execute(select(table).where(where, wanted)).all()
    return min(found, key=lambda row: row.name == name_or_id, default=None)
