"""Training rows of a source with the paths of their files (`ports.TrainingDataReader`).

The rows are read as the owner of the database.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, func, or_, select

from pinpoint.errors import NotFoundError
from pinpoint.ports import BlobStore
from pinpoint.records import Point, TrainingRow, TrainingSource
from pinpoint.store.db.access_tables import organizations
from pinpoint.store.db.database import Transactions, UnitOfWork
from pinpoint.store.db.tables import images, sources

_NAME_COLUMNS: Final = (
    "external_id",
    "cubemap_face",
    "panorama_id",
    "source_kind",
    "creator",
    "sequence",
)
_FILE_COLUMNS: Final = ("sha256", "size_bytes", "uri", "state")
_SELECT_ROWS: Final[Select[Any]] = (
    select(
        *(images.c[name] for name in (*_NAME_COLUMNS, *_FILE_COLUMNS)),
        func.ST_Y(images.c.geom).label("lat"),
        func.ST_X(images.c.geom).label("lon"),
    )
    .where(images.c.state != "deleted")
    # Ordered by bytes, so that the order is the same on every machine.
    .order_by(images.c.external_id.collate("C"), images.c.cubemap_face.collate("C"))
)


class CatalogTrainingRows:
    """Catalog access of training.

    Args:
        transactions: Units of work on the owner's engine.
        blobs: Blob store with the stored files.
    """

    def __init__(self, transactions: Transactions, blobs: BlobStore) -> None:
        self._transactions, self._blobs = transactions, blobs

    def read(self, source: str, organization: str) -> TrainingSource:
        """Read one source's rows, by external id and face.

        Raises:
            NotFoundError: No such organization exists, or it has no such source.
        """
        with self._transactions.begin(read_only=True) as unit:
            owner = _find_by_name_or_id(
                unit, organizations, organization, organizations.c.disabled_at.is_(None)
            )
            if owner is None:
                raise NotFoundError(f"no organization {organization!r}")
            is_own = (sources.c.organization_id == owner.id) & sources.c.erased_at.is_(None)
            source_row = _find_by_name_or_id(unit, sources, source, is_own)
            if source_row is None:
                others = unit.connection.execute(
                    select(sources.c.name).where(is_own).order_by(sources.c.name)
                ).scalars()
                raise NotFoundError(
                    f"no source {source!r} in organization {owner.name}; "
                    f"there are: {', '.join(others) or 'none'}"
                )
            statement = _SELECT_ROWS.where(
                images.c.organization_id == owner.id, images.c.source_id == source_row.id
            )
            rows = unit.connection.execute(statement).all()
        has_originals = source_row.originals != "rendition"
        return TrainingSource(
            organization=owner.name,
            name=source_row.name,
            rows=tuple(self._to_training_row(row, source_row.id, has_originals) for row in rows),
        )

    def _to_training_row(self, row: Row[Any], source_id: UUID, has_original: bool) -> TrainingRow:
        panorama = row.panorama_id and row.panorama_id.removeprefix(f"{source_id}/")
        return TrainingRow(
            external_id=row.external_id,
            cubemap_face=row.cubemap_face,
            panorama_id=panorama,
            source_kind=row.source_kind,
            point=Point(lat=row.lat, lon=row.lon),
            creator=row.creator,
            sequence=row.sequence,
            sha256=row.sha256.hex() if has_original else None,
            size_bytes=row.size_bytes,
            path=self._find_path(row.uri),
            state=row.state,
        )

    def _find_path(self, uri: str | None) -> str | None:
        try:
            return self._blobs.path(uri) if uri else None
        except NotFoundError:
            return None


def _find_by_name_or_id(
    unit: UnitOfWork, table: Any, name_or_id: str, condition: ColumnElement[bool]
) -> Row[Any] | None:
    """Find a row by id, else by name."""
    try:
        name_or_id_matches = or_(table.c.id == UUID(name_or_id), table.c.name == name_or_id)
    except ValueError:
        name_or_id_matches = table.c.name == name_or_id
    matches = unit.connection.execute(select(table).where(condition, name_or_id_matches)).all()
    return min(matches, key=lambda row: row.name == name_or_id, default=None)
