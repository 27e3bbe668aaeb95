"""One organisation's rows, changed; what workers must do about it leaves after the commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Text, case, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from pinpoint import jobs
from pinpoint.errors import BadRequest, Conflict, NotFound
from pinpoint.geo.cells import cells_of
from pinpoint.records import (
    KINDS,
    Batch,
    Image,
    ImageFix,
    NewItem,
    OriginalsPolicy,
    Source,
    SourceKind,
)
from pinpoint.store import erasing
from pinpoint.store.catalogue import Reader
from pinpoint.store.database import UnitOfWork
from pinpoint.store.names import check_name
from pinpoint.store.rows import geography, hint_to_json
from pinpoint.store.tables import batch_items, batches, images, queries, sources

_POLICIES = ("reference", "copy", "rendition")


class Writer(Reader):
    """`ports.CatalogueWriter` on one unit of work."""

    def __init__(self, unit: UnitOfWork, chunk: int) -> None:
        super().__init__(unit)
        self._chunk = chunk

    def add_source(
        self,
        name: str,
        kind: SourceKind,
        *,
        licence: str | None = None,
        attribution: str | None = None,
        originals: OriginalsPolicy = "copy",
        root: str | None = None,
    ) -> Source:
        """Add a source.

        Raises:
            Conflict: The name is taken.
            BadRequest: Kind or policy is unknown, or the name cannot be used (`store.names`).
        """
        check_name(name, "source")
        if kind not in KINDS:
            raise BadRequest(f"source kind {kind!r} is unknown; there are {', '.join(KINDS)}")
        if originals not in _POLICIES:
            raise BadRequest(f"originals policy {originals!r} is unknown; there are {_POLICIES}")
        values = {
            "id": uuid4(),
            "organization_id": self._organization_id,
            "name": name,
            "kind": kind,
            "licence": licence,
            "attribution": attribution,
            "originals": originals,
            "root": root,
        }
        try:
            with self._connection.begin_nested():
                self._connection.execute(insert(sources), values)
        except IntegrityError as error:
            raise Conflict(f"a source named {name!r} exists already") from error
        return self.source(name)

    def set_root(self, source_id: UUID, root: str) -> Source:
        """Say which folder the ids of a source are relative to; it is set once.

        Raises:
            Conflict: The source has another root already.
        """
        found = self.source(source_id)
        if found.root not in (None, root):
            raise Conflict(f"source {found.name!r} has the root {found.root}")
        self._connection.execute(
            update(sources).where(self._mine(sources), sources.c.id == source_id).values(root=root)
        )
        return self.source(source_id)

    def erase_source(self, source_id: UUID) -> int:
        """Leave tombstones on all its images; a worker removes them, then the source."""
        self.source(source_id)
        # After whoever keeps readings of it now; whoever comes later finds it erased.
        erasing.lock_source(self._connection, source_id)
        self._connection.execute(
            update(batches)
            .where(self._mine(batches), batches.c.source_id == source_id)
            .values(closed_at=func.coalesce(batches.c.closed_at, func.now()))
        )
        self._connection.execute(
            update(sources)
            .where(self._mine(sources), sources.c.id == source_id)
            # The name is free again at once; the row goes when its last image is gone.
            .values(erased_at=func.now(), name=func.concat("erased:", sources.c.id.cast(Text)))
        )
        dead = erasing.bury(self._connection, images.c.source_id == source_id)
        self._send(jobs.ERASE_IMAGES, dead)
        return len(dead)

    def open_batch(self, source_id: UUID) -> Batch:
        """Open an upload set."""
        source = self.source(source_id)
        batch_id = uuid4()
        self._connection.execute(
            insert(batches),
            {"id": batch_id, "organization_id": self._organization_id, "source_id": source.id},
        )
        return self.batch(batch_id)

    def add_items(self, batch_id: UUID, items: Sequence[NewItem]) -> list[UUID]:
        """Record files and ask for their ingest; returns item ids in order.

        Raises:
            Conflict: The batch is closed.
        """
        row = self._connection.execute(
            select(batches.c.closed_at)
            .where(self._mine(batches), batches.c.id == batch_id)
            # One at a time, so that places in the batch follow each other.
            .with_for_update(key_share=True)
        ).one_or_none()
        if row is None:
            raise NotFound(f"no batch {batch_id}")
        if row.closed_at is not None:
            raise Conflict(f"batch {batch_id} is closed; open a new one")
        last = self._connection.execute(
            select(func.coalesce(func.max(batch_items.c.place), 0)).where(
                self._mine(batch_items), batch_items.c.batch_id == batch_id
            )
        ).scalar_one()
        values = [
            self._item_values(batch_id, place, item)
            for place, item in enumerate(items, start=last + 1)
        ]
        if values:
            self._connection.execute(insert(batch_items), values)
        self._send(
            jobs.INGEST_ITEMS, [value["id"] for value in values if value["state"] == "received"]
        )
        return [value["id"] for value in values]

    def _item_values(self, batch_id: UUID, place: int, item: NewItem) -> dict[str, Any]:
        refused = item.rejected
        return {
            "id": uuid4(),
            "organization_id": self._organization_id,
            "batch_id": batch_id,
            "place": place,
            "external_id": item.external_id,
            "file": item.file,
            "locator": item.locator,
            "hint": hint_to_json(item.hint),
            "state": "rejected" if refused else "received",
            "stage": refused.stage if refused else None,
            "reason": refused.reason if refused else None,
            "detail": refused.detail if refused else None,
        }

    def _send(self, name: jobs.JobName, ids: Sequence[UUID]) -> None:
        for start in range(0, len(ids), self._chunk):
            self._unit.after_commit(name, ids[start : start + self._chunk])

    def close_batch(self, batch_id: UUID) -> Batch:
        """Say that no more items come; closing twice changes nothing."""
        self.batch(batch_id)
        self._connection.execute(
            update(batches)
            .where(self._mine(batches), batches.c.id == batch_id, batches.c.closed_at.is_(None))
            .values(closed_at=func.now())
        )
        return self.batch(batch_id)

    def retry_batch(self, batch_id: UUID) -> int:
        """Send failed and unsettled items again; returns how many."""
        self.batch(batch_id)
        again = self._connection.execute(
            update(batch_items)
            .where(
                self._mine(batch_items),
                batch_items.c.batch_id == batch_id,
                batch_items.c.state.in_(("failed", "received", "stored")),
                # Of an erased image nothing is left to try again.
                batch_items.c.locator != "",
            )
            .values(
                state="received",
                stage=None,
                reason=None,
                detail=None,
                attempts=0,
                lease_owner=None,
                lease_until=None,
            )
            .returning(batch_items.c.id)
        )
        ids = sorted(again.scalars())
        self._send(jobs.INGEST_ITEMS, ids)
        return len(ids)

    def fix_image(self, image_id: UUID, fix: ImageFix) -> Image:
        """Correct a row; its version rises and a worker carries it to the index."""
        self.image(image_id)
        values = _fixed_values(fix)
        if not values:
            raise BadRequest("nothing to fix: give at least one field")
        self._connection.execute(
            update(images)
            # Asked again of the locked row: it may have been deleted or indexed since.
            .where(self._mine(images), images.c.id == image_id, images.c.state != "deleted")
            .values(
                **values,
                state=case((images.c.state == "indexed", "pending"), else_=images.c.state),
                version=images.c.version + 1,
                updated_at=func.now(),
                manual_fields=func.array_cat(
                    images.c.manual_fields, sorted(_FIELDS & values.keys())
                ),
            )
        )
        self._send(jobs.INDEX_IMAGES, [image_id])
        return self.image(image_id)

    def delete_image(self, image_id: UUID) -> None:
        """Leave a tombstone; a worker removes index point, blob and row."""
        self.image(image_id)
        self._send(jobs.ERASE_IMAGES, erasing.bury(self._connection, images.c.id == image_id))

    def log_query(
        self,
        asked: str,
        *,
        key_id: UUID | None,
        photo_sha256: str | None,
        bundle: str,
        index_build: str | None,
    ) -> None:
        """Write one line of the audit: a hash of the photo, never the photo."""
        self._connection.execute(
            insert(queries),
            {
                "id": uuid4(),
                "organization_id": self._organization_id,
                "key_id": key_id,
                "asked": asked,
                "photo_sha256": bytes.fromhex(photo_sha256) if photo_sha256 else None,
                "bundle": bundle,
                "index_build": index_build,
            },
        )


_FIELDS = {"geog", "captured_at", "heading_deg", "creator", "sequence", "licence"}


def _fixed_values(fix: ImageFix) -> dict[str, Any]:
    """Columns that a correction changes."""
    values: dict[str, Any] = {
        name: value
        for name in ("captured_at", "heading_deg", "creator", "sequence", "licence")
        if (value := getattr(fix, name)) is not None
    }
    if fix.point is not None:
        cells = cells_of(fix.point)
        values |= {
            "geog": geography(fix.point),
            "position_source": "caller",
            "cell_r5": cells.r5,
            "cell_r7": cells.r7,
            "cell_r9": cells.r9,
        }
    return values
