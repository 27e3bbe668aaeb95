"""One organisation's rows, read: sources, batches and images."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, LargeBinary, Select, Text, cast, func, or_, select, tuple_

from pinpoint.errors import BadRequest, NotFound
from pinpoint.records import (
    VERDICTS,
    Batch,
    BatchItem,
    Candidate,
    Evidence,
    Image,
    ImageFilter,
    ImageLabel,
    ImagePosition,
    Point,
    Source,
    SourceKind,
)
from pinpoint.store import listing, neighbours
from pinpoint.store.database import UnitOfWork
from pinpoint.store.rows import among, to_batch, to_image, to_item, to_source
from pinpoint.store.source_roots import list_files, list_roots
from pinpoint.store.tables import (
    batch_items,
    batches,
    images,
    item_images,
    neighbourhoods,
    sources,
    thumbnails,
)

_BYTES, _TEXTS = ARRAY(LargeBinary), ARRAY(Text)
_LON = func.ST_X(images.c.geom)
_LAT = func.ST_Y(images.c.geom)
_IMAGE_COLUMNS = [
    column for column in images.c if column.name not in ("geog", "geom", "changed_xid")
]


_ITEM_COLUMNS = [column for column in batch_items.c if column.name != "hint"]


def select_images() -> Select[Any]:
    """Live images joined with what users want to know of their source."""
    return (
        select(
            *_IMAGE_COLUMNS,
            _LAT.label("lat"),
            _LON.label("lon"),
            sources.c.name.label("source_name"),
            sources.c.licence.label("source_licence"),
            sources.c.attribution.label("source_attribution"),
        )
        .join(sources, sources.c.id == images.c.source_id)
        .where(images.c.state != "deleted")
    )


def _as_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


class Reader:
    """`ports.CatalogueReader` on one unit of work."""

    def __init__(self, unit: UnitOfWork) -> None:
        if unit.organization_id is None:
            raise ValueError("a catalogue needs an organisation")
        self._unit = unit
        self._connection = unit.connection
        self._organization_id = unit.organization_id

    # The views hold the wall for the API; the owner (CLI, worker) needs the predicate as well.
    def _mine(self, table: Any) -> Any:
        return table.c.organization_id == self._organization_id

    def sources(self) -> list[Source]:
        """All sources by name, with their number of images."""
        counted = (
            select(neighbourhoods.c.source_id, func.sum(neighbourhoods.c.images).label("images"))
            .where(self._mine(neighbourhoods))
            .group_by(neighbourhoods.c.source_id)
            .subquery()
        )
        rows = self._connection.execute(
            select(sources, func.coalesce(counted.c.images, 0).label("images"))
            .outerjoin(counted, counted.c.source_id == sources.c.id)
            .where(self._mine(sources), sources.c.erased_at.is_(None))
            .order_by(sources.c.name)
        )
        found = rows.all()
        roots = list_roots(self._connection, [row.id for row in found])
        return [to_source(row, int(row.images), roots.get(row.id, [])) for row in found]

    def source(self, name_or_id: str | UUID) -> Source:
        """One source."""
        wanted = select(sources).where(self._mine(sources), sources.c.erased_at.is_(None))
        source_id = name_or_id if isinstance(name_or_id, UUID) else _as_id(name_or_id)
        row = None
        if source_id is not None:
            row = self._connection.execute(wanted.where(sources.c.id == source_id)).one_or_none()
        if row is None and isinstance(name_or_id, str):
            row = self._connection.execute(wanted.where(sources.c.name == name_or_id)).one_or_none()
        if row is None:
            raise NotFound(f"no source {name_or_id}")
        counted = self._connection.execute(
            select(func.coalesce(func.sum(neighbourhoods.c.images), 0)).where(
                self._mine(neighbourhoods), neighbourhoods.c.source_id == row.id
            )
        ).scalar_one()
        roots = list_roots(self._connection, [row.id])
        return to_source(row, int(counted), roots.get(row.id, []))

    def source_files(self, source_id: UUID, prefix: str) -> Iterator[tuple[str, str | None]]:
        """External id and locator of each live file whose id begins with `prefix`, by id."""
        return list_files(self._connection, self._mine(images), source_id, prefix)

    def batches(
        self, limit: int = 50, before: UUID | None = None, id_prefix: str | None = None
    ) -> list[Batch]:
        """Newest first; `before` is the last id of the page before."""
        wanted = self._batches().order_by(batches.c.created_at.desc(), batches.c.id.desc())
        if id_prefix is not None:
            wanted = wanted.where(batches.c.id.between(*listing.id_range(id_prefix)))
        if before is not None:
            edge = self._connection.execute(
                select(batches.c.created_at).where(self._mine(batches), batches.c.id == before)
            ).scalar_one_or_none()
            if edge is None:
                raise NotFound(f"no batch {before}")
            wanted = wanted.where(tuple_(batches.c.created_at, batches.c.id) < tuple_(edge, before))
        rows = self._connection.execute(wanted.limit(limit)).all()
        counts = self._counts([row.id for row in rows])
        return [to_batch(row, counts.get(row.id, {})) for row in rows]

    def batch(self, batch_id: UUID) -> Batch:
        """One batch with its counts."""
        row = self._connection.execute(
            self._batches().where(batches.c.id == batch_id)
        ).one_or_none()
        if row is None:
            raise NotFound(f"no batch {batch_id}")
        return to_batch(row, self._counts([batch_id]).get(batch_id, {}))

    def _batches(self) -> Select[Any]:
        return (
            select(batches, sources.c.name.label("source_name"))
            .join(sources, sources.c.id == batches.c.source_id)
            .where(self._mine(batches))
        )

    def _counts(self, ids: Sequence[UUID]) -> dict[UUID, dict[str, int]]:
        """Items by state. Counted, not kept: so the parts always make the whole."""
        counts: dict[UUID, dict[str, int]] = {}
        for row in self._connection.execute(
            select(batch_items.c.batch_id, batch_items.c.state, func.count().label("items"))
            .where(self._mine(batch_items), batch_items.c.batch_id.in_(ids))
            .group_by(batch_items.c.batch_id, batch_items.c.state)
        ):
            counts.setdefault(row.batch_id, {})[row.state] = row.items
        return counts

    def refused_counts(self, batch_id: UUID) -> dict[str, int]:
        """Items of a batch that ended without an image, by reason, most frequent first."""
        counted = func.count().label("items")
        rows = self._connection.execute(
            select(batch_items.c.reason, counted)
            .where(
                self._mine(batch_items),
                batch_items.c.batch_id == batch_id,
                batch_items.c.state.in_(("rejected", "failed")),
            )
            .group_by(batch_items.c.reason)
            .order_by(counted.desc(), batch_items.c.reason)
        )
        return {row.reason or "unknown": row.items for row in rows}

    def batch_items(
        self, batch_id: UUID, *, state: str | None = None, after: int = 0, limit: int = 200
    ) -> list[BatchItem]:
        """Items in order of arrival with `seq > after`."""
        self.batch(batch_id)
        if state is not None and state not in (*VERDICTS, "received", "stored"):
            raise BadRequest(f"no item state {state!r}; there are received, stored and {VERDICTS}")
        image_ids = (
            select(func.array_agg(item_images.c.image_id))
            .where(item_images.c.item_id == batch_items.c.id)
            .scalar_subquery()
        )
        wanted = (
            # Without the hint: one that the driver cannot read would hide all other items.
            select(*_ITEM_COLUMNS, image_ids.label("image_ids"))
            .where(self._mine(batch_items), batch_items.c.batch_id == batch_id)
            .where(batch_items.c.place > after)
            .order_by(batch_items.c.place)
            .limit(limit)
        )
        if state is not None:
            wanted = wanted.where(batch_items.c.state == state)
        return [to_item(row) for row in self._connection.execute(wanted)]

    def image(self, image_id: UUID) -> Image:
        """One image; deleted ones are not found."""
        found = self.images([image_id])
        if image_id not in found:
            raise NotFound(f"no image {image_id}")
        return found[image_id]

    def images(self, ids: Sequence[UUID]) -> dict[UUID, Image]:
        """Images by id; missing ones are left out."""
        wanted = select_images().where(self._mine(images), among(images.c.id, ids))
        return {row.id: to_image(row) for row in self._connection.execute(wanted)}

    def list_images(
        self, wanted: ImageFilter, *, limit: int, after: ImagePosition | None = None
    ) -> list[Image]:
        """A page of images by source name, file name and id, from behind `after` on."""
        rows = self._connection.execute(
            select(sources).where(self._mine(sources), sources.c.erased_at.is_(None))
        )
        ids = listing.list_ids(
            self._connection,
            self._organization_id,
            [
                source
                for source in map(to_source, rows)
                if source.id in (wanted.source_ids or (source.id,))
                and source.kind in (wanted.source_kinds or (source.kind,))
            ],
            wanted,
            after=after,
            limit=limit,
        )
        found = self.images(ids)
        return [found[id_] for id_ in ids if id_ in found]

    def image_labels(self, ids: Sequence[UUID]) -> dict[UUID, ImageLabel]:
        """What people know images by; missing ones are left out."""
        if not ids:
            return {}
        rows = self._connection.execute(
            select(images.c.id, images.c.external_id, sources.c.name, _LAT, _LON)
            .join(sources, sources.c.id == images.c.source_id)
            .where(self._mine(images), among(images.c.id, ids), images.c.state != "deleted")
        )
        return {
            id_: ImageLabel(
                file_name=external_id.rpartition("/")[2], source=source, point=Point(lat, lon)
            )
            for id_, external_id, source, lat, lon in rows
        }

    def copies(self, images_: Sequence[Image]) -> dict[UUID, tuple[Image, ...]]:
        """By image the other images of identical bytes (and face), by source name and id."""
        if not images_:
            return {}
        hashes = sorted({bytes.fromhex(each.sha256) for each in images_})
        rows = self._connection.execute(
            select_images()
            .where(self._mine(images), images.c.sha256 == func.any(cast(hashes, _BYTES)))
            .where(images.c.state.in_(("pending", "indexed")))
            .order_by(sources.c.name, images.c.id)
        )
        same: dict[tuple[str, str | None], list[Image]] = {}
        for row in rows:
            image = to_image(row)
            same.setdefault((image.sha256, image.face), []).append(image)
        groups = {own.id: same.get((own.sha256, own.face), []) for own in images_}
        others = {id_: tuple(one for one in all_ if one.id != id_) for id_, all_ in groups.items()}
        return {id_: copies for id_, copies in others.items() if copies}

    def thumbnail(self, image_id: UUID) -> bytes:
        """JPEG bytes."""
        data = self._connection.execute(
            select(thumbnails.c.jpeg)
            .join(images, images.c.id == thumbnails.c.image_id)
            .where(self._mine(images), images.c.id == image_id, images.c.state != "deleted")
        ).scalar_one_or_none()
        if data is None:
            raise NotFound(f"no image {image_id}")
        return bytes(data)

    def neighbours(
        self, image_id: UUID, *, radius_m: float, kinds: Sequence[SourceKind] = (), limit: int = 20
    ) -> list[tuple[Image, float]]:
        """Images near an image with their geodesic distance in metres, nearest first."""
        near = neighbours.around(
            self._connection,
            self.image(image_id),
            self._organization_id,
            radius_m=radius_m,
            kinds=kinds,
            limit=limit,
        )
        found = self.images([near_id for near_id, _ in near])
        return [(found[near_id], distance_m) for near_id, distance_m in near if near_id in found]

    def evidence(
        self,
        candidates: Sequence[Candidate],
        *,
        contract: str,
        radius_m: float,
        per_kind: int,
        excluded: Collection[UUID] = (),
    ) -> list[Evidence]:
        """Neighbours of all candidates in one statement: up to `per_kind` of each kind."""
        return neighbours.evidence(
            self._connection,
            candidates,
            self._organization_id,
            contract=contract,
            radius_m=radius_m,
            per_kind=per_kind,
            excluded=excluded,
        )

    def ids_by(
        self, *, hashes: Sequence[str], creators: Sequence[str], sequences: Sequence[str]
    ) -> list[UUID]:
        """Images with one of these hashes (SHA-256, hex), creators or sequences, in no order."""
        same = (
            images.c.sha256 == func.any(cast([bytes.fromhex(each) for each in hashes], _BYTES)),
            images.c.creator == func.any(cast(list(creators), _TEXTS)),
            images.c.sequence == func.any(cast(list(sequences), _TEXTS)),
        )
        # Whatever their state: the index may still hold a row that is deleted or about to change.
        wanted = select(images.c.id).where(self._mine(images), or_(*same))
        return list(self._connection.execute(wanted).scalars())
