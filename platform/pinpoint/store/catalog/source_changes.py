"""Changes of a source after its creation."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import update

from pinpoint.records import Source
from pinpoint.records.protected_areas import ImageAccess
from pinpoint.store.catalog.catalog_reader import Reader
from pinpoint.store.db.tables import sources


class SourceChanges(Reader):
    """Part of `ports.CatalogWriter`."""

    def set_image_access(self, source_id: UUID, image_access: ImageAccess) -> Source:
        """Set what API keys may see of the images of a source."""
        self.source(source_id)
        self._connection.execute(
            update(sources)
            .where(self._in_organization(sources), sources.c.id == source_id)
            .values(image_access=image_access)
        )
        return self.source(source_id)
