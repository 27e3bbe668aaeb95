"""Readings become rows: identity, duplicates, replacement, all in one transaction of one source.

Identity is organisation + source + external id + face. Same id and same bytes: nothing to do.
Same id, new bytes: replaced. Same id, new metadata: updated. Same bytes under another id of the
source: duplicate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from pinpoint import jobs
from pinpoint.ports import OriginalKeeper
from pinpoint.records import ClaimedItem, Kept, Reading, Rejected
from pinpoint.store import erasing, leases
from pinpoint.store.database import UnitOfWork
from pinpoint.store.field_layers import PROVENANCE
from pinpoint.store.image_values import image_values
from pinpoint.store.keeping_plan import Plan, duplicate, plan_item
from pinpoint.store.rows import among
from pinpoint.store.tables import (
    batch_items,
    embeddings,
    images,
    item_images,
    thumbnails,
    tombstones,
)

Entry = tuple[ClaimedItem, Reading]
"""An item and what was read of it."""


def keep(
    unit: UnitOfWork, entries: Sequence[Entry], contract: str, originals: OriginalKeeper
) -> list[Kept]:
    """Store readings of one source; returns what became of each, in order.

    Where `originals` has no locator yet nothing is written: that entry waits, and so do those whose
    verdict hangs on it, later ones of its id and twins of its bytes.
    """
    if not entries:
        return []
    # One writer per source at a time: two chunks with the same bytes must see each other.
    if not erasing.lock_source(unit.connection, entries[0][0].source.id):
        return _refuse_erased(unit.connection, entries)
    kept: dict[UUID, Kept] = {}
    waiting: set[str] = set()
    for entries_once in _rounds(entries):
        kept |= _keep_round(unit, entries_once, contract, originals, waiting)
    return [kept[item.id] for item, _ in entries]


def _refuse_erased(connection: Connection, entries: Sequence[Entry]) -> list[Kept]:
    """Files of a source that was erased since they came: nothing of it may come back."""
    verdicts = {
        item.id: Rejected(
            file=item.file,
            stage="store",
            reason="source_erased",
            detail="its source was erased before the file was stored",
        )
        for item, _ in entries
    }
    leases.settle(connection, verdicts, "failed")
    return [Kept(item_id=item.id, duplicate=verdicts[item.id], images=()) for item, _ in entries]


def _rounds(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Split so that each external id stands once in a round: a later one must see the earlier."""
    rounds: list[list[Entry]] = []
    seen: Counter[str] = Counter()
    for entry in entries:
        turn = seen[entry[0].external_id]
        seen[entry[0].external_id] += 1
        if turn == len(rounds):
            rounds.append([])
        rounds[turn].append(entry)
    return rounds


def _keep_round(
    unit: UnitOfWork,
    entries: Sequence[Entry],
    contract: str,
    originals: OriginalKeeper,
    waiting: set[str],
) -> dict[UUID, Kept]:
    """One round; adds to `waiting` the external ids that wait for their original."""
    connection, source_id = unit.connection, entries[0][0].source.id
    known = _known(connection, source_id, [item.external_id for item, _ in entries])
    owners = _owners_of_bytes(
        connection, source_id, [reading.capture.sha256 for _, reading in entries]
    )
    embedded = _embedded(connection, contract, [row.id for rows in known.values() for row in rows])
    kept: dict[UUID, Kept] = {}
    plans: list[Plan] = []
    settled: list[Plan] = []
    nowhere: dict[UUID, Rejected] = {}
    for item, reading in entries:
        rows = known.get(item.external_id, [])
        owner = owners.setdefault(reading.capture.sha256, item.external_id)
        if waiting & {item.external_id, owner}:
            waiting.add(item.external_id)
            kept[item.id] = Kept(item_id=item.id, duplicate=None, images=(), waits=True)
            continue
        if owner != item.external_id and all(row.state == "deleted" for row in rows):
            twin = duplicate(item, "same_bytes", f"the same bytes are held as {owner}")
            kept[item.id] = Kept(item_id=item.id, duplicate=twin, images=())
            continue
        wanted = image_values(item, reading, rows)
        if wanted is None:
            nowhere[item.id] = _refuse_without_position(item)
            kept[item.id] = Kept(item_id=item.id, duplicate=None, images=())
            continue
        plan = plan_item(item, reading, wanted, rows)
        if isinstance(plan, Rejected):
            kept[item.id] = Kept(item_id=item.id, duplicate=plan, images=())
            continue
        if plan.verdict is not None:
            settled.append(plan)
            kept[item.id] = Kept(item_id=item.id, duplicate=plan.verdict, images=())
            continue
        if plan.new_bytes:
            locators = originals(item, reading)
            if locators is None:
                waiting.add(item.external_id)
                kept[item.id] = Kept(item_id=item.id, duplicate=None, images=(), waits=True)
                continue
            for values, locator in zip(plan.wanted, locators, strict=True):
                values["locator"] = locator
        plans.append(plan)
        kept[item.id] = plan.kept(embedded)
    _carry_out(unit, plans)
    _record_provenance(connection, settled)
    _write_notes(connection, [*plans, *settled])
    leases.settle(connection, nowhere, "rejected")
    return kept


def _refuse_without_position(item: ClaimedItem) -> Rejected:
    """The position that let the file be read was cleared meanwhile, or was of other bytes."""
    return Rejected(
        file=item.file,
        stage="store",
        reason="no_position",
        detail="the file has no position, and the one given for it before does not hold any more",
    )


def _record_provenance(connection: Connection, plans: Sequence[Plan]) -> None:
    """Write where values come from, of rows in which nothing else changes."""
    for plan in plans:
        for values in plan.wanted:
            row = plan.old[values["id"]]
            if all(getattr(row, name) == values[name] for name in PROVENANCE):
                continue
            connection.execute(
                update(images)
                .where(images.c.id == row.id)
                .values({name: values[name] for name in (*PROVENANCE, "arrival")})
            )


def _write_notes(connection: Connection, plans: Sequence[Plan]) -> None:
    """Keep what users should know about an item beside its verdict."""
    noted = [plan for plan in plans if plan.notes]
    if noted:
        connection.execute(
            update(batch_items)
            .where(batch_items.c.id == bindparam("item"))
            .values(notes=bindparam("said")),
            [{"item": plan.item.id, "said": list(plan.notes)} for plan in noted],
        )


def _carry_out(unit: UnitOfWork, plans: Sequence[Plan]) -> None:
    """Write all plans of a round with few statements."""
    connection = unit.connection
    gone = [image_id for plan in plans for image_id in plan.gone]
    if gone:
        unit.after_commit(jobs.ERASE_IMAGES, erasing.bury(connection, among(images.c.id, gone)))
    fresh = [values for plan in plans for values in plan.wanted if values["id"] not in plan.old]
    _insert(connection, fresh)
    for plan in plans:
        for values in plan.wanted:
            if values["id"] in plan.old and plan.changed[values["id"]]:
                _replace(connection, values, plan.old[values["id"]], plan.changed[values["id"]])
    _write_thumbnails(connection, plans)
    _link(connection, plans)


def _known(
    connection: Connection, source_id: UUID, external_ids: Sequence[str]
) -> dict[str, list[Any]]:
    """Rows under these external ids, deleted ones too, locked."""
    rows = connection.execute(
        select(images, func.ST_X(images.c.geom).label("lon"), func.ST_Y(images.c.geom).label("lat"))
        .where(images.c.source_id == source_id, images.c.external_id.in_(set(external_ids)))
        .order_by(images.c.id)
        .with_for_update(of=images)
    )
    known: dict[str, list[Any]] = {}
    for row in rows:
        known.setdefault(row.external_id, []).append(row)
    return known


def _owners_of_bytes(
    connection: Connection, source_id: UUID, digests: Sequence[str]
) -> dict[str, str]:
    """Which external id of the source holds these bytes already."""
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


def _embedded(connection: Connection, contract: str, ids: Sequence[UUID]) -> set[UUID]:
    rows = connection.execute(
        select(embeddings.c.image_id).where(
            among(embeddings.c.image_id, ids), embeddings.c.contract == contract
        )
    )
    return set(rows.scalars())


def _insert(connection: Connection, fresh: Sequence[dict[str, Any]]) -> None:
    if not fresh:
        return
    graves = connection.execute(
        select(tombstones.c.image_id, tombstones.c.version)
        .where(among(tombstones.c.image_id, [values["id"] for values in fresh]))
        .with_for_update()
    )
    versions = {row.image_id: row.version for row in graves}
    connection.execute(
        # RETURNING makes SQLAlchemy send one statement for all rows, and so the counters of the
        # neighbourhoods are recounted once and not once a row.
        insert(images).returning(images.c.id),
        [
            {name: value for name, value in values.items() if name not in ("lat", "lon")}
            | {"version": versions.get(values["id"], 0) + 1}
            for values in fresh
        ],
    )


def _replace(connection: Connection, values: dict[str, Any], row: Any, changed: set[str]) -> None:
    """Write a row again; its layers hold already what persons and manifests gave."""
    connection.execute(
        update(images)
        .where(images.c.id == row.id)
        .values(
            **{name: value for name, value in values.items() if name not in ("id", "lat", "lon")},
            failure=None,
            version=images.c.version + 1,
            updated_at=func.now(),
        )
    )
    if "sha256" in changed:
        connection.execute(delete(embeddings).where(embeddings.c.image_id == row.id))


def _write_thumbnails(connection: Connection, plans: Sequence[Plan]) -> None:
    statement = upsert(thumbnails)
    values = [
        {
            "image_id": values["id"],
            "organization_id": values["organization_id"],
            "jpeg": face.thumbnail,
        }
        for plan in plans
        for values, face in zip(plan.wanted, plan.reading.faces, strict=True)
    ]
    if values:
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["image_id"], set_={"jpeg": statement.excluded.jpeg}
            ),
            values,
        )


def _link(connection: Connection, plans: Sequence[Plan]) -> None:
    """Say which images each item waits for, at which version."""
    if not plans:
        return
    wanted = [values["id"] for plan in plans for values in plan.wanted]
    rows = connection.execute(
        select(images.c.id, images.c.version).where(among(images.c.id, wanted))
    )
    versions = {row.id: row.version for row in rows}
    items = [plan.item.id for plan in plans]
    connection.execute(delete(item_images).where(among(item_images.c.item_id, items)))
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
            for values in plan.wanted
        ],
    )
    for outcome in ("indexed", "updated"):
        which = [plan.item.id for plan in plans if plan.outcome == outcome]
        connection.execute(
            update(batch_items)
            .where(among(batch_items.c.id, which))
            # A second try must not turn the `indexed` of the first into `updated`.
            .values(state="stored", outcome=func.coalesce(batch_items.c.outcome, outcome))
        )
