"""Protected areas: written by admins and the operator, applied to gallery rows in short batches.

An area of an organization applies to its images and answers, an area without one to those of all
organizations. Answers follow a change at once. Rows follow in batches (`apply`): a worker continues
what a request does not finish.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import shapely
from sqlalchemy import Row, Select, func, insert, or_, select, text, update
from sqlalchemy.exc import IntegrityError

from pinpoint import tasks
from pinpoint.errors import ConflictError, NotFoundError
from pinpoint.records import AuditEntry, Caller, Point, Polygon
from pinpoint.records.audit import AuditOperation
from pinpoint.records.protected_areas import NewProtectedArea, ProtectedArea
from pinpoint.store.catalog.audit_log import insert_entries
from pinpoint.store.db.database import Transactions, UnitOfWork
from pinpoint.store.db.protected_area_tables import protected_areas
from pinpoint.store.gallery.image_conditions import to_multipolygon

_IMAGES_PER_BATCH = 5_000
"""Images that one transaction of `apply` changes; about a second."""


class ProtectedAreaStore:
    """Protected areas of one organization, and for the operator those of the installation.

    Args:
        transactions: Units of work of the API or of the owner.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def list_areas(
        self, organization_id: UUID, *, limit: int, after: UUID | None = None
    ) -> list[ProtectedArea]:
        """Areas by id, after the area `after`."""
        statement = _select_areas(organization_id).order_by(protected_areas.c.id).limit(limit)
        if after is not None:
            statement = statement.where(protected_areas.c.id > after)
        with self._transactions.begin(organization_id, read_only=True) as unit:
            return [_to_area(row) for row in unit.connection.execute(statement)]

    def area(self, organization_id: UUID, area_id: UUID) -> ProtectedArea:
        """One area.

        Raises:
            NotFoundError: The organization has no such area.
        """
        with self._transactions.begin(organization_id, read_only=True) as unit:
            return _read_area(unit, organization_id, area_id)

    def create(
        self, caller: Caller, area: NewProtectedArea, *, whole_installation: bool = False
    ) -> ProtectedArea:
        """Create an area, and log it.

        Args:
            caller: Its organization owns the area.
            area: Values of the area.
            whole_installation: Whether it applies to all organizations; only for the operator.

        Raises:
            ConflictError: The name is taken.
        """
        area_id = uuid4()
        values = {
            **_to_values(area),
            "id": area_id,
            "organization_id": None if whole_installation else caller.organization_id,
        }
        with self._transactions.begin(caller.organization_id) as unit:
            _write_named_area(unit, insert(protected_areas).values(values), area.name)
            _log_change(unit, caller, "create_protected_area", area_id)
            return _read_area(unit, caller.organization_id, area_id)

    def replace(self, caller: Caller, area_id: UUID, area: NewProtectedArea) -> ProtectedArea:
        """Replace all values of an area, and log it.

        Raises:
            NotFoundError: The organization has no such area.
            ConflictError: The name is taken.
        """
        with self._transactions.begin(caller.organization_id) as unit:
            _read_area(unit, caller.organization_id, area_id)
            statement = update(protected_areas).where(protected_areas.c.id == area_id)
            _write_named_area(unit, statement.values(_to_values(area)), area.name)
            _log_change(unit, caller, "replace_protected_area", area_id)
            return _read_area(unit, caller.organization_id, area_id)

    def delete(self, caller: Caller, area_id: UUID) -> None:
        """Delete an area, and log it.

        Raises:
            NotFoundError: The organization has no such area.
        """
        with self._transactions.begin(caller.organization_id) as unit:
            _read_area(unit, caller.organization_id, area_id)
            unit.connection.execute(
                update(protected_areas)
                .where(protected_areas.c.id == area_id)
                .values(deleted_at=func.now())
            )
            _log_change(unit, caller, "delete_protected_area", area_id)

    def apply(self, max_s: float) -> bool:
        """Apply changed areas to gallery rows, for about `max_s` seconds; True if all are applied.

        If time runs out, a task is sent that continues.
        """
        ends_at = time.monotonic() + max_s
        while True:
            with self._transactions.begin() as unit:
                has_more = unit.connection.execute(
                    text("SELECT tenant.apply_protected_areas(:max_images)"),
                    {"max_images": _IMAGES_PER_BATCH},
                ).scalar_one()
                if has_more and time.monotonic() >= ends_at:
                    unit.after_commit(tasks.PROTECT, [])
                    return False
            if not has_more:
                return True


def _select_areas(organization_id: UUID) -> Select[Any]:
    columns = protected_areas.c
    return select(
        columns.id,
        columns.organization_id,
        columns.name,
        columns.granularity,
        columns.min_radius_m,
        columns.purpose,
        columns.created_at,
        columns.updated_at,
        columns.pending_geom.is_(None).label("applied"),
        func.ST_AsBinary(columns.geom).label("geometry"),
    ).where(
        columns.deleted_at.is_(None),
        # The view shows areas of the installation to the operator only; the owner sees all rows.
        or_(columns.organization_id == organization_id, columns.organization_id.is_(None)),
    )


def _read_area(unit: UnitOfWork, organization_id: UUID, area_id: UUID) -> ProtectedArea:
    row = unit.connection.execute(
        _select_areas(organization_id).where(protected_areas.c.id == area_id)
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"no protected area {area_id}")
    return _to_area(row)


def _write_named_area(unit: UnitOfWork, statement: Any, name: str) -> None:
    try:
        with unit.connection.begin_nested():
            unit.connection.execute(statement)
    except IntegrityError as error:
        raise ConflictError(f"a protected area named {name!r} exists already") from error


def _log_change(unit: UnitOfWork, caller: Caller, operation: AuditOperation, area_id: UUID) -> None:
    entry = AuditEntry(operation=operation, key_id=caller.key_id, target_id=area_id)
    insert_entries(unit.connection, caller.organization_id, [entry])


def _to_values(area: NewProtectedArea) -> dict[str, Any]:
    shape = to_multipolygon(area.polygons)
    return {
        "name": area.name,
        "granularity": area.granularity,
        "min_radius_m": area.min_radius_m,
        "purpose": area.purpose,
        "geom": func.ST_GeomFromWKB(shape.wkb, 4326),
    }


def _to_area(row: Row[Any]) -> ProtectedArea:
    values = dict(row._mapping)
    shape = shapely.from_wkb(bytes(values.pop("geometry")))
    return ProtectedArea(polygons=tuple(map(to_polygon, shape.geoms)), **values)


def to_polygon(shape: Any) -> Polygon:
    """Convert a planar polygon, longitude first, in degrees."""

    def to_ring(line: Any) -> Sequence[Point]:
        return tuple(Point(lat, lon) for lon, lat, *_ in line.coords)

    return Polygon(
        exterior=tuple(to_ring(shape.exterior)),
        holes=tuple(tuple(to_ring(line)) for line in shape.interiors),
    )
