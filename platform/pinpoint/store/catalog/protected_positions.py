"""Part of the catalog reader: positions in protected areas, and images that are hidden."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import shapely
from sqlalchemy import Connection, select, text

from pinpoint.geo.points import lat_lon
from pinpoint.records import Point
from pinpoint.records.protected_areas import AreaHit
from pinpoint.store.db.protected_areas import to_polygon
from pinpoint.store.db.rows import is_any_of
from pinpoint.store.db.views import visible_images

_FIND_AREAS = text("SELECT * FROM tenant.find_protected_areas(:lats, :lons)")


class ProtectedPositionReader:
    """Part of `ports.CatalogReader`."""

    _connection: Connection
    _organization_id: UUID

    def has_protected_areas(self) -> bool:
        """Whether any area applies to the organization."""
        return bool(
            self._connection.execute(text("SELECT tenant.has_protected_areas()")).scalar_one()
        )

    def protected_areas_at(self, points: Sequence[Point]) -> list[AreaHit | None]:
        """For each point, the coarsest area that contains it, edges included; None outside."""
        if not points:
            return []
        positions = lat_lon(points)
        rows = self._connection.execute(
            _FIND_AREAS, {"lats": positions[:, 0].tolist(), "lons": positions[:, 1].tolist()}
        )
        hits: list[AreaHit | None] = [None] * len(points)
        for row in rows:
            # Coarsest first.
            if hits[row.number - 1] is None:
                hits[row.number - 1] = AreaHit(
                    granularity=row.granularity,
                    min_radius_m=row.min_radius_m,
                    polygon=to_polygon(shapely.from_wkb(bytes(row.polygon))),
                )
        return hits

    def hidden_images(self, ids: Sequence[UUID]) -> set[UUID]:
        """Which of these images the caller may not see, or do not exist."""
        if not ids:
            return set()
        statement = select(visible_images.c.id).where(
            visible_images.c.organization_id == self._organization_id,
            is_any_of(visible_images.c.id, ids),
        )
        return set(ids) - set(self._connection.execute(statement).scalars())
