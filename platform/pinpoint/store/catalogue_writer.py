"""One organisation's rows, changed; what workers must do about it leaves after the commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Text, and_, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from pinpoint import jobs
from pinpoint.errors import BadRequest, Conflict, NotFound
from pinpoint.records import (
    KINDS,
    Batch,
    Image,
    ImageFix,
    NewItem,
    OriginalsPolicy,
    Source,
    SourceKind,
    SourceRoot,
    limits,
)
from pinpoint.store import correcting, erasing, source_roots
from pinpoint.store.catalogue import Reader
from pinpoint.store.database import UnitOfWork
from pinpoint.store.names import check_name
from pinpoint.store.rows import hint_to_json
from pinpoint.store.tables import batch_items, batches, images, queries, sources

_POLICIES = ("reference", "copy", "rendition")
_PAGE = 10_000
"""Files removed with one statement."""


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
    ) -> Source:
        """Add a source.

        Raises:
            Conflict: The name is taken.
            BadRequest: Kind or policy is unknown, or the name cannot be used (`store.names`).
        """
        check_name(name, "source")
        _check_texts(name=name, licence=licence, attribution=attribution)
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
        }
        try:
            with self._connection.begin_nested():
                self._connection.execute(insert(sources), values)
        except IntegrityError as error:
            raise Conflict(f"a source named {name!r} exists already") from error
        return self.source(name)

    def add_root(self, source_id: UUID, root: SourceRoot) -> Source:
        """Add a folder to a source.

        Raises:
            Conflict: The source has a root of that name.
            BadRequest: The name cannot be part of an id.
        """
        self.source(source_id)
        _check_texts(external_id=root.name, root=root.path)
        source_roots.add_root(self._connection, self._organization_id, source_id, root)
        return self.source(source_id)

    def move_root(self, source_id: UUID, name: str, path: str) -> int:
        """Say where a root's folder is now; ids stay. Returns how many kept files move along.

        Raises:
            NotFound: The source has no root of that name.
        """
        self.source(source_id)
        _check_texts(root=path)
        return source_roots.move_root(self._connection, source_id, name, path)

    def remove_files(self, source_id: UUID, external_ids: Sequence[str]) -> int:
        """Leave tombstones on the images of these files; returns how many images."""
        gone: list[UUID] = []
        for start in range(0, len(external_ids), _PAGE):
            page = external_ids[start : start + _PAGE]
            which = and_(
                self._mine(images),
                images.c.source_id == source_id,
                images.c.external_id.in_(page),
            )
            gone += erasing.bury(self._connection, which)
        self._send(jobs.ERASE_IMAGES, gone)
        return len(gone)

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

    def cancel_batch(self, batch_id: UUID) -> int:
        """Close a batch and give up the items that no worker has begun; returns how many.

        Items under a lease, and those whose rows are kept already, go on to their verdict. Doing
        it twice changes nothing more. What was uploaded for canceled items is removed by `prune`.
        """
        self.close_batch(batch_id)
        canceled = self._connection.execute(
            update(batch_items)
            .where(
                self._mine(batch_items),
                batch_items.c.batch_id == batch_id,
                batch_items.c.state == "received",
                # Asked again of the locked row: a worker may have taken it in between.
                or_(batch_items.c.lease_until.is_(None), batch_items.c.lease_until < func.now()),
            )
            .values(
                state="canceled",
                stage=None,
                reason="canceled",
                detail="canceled before it was read; `pinpoint batches retry` sends it again",
                lease_owner=None,
                lease_until=None,
            )
        )
        return int(canceled.rowcount)

    def retry_batch(self, batch_id: UUID) -> int:
        """Send failed and canceled items again, each once; returns how many.

        Items that wait for a worker or are with one are left alone: the sweep finds lost ones.
        """
        self.batch(batch_id)
        again = self._connection.execute(
            update(batch_items)
            .where(
                self._mine(batch_items),
                batch_items.c.batch_id == batch_id,
                batch_items.c.state.in_(("failed", "canceled")),
                # Of an erased image nothing is left to try again.
                batch_items.c.locator != "",
            )
            .values(
                state="received",
                stage=None,
                reason=None,
                detail=None,
                notes=[],
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
        """Set or clear manual values; the version rises and a worker carries it to the index.

        Raises:
            BadRequest: Nothing would change, or no position would be left.
        """
        _check_texts(creator=fix.creator, sequence=fix.sequence, licence=fix.licence)
        correcting.correct_image(self._connection, image_id, self._mine(images), fix)
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


def _check_texts(**texts: str | None) -> None:
    """Refuse a text that its column cannot hold.

    Raises:
        BadRequest: The message names the field.
    """
    for column, text in texts.items():
        try:
            limits.check_text(column, text)
        except limits.Unstorable as error:
            raise BadRequest(error.detail, reason=error.reason) from error
