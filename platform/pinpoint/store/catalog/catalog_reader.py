"""Read access to one organization's sources, batches and images."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, LargeBinary, Select, Text, cast, func, or_, select, tuple_

from pinpoint.errors import InvalidRequestError, NotFoundError
from pinpoint.records import (
    COVERAGE_RESOLUTIONS,
    FINAL_STATUSES,
    Batch,
    BatchItem,
    Candidate,
    Circle,
    Evidence,
    Image,
    ImageFilter,
    ImageLabel,
    ImagePosition,
    KeptQuery,
    Point,
    Source,
    SourceKind,
)
from pinpoint.records.audit import AuditFilter, AuditRow
from pinpoint.store.catalog import audit_log, image_listing, kept_queries, neighbors
from pinpoint.store.catalog.gallery_samples import GallerySampleReader
from pinpoint.store.catalog.protected_positions import ProtectedPositionReader
from pinpoint.store.db.database import UnitOfWork
from pinpoint.store.db.rows import is_any_of, to_batch, to_image, to_item, to_source
from pinpoint.store.db.tables import (
    batch_items,
    batches,
    cell_stats,
    images,
    item_images,
    sources,
    thumbnails,
)
from pinpoint.store.db.views import visible_images
from pinpoint.store.gallery.image_conditions import id_range
from pinpoint.store.ingest.source_roots import list_catalog_files, list_roots

_BYTES_ARRAY, _TEXT_ARRAY = ARRAY(LargeBinary), ARRAY(Text)
_ITEM_COLUMNS = [column for column in batch_items.c if column.name != "metadata_override"]


def _as_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


class Reader(GallerySampleReader, ProtectedPositionReader):
    """Implements `ports.CatalogReader` on one unit of work."""

    def __init__(self, unit: UnitOfWork) -> None:
        if unit.organization_id is None:
            raise ValueError("a catalog reader needs an organization")
        self._unit = unit
        self._connection = unit.connection
        self._organization_id = unit.organization_id

    # The views isolate tenants for the API; the owner (CLI, worker) needs the predicate as well.
    def _in_organization(self, table: Any) -> Any:
        return table.c.organization_id == self._organization_id

    def sources(self, *, limit: int | None = None, after: str | None = None) -> list[Source]:
        """Sources by name, with their number of images; `after` is the last name of a page."""
        counted = (
            select(cell_stats.c.source_id, func.sum(cell_stats.c.images).label("images"))
            .where(
                self._in_organization(cell_stats),
                cell_stats.c.resolution == COVERAGE_RESOLUTIONS[0],
            )
            .group_by(cell_stats.c.source_id)
            .subquery()
        )
        statement = (
            select(sources, func.coalesce(counted.c.images, 0).label("images"))
            .outerjoin(counted, counted.c.source_id == sources.c.id)
            .where(self._in_organization(sources), sources.c.erased_at.is_(None))
            .order_by(sources.c.name)
            .limit(limit)
        )
        if after is not None:
            statement = statement.where(sources.c.name > after)
        source_rows = self._connection.execute(statement).all()
        roots = list_roots(self._connection, [row.id for row in source_rows])
        return [to_source(row, int(row.images), roots.get(row.id, [])) for row in source_rows]

    def source(self, name_or_id: str | UUID) -> Source:
        """Find a source by name or id."""
        statement = select(sources).where(
            self._in_organization(sources), sources.c.erased_at.is_(None)
        )
        source_id = name_or_id if isinstance(name_or_id, UUID) else _as_id(name_or_id)
        row = None
        if source_id is not None:
            row = self._connection.execute(statement.where(sources.c.id == source_id)).one_or_none()
        if row is None and isinstance(name_or_id, str):
            row = self._connection.execute(
                statement.where(sources.c.name == name_or_id)
            ).one_or_none()
        if row is None:
            raise NotFoundError(
                f"no source {name_or_id}: `pinpoint sources list` shows the sources; "
                "`pinpoint sources add`, or an ingest with --source-kind, makes one"
            )
        counted = self._connection.execute(
            select(func.coalesce(func.sum(cell_stats.c.images), 0)).where(
                self._in_organization(cell_stats),
                cell_stats.c.source_id == row.id,
                cell_stats.c.resolution == COVERAGE_RESOLUTIONS[0],
            )
        ).scalar_one()
        roots = list_roots(self._connection, [row.id])
        return to_source(row, int(counted), roots.get(row.id, []))

    def source_files(self, source_id: UUID, prefix: str) -> Iterator[tuple[str, str | None]]:
        """External id and URI of each live file with an id that begins with `prefix`, by id."""
        return list_catalog_files(
            self._connection, self._in_organization(images), source_id, prefix
        )

    def batches(
        self, limit: int = 50, before: UUID | None = None, id_prefix: str | None = None
    ) -> list[Batch]:
        """Batches, newest first; `before` is the last id of the previous page."""
        statement = self._select_batches().order_by(
            batches.c.created_at.desc(), batches.c.id.desc()
        )
        if id_prefix is not None:
            statement = statement.where(batches.c.id.between(*id_range(id_prefix)))
        if before is not None:
            created_at = self._connection.execute(
                select(batches.c.created_at).where(
                    self._in_organization(batches), batches.c.id == before
                )
            ).scalar_one_or_none()
            if created_at is None:
                raise NotFoundError(f"no batch {before}")
            statement = statement.where(
                tuple_(batches.c.created_at, batches.c.id) < tuple_(created_at, before)
            )
        rows = self._connection.execute(statement.limit(limit)).all()
        counts = self._count_items([row.id for row in rows])
        return [to_batch(row, counts.get(row.id, {})) for row in rows]

    def batch(self, batch_id: UUID) -> Batch:
        """One batch with its counts."""
        row = self._connection.execute(
            self._select_batches().where(batches.c.id == batch_id)
        ).one_or_none()
        if row is None:
            raise NotFoundError(f"no batch {batch_id}")
        return to_batch(row, self._count_items([batch_id]).get(batch_id, {}))

    def _select_batches(self) -> Select[Any]:
        return (
            select(batches, sources.c.name.label("source_name"))
            .join(sources, sources.c.id == batches.c.source_id)
            .where(self._in_organization(batches))
        )

    def _count_items(self, ids: Sequence[UUID]) -> dict[UUID, dict[str, int]]:
        """Number of items by status, counted at each call: they always add up to the total."""
        counts: dict[UUID, dict[str, int]] = {}
        for row in self._connection.execute(
            select(batch_items.c.batch_id, batch_items.c.status, func.count().label("items"))
            .where(self._in_organization(batch_items), batch_items.c.batch_id.in_(ids))
            .group_by(batch_items.c.batch_id, batch_items.c.status)
        ):
            counts.setdefault(row.batch_id, {})[row.status] = row.items
        return counts

    def error_counts(self, batch_id: UUID) -> dict[str, int]:
        """Number of items without an image by error code, most frequent first."""
        counted = func.count().label("items")
        rows = self._connection.execute(
            select(batch_items.c.error_code, counted)
            .where(
                self._in_organization(batch_items),
                batch_items.c.batch_id == batch_id,
                batch_items.c.status.in_(("rejected", "failed")),
            )
            .group_by(batch_items.c.error_code)
            .order_by(counted.desc(), batch_items.c.error_code)
        )
        return {row.error_code or "unknown": row.items for row in rows}

    def batch_items(
        self, batch_id: UUID, *, status: str | None = None, after: int = 0, limit: int = 200
    ) -> list[BatchItem]:
        """Items with `position > after`, in order of arrival."""
        self.batch(batch_id)
        if status is not None and status not in (*FINAL_STATUSES, "received", "stored"):
            raise InvalidRequestError(
                f"no item status {status!r}; valid are received, stored and {FINAL_STATUSES}"
            )
        image_ids = (
            select(func.array_agg(item_images.c.image_id))
            .where(
                item_images.c.item_id == batch_items.c.id,
                # Not the ids of images that the caller may not see.
                item_images.c.image_id.in_(select(images.c.id)),
            )
            .scalar_subquery()
        )
        statement = (
            # Without the override: one unreadable override would hide all other items.
            select(*_ITEM_COLUMNS, image_ids.label("image_ids"))
            .where(self._in_organization(batch_items), batch_items.c.batch_id == batch_id)
            .where(batch_items.c.position > after)
            .order_by(batch_items.c.position)
            .limit(limit)
        )
        if status is not None:
            statement = statement.where(batch_items.c.status == status)
        return [to_item(row) for row in self._connection.execute(statement)]

    def image(self, image_id: UUID) -> Image:
        """Find one image; deleted images are not found."""
        images_by_id = self.images([image_id])
        if image_id not in images_by_id:
            raise NotFoundError(f"no image {image_id}")
        return images_by_id[image_id]

    def images(self, ids: Sequence[UUID]) -> dict[UUID, Image]:
        """Images by id; missing images are omitted."""
        statement = image_listing.select_images(self._organization_id).where(
            is_any_of(visible_images.c.id, ids)
        )
        return {row.id: to_image(row) for row in self._connection.execute(statement)}

    def list_images(
        self, image_filter: ImageFilter, *, limit: int, after: ImagePosition | None = None
    ) -> list[Image]:
        """A page of images after `after`, by file name and id."""
        statement = image_listing.select_image_page(
            self._organization_id, image_filter, limit=limit, after=after
        )
        self._connection.execute(image_listing.PLAN_SETTINGS)
        return [to_image(row) for row in self._connection.execute(statement)]

    def image_labels(self, ids: Sequence[UUID]) -> dict[UUID, ImageLabel]:
        """File name, source, license and position of images; missing images are omitted."""
        if not ids:
            return {}
        rows = self._connection.execute(
            select(
                visible_images.c.id,
                visible_images.c.file_name,
                visible_images.c.source,
                visible_images.c.license,
                visible_images.c.attribution,
                visible_images.c.lat,
                visible_images.c.lon,
            ).where(self._in_organization(visible_images), is_any_of(visible_images.c.id, ids))
        )
        return {
            row.id: ImageLabel(
                file_name=row.file_name,
                source=row.source,
                license=row.license,
                attribution=row.attribution,
                point=Point(row.lat, row.lon),
            )
            for row in rows
        }

    def kept_queries(
        self, *, limit: int, before: tuple[datetime, UUID] | None = None
    ) -> list[KeptQuery]:
        """Answers that callers asked to keep, newest first, without expired ones."""
        return kept_queries.list_kept_queries(
            self._connection, self._organization_id, limit=limit, before=before
        )

    def audit_rows(
        self,
        audit_filter: AuditFilter,
        *,
        limit: int,
        before: tuple[datetime, UUID] | None = None,
    ) -> list[AuditRow]:
        """Rows of the audit log, newest first."""
        return audit_log.list_rows(
            self._connection, self._organization_id, audit_filter, limit=limit, before=before
        )

    def copies(self, images_: Sequence[Image]) -> dict[UUID, tuple[Image, ...]]:
        """For each image, the other images of identical bytes (and face), by source name and id."""
        if not images_:
            return {}
        hashes = sorted({bytes.fromhex(image.sha256) for image in images_})
        rows = self._connection.execute(
            image_listing.select_images(self._organization_id)
            .where(visible_images.c.sha256 == func.any(cast(hashes, _BYTES_ARRAY)))
            .where(visible_images.c.state.in_(("pending", "indexed")))
            .order_by(visible_images.c.source, visible_images.c.id)
        )
        images_by_content: dict[tuple[str, str | None], list[Image]] = {}
        for row in rows:
            image = to_image(row)
            images_by_content.setdefault((image.sha256, image.cubemap_face), []).append(image)
        groups = {
            image.id: images_by_content.get((image.sha256, image.cubemap_face), [])
            for image in images_
        }
        others = {
            id_: tuple(other for other in same_content if other.id != id_)
            for id_, same_content in groups.items()
        }
        return {id_: copies for id_, copies in others.items() if copies}

    def thumbnail(self, image_id: UUID) -> bytes:
        """JPEG bytes."""
        data = self._connection.execute(
            select(thumbnails.c.jpeg)
            .join(visible_images, visible_images.c.id == thumbnails.c.image_id)
            .where(self._in_organization(visible_images), visible_images.c.id == image_id)
        ).scalar_one_or_none()
        if data is None:
            raise NotFoundError(f"no image {image_id}")
        return bytes(data)

    def neighbors(
        self,
        image_id: UUID,
        *,
        radius_m: float,
        source_kinds: Sequence[SourceKind] = (),
        limit: int = 20,
    ) -> list[tuple[Image, float]]:
        """Images near an image with their geodesic distance in meters, nearest first."""
        near = neighbors.neighbors_of(
            self._connection,
            self.image(image_id),
            self._organization_id,
            radius_m=radius_m,
            source_kinds=source_kinds,
            limit=limit,
        )
        images_by_id = self.images([near_id for near_id, _ in near])
        return [
            (images_by_id[near_id], distance_m)
            for near_id, distance_m in near
            if near_id in images_by_id
        ]

    def evidence(
        self,
        candidates: Sequence[Candidate],
        *,
        contract: str,
        radius_m: float,
        per_kind: int,
        excluded: Collection[UUID] = (),
        exclude_circle: Circle | None = None,
    ) -> list[Evidence]:
        """Neighbors of all candidates in one statement: up to `per_kind` of each kind."""
        parameters = neighbors.evidence_parameters(
            candidates,
            self._organization_id,
            contract=contract,
            radius_m=radius_m,
            per_kind=per_kind,
            excluded=excluded,
        )
        return neighbors.fetch_evidence_rows(
            self._connection, candidates, parameters, exclude_circle
        )

    def ids_by(
        self, *, hashes: Sequence[str], creators: Sequence[str], sequences: Sequence[str]
    ) -> list[UUID]:
        """Images with one of these hashes (SHA-256, hex), creators or sequences, in no order."""
        conditions = (
            images.c.sha256
            == func.any(cast([bytes.fromhex(digest) for digest in hashes], _BYTES_ARRAY)),
            images.c.creator == func.any(cast(list(creators), _TEXT_ARRAY)),
            images.c.sequence == func.any(cast(list(sequences), _TEXT_ARRAY)),
        )
        # In any state: the index may still contain a row that is deleted or about to change.
        statement = select(images.c.id).where(self._in_organization(images), or_(*conditions))
        return list(self._connection.execute(statement).scalars())
