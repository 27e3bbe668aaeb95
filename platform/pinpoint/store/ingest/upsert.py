"""Upsert of readings: identity, duplicates and replacement, in one transaction per source.

Identity is organization + source + external id + face. Same id and same bytes: no change. Same id,
new bytes: replaced. Same id, new metadata: updated. Same bytes with another id in the source:
duplicate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert

from pinpoint import tasks
from pinpoint.ports import OriginalStore
from pinpoint.records import ClaimedItem, DecodedImage, Rejected, UpsertResult
from pinpoint.store.catalog.field_layers import PROVENANCE
from pinpoint.store.db.database import UnitOfWork
from pinpoint.store.db.rows import is_any_of
from pinpoint.store.db.tables import (
    batch_items,
    embeddings,
    images,
    item_images,
    thumbnails,
    tombstones,
)
from pinpoint.store.deletion import image_deletion
from pinpoint.store.ingest import leases
from pinpoint.store.ingest.image_rows import image_values
from pinpoint.store.ingest.upsert_plan import UpsertPlan, as_duplicate, plan_upsert

Entry = tuple[ClaimedItem, DecodedImage]
"""An item and its decoded file."""


def upsert_images(
    unit: UnitOfWork, entries: Sequence[Entry], contract: str, originals: OriginalStore
) -> list[UpsertResult]:
    """Store readings of one source; returns one result per entry, in order.

    If `originals` has no URI for an entry yet, the entry is skipped. Later entries of the same
    id or with the same bytes are skipped with it.
    """
    if not entries:
        return []
    # One writer per source at a time: two chunks with the same bytes must detect each other.
    if not image_deletion.lock_source(unit.connection, entries[0][0].source.id):
        return _refuse_erased(unit.connection, entries)
    results: dict[UUID, UpsertResult] = {}
    waiting: set[str] = set()
    for pass_entries in _split_passes(entries):
        results |= _upsert_pass(unit, pass_entries, contract, originals, waiting)
    return [results[item.id] for item, _ in entries]


def _refuse_erased(connection: Connection, entries: Sequence[Entry]) -> list[UpsertResult]:
    """Reject files of a source that was erased after they arrived."""
    rejections = {
        item.id: Rejected(
            file=item.file,
            error_stage="store",
            error_code="source_erased",
            error_message="its source was erased before the file was stored",
        )
        for item, _ in entries
    }
    leases.finish_items(connection, rejections, "failed")
    return [
        UpsertResult(item_id=item.id, duplicate=rejections[item.id], images=())
        for item, _ in entries
    ]


def _split_passes(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Split entries so that each external id occurs once per pass."""
    passes: list[list[Entry]] = []
    occurrences: Counter[str] = Counter()
    for entry in entries:
        number = occurrences[entry[0].external_id]
        occurrences[entry[0].external_id] += 1
        if number == len(passes):
            passes.append([])
        passes[number].append(entry)
    return passes


def _upsert_pass(
    unit: UnitOfWork,
    entries: Sequence[Entry],
    contract: str,
    originals: OriginalStore,
    waiting: set[str],
) -> dict[UUID, UpsertResult]:
    """Process one pass; adds to `waiting` the external ids that wait for their original."""
    connection, source_id = unit.connection, entries[0][0].source.id
    stored_rows = _lock_rows(connection, source_id, [item.external_id for item, _ in entries])
    owner_by_bytes = _external_ids_by_bytes(
        connection, source_id, [reading.capture.sha256 for _, reading in entries]
    )
    embedded = _embedded_ids(
        connection, contract, [row.id for rows in stored_rows.values() for row in rows]
    )
    results: dict[UUID, UpsertResult] = {}
    plans: list[UpsertPlan] = []
    unchanged: list[UpsertPlan] = []
    without_position: dict[UUID, Rejected] = {}
    for item, reading in entries:
        rows = stored_rows.get(item.external_id, [])
        owner = owner_by_bytes.setdefault(reading.capture.sha256, item.external_id)
        if waiting & {item.external_id, owner}:
            waiting.add(item.external_id)
            results[item.id] = UpsertResult(item_id=item.id, duplicate=None, images=(), waits=True)
            continue
        if owner != item.external_id and all(row.state == "deleted" for row in rows):
            rejection = as_duplicate(item, "same_bytes", f"the same bytes are held as {owner}")
            results[item.id] = UpsertResult(item_id=item.id, duplicate=rejection, images=())
            continue
        face_rows = image_values(item, reading, rows)
        if face_rows is None:
            without_position[item.id] = _refuse_without_position(item)
            results[item.id] = UpsertResult(item_id=item.id, duplicate=None, images=())
            continue
        plan = plan_upsert(item, reading, face_rows, rows)
        if isinstance(plan, Rejected):
            results[item.id] = UpsertResult(item_id=item.id, duplicate=plan, images=())
            continue
        if plan.unchanged is not None:
            unchanged.append(plan)
            results[item.id] = UpsertResult(item_id=item.id, duplicate=plan.unchanged, images=())
            continue
        if not _assign_uris(plan, originals):
            waiting.add(item.external_id)
            results[item.id] = UpsertResult(item_id=item.id, duplicate=None, images=(), waits=True)
            continue
        plans.append(plan)
        results[item.id] = plan.to_result(embedded)
    _apply_plans(unit, plans)
    _record_provenance(connection, unchanged)
    _write_notes(connection, [*plans, *unchanged])
    leases.finish_items(connection, without_position, "rejected")
    return results


def _assign_uris(plan: UpsertPlan, originals: OriginalStore) -> bool:
    """Set the URIs of new bytes in the plan's rows; False if the bytes must be stored first."""
    if not plan.new_bytes:
        return True
    uris = originals(plan.item, plan.reading)
    if uris is None:
        return False
    for values, uri in zip(plan.face_rows, uris, strict=True):
        values["uri"] = uri
    return True


def _refuse_without_position(item: ClaimedItem) -> Rejected:
    """Reject a file whose earlier position was cleared since, or belonged to other bytes."""
    return Rejected(
        file=item.file,
        error_stage="store",
        error_code="no_position",
        error_message="the file has no position, and its earlier one was cleared or belongs to "
        "other bytes",
    )


def _record_provenance(connection: Connection, plans: Sequence[UpsertPlan]) -> None:
    """Update the origin of values in rows that do not change otherwise."""
    for plan in plans:
        for values in plan.face_rows:
            row = plan.old[values["id"]]
            if all(getattr(row, name) == values[name] for name in PROVENANCE):
                continue
            connection.execute(
                update(images)
                .where(images.c.id == row.id)
                .values({name: values[name] for name in (*PROVENANCE, "ingest_seq")})
            )


def _write_notes(connection: Connection, plans: Sequence[UpsertPlan]) -> None:
    """Store the notes of items."""
    with_notes = [plan for plan in plans if plan.notes]
    if with_notes:
        connection.execute(
            update(batch_items)
            .where(batch_items.c.id == bindparam("item"))
            .values(notes=bindparam("item_notes")),
            [{"item": plan.item.id, "item_notes": list(plan.notes)} for plan in with_notes],
        )


def _apply_plans(unit: UnitOfWork, plans: Sequence[UpsertPlan]) -> None:
    """Write all plans of a pass with few statements."""
    connection = unit.connection
    removed = [image_id for plan in plans for image_id in plan.removed]
    if removed:
        unit.after_commit(
            tasks.ERASE_IMAGES,
            image_deletion.mark_deleted(connection, is_any_of(images.c.id, removed)),
        )
    new_rows = [
        values for plan in plans for values in plan.face_rows if values["id"] not in plan.old
    ]
    _insert_rows(connection, new_rows)
    for plan in plans:
        for values in plan.face_rows:
            if values["id"] in plan.old and plan.changed[values["id"]]:
                _replace_row(connection, values, plan.old[values["id"]], plan.changed[values["id"]])
    _write_thumbnails(connection, plans)
    _link_items(connection, plans)


def _lock_rows(
    connection: Connection, source_id: UUID, external_ids: Sequence[str]
) -> dict[str, list[Any]]:
    """Rows with these external ids, including deleted ones, locked."""
    rows = connection.execute(
        select(images, func.ST_X(images.c.geom).label("lon"), func.ST_Y(images.c.geom).label("lat"))
        .where(images.c.source_id == source_id, images.c.external_id.in_(set(external_ids)))
        .order_by(images.c.id)
        .with_for_update(of=images)
    )
    rows_by_id: dict[str, list[Any]] = {}
    for row in rows:
        rows_by_id.setdefault(row.external_id, []).append(row)
    return rows_by_id


def _external_ids_by_bytes(
    connection: Connection, source_id: UUID, digests: Sequence[str]
) -> dict[str, str]:
    """External id that already holds these bytes in the source."""
    rows = connection.execute(
        select(images.c.sha256, func.min(images.c.external_id).label("external_id"))
        .where(
            images.c.source_id == source_id,
            images.c.sha256.in_({bytes.fromhex(digest) for digest in digests}),
            images.c.state != "deleted",
        )
        .group_by(images.c.sha256)
    )
    return {row.sha256.hex(): row.external_id for row in rows}


def _embedded_ids(connection: Connection, contract: str, ids: Sequence[UUID]) -> set[UUID]:
    rows = connection.execute(
        select(embeddings.c.image_id).where(
            is_any_of(embeddings.c.image_id, ids), embeddings.c.contract == contract
        )
    )
    return set(rows.scalars())


def _insert_rows(connection: Connection, new_rows: Sequence[dict[str, Any]]) -> None:
    if not new_rows:
        return
    tombstone_rows = connection.execute(
        select(tombstones.c.image_id, tombstones.c.version)
        .where(is_any_of(tombstones.c.image_id, [values["id"] for values in new_rows]))
        .with_for_update()
    )
    versions = {row.image_id: row.version for row in tombstone_rows}
    connection.execute(
        # RETURNING makes SQLAlchemy send one statement for all rows, so the counters of the
        # neighborhoods are updated once instead of once per row.
        insert(images).returning(images.c.id),
        [
            {name: value for name, value in values.items() if name not in ("lat", "lon")}
            | {"version": versions.get(values["id"], 0) + 1}
            for values in new_rows
        ],
    )


def _replace_row(
    connection: Connection, values: dict[str, Any], row: Any, changed: set[str]
) -> None:
    """Update a row; its layers already contain the values of persons and manifests."""
    connection.execute(
        update(images)
        .where(images.c.id == row.id)
        .values(
            **{name: value for name, value in values.items() if name not in ("id", "lat", "lon")},
            error_message=None,
            version=images.c.version + 1,
            updated_at=func.now(),
        )
    )
    if "sha256" in changed:
        connection.execute(delete(embeddings).where(embeddings.c.image_id == row.id))


def _write_thumbnails(connection: Connection, plans: Sequence[UpsertPlan]) -> None:
    statement = postgresql_insert(thumbnails)
    values = [
        {
            "image_id": values["id"],
            "organization_id": values["organization_id"],
            "jpeg": face.thumbnail,
        }
        for plan in plans
        for values, face in zip(plan.face_rows, plan.reading.faces, strict=True)
    ]
    if values:
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["image_id"], set_={"jpeg": statement.excluded.jpeg}
            ),
            values,
        )


def _link_items(connection: Connection, plans: Sequence[UpsertPlan]) -> None:
    """Record the images, and their versions, that each item waits for."""
    if not plans:
        return
    image_ids = [values["id"] for plan in plans for values in plan.face_rows]
    rows = connection.execute(
        select(images.c.id, images.c.version).where(is_any_of(images.c.id, image_ids))
    )
    versions = {row.id: row.version for row in rows}
    items = [plan.item.id for plan in plans]
    connection.execute(delete(item_images).where(is_any_of(item_images.c.item_id, items)))
    connection.execute(
        insert(item_images),
        [
            {
                "item_id": plan.item.id,
                "image_id": values["id"],
                "organization_id": plan.item.organization_id,
                "version": versions[values["id"]],
            }
            for plan in plans
            for values in plan.face_rows
        ],
    )
    for final_status in ("indexed", "updated"):
        item_ids = [plan.item.id for plan in plans if plan.final_status == final_status]
        connection.execute(
            update(batch_items)
            .where(is_any_of(batch_items.c.id, item_ids))
            # A second attempt must not change the `indexed` of the first to `updated`.
            .values(
                status="stored",
                final_status=func.coalesce(batch_items.c.final_status, final_status),
            )
        )
