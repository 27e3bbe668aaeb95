"""What one reading changes, compared with the rows that stand under its id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from pinpoint.records import (
    ClaimedItem,
    Kept,
    KeptImage,
    Reading,
    Rejected,
    describe_kept_fields,
    describe_manual_conflicts,
)
from pinpoint.store.image_values import METADATA, face_layers
from pinpoint.store.layer_json import layers_of_row

REPLACED: Final = "the file's bytes replace those stored before"
"""Note on an item whose id was there with other bytes."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one item changes."""

    item: ClaimedItem
    reading: Reading
    wanted: list[dict[str, Any]]
    old: dict[UUID, Any]
    changed: dict[UUID, set[str]]
    gone: list[UUID]
    """Faces that the new bytes no longer have."""
    outcome: str
    notes: tuple[str, ...]
    """What a user should know about values that were kept."""
    verdict: Rejected | None
    """Set where nothing changes but the origins of values."""

    @property
    def new_bytes(self) -> bool:
        """Whether any face's bytes are not in the catalogue yet."""
        return any("sha256" in changed for changed in self.changed.values())

    def kept(self, embedded: set[UUID]) -> Kept:
        """What the pipeline has to encode."""
        return Kept(
            item_id=self.item.id,
            duplicate=None,
            images=tuple(
                KeptImage(
                    id=values["id"],
                    face=face,
                    needs_vector=values["id"] not in embedded
                    or "sha256" in self.changed[values["id"]],
                )
                for face, values in enumerate(self.wanted)
            ),
            replaced=tuple(
                {row.locator for row in self.old.values() if row.locator and self.new_bytes}
            ),
        )


def plan_item(
    item: ClaimedItem, reading: Reading, wanted: list[dict[str, Any]], rows: Sequence[Any]
) -> Plan | Rejected:
    """Compare a reading with the rows under its id; a rejection where the item came too late."""
    old = {row.id: row for row in rows}
    alive = [row for row in rows if row.state != "deleted"]
    if any(row.arrival > item.arrival for row in alive):
        return duplicate(item, "superseded", "a file that came later holds this id already")
    changed = {values["id"]: _changes(old.get(values["id"]), values) for values in wanted}
    gone = [row.id for row in alive if row.id not in changed]
    settled = bool(alive) and all(row.state == "indexed" for row in alive)
    unchanged = settled and not gone and not any(changed.values())
    return Plan(
        item,
        reading,
        wanted,
        old,
        changed,
        gone,
        outcome="updated" if alive else "indexed",
        notes=_describe_kept(reading, wanted, old, changed),
        verdict=duplicate(item, "unchanged", "nothing new") if unchanged else None,
    )


def _describe_kept(
    reading: Reading,
    wanted: Sequence[dict[str, Any]],
    old: Mapping[UUID, Any],
    changed: Mapping[UUID, set[str]],
) -> tuple[str, ...]:
    """Notes about bytes that were replaced, and about values from outside that stay."""
    notes: list[str] = []
    for face, values in zip(reading.faces, wanted, strict=True):
        row = old.get(values["id"])
        if row is None or row.state == "deleted":
            continue
        stored, given = layers_of_row(row), face_layers(reading, face)
        if row.sha256 != values["sha256"]:
            notes += [REPLACED, *describe_kept_fields(stored, given)]
        if "manual" in stored and "manifest" in given:
            notes += describe_manual_conflicts(stored["manual"], given["manifest"])
    return tuple(dict.fromkeys(notes))


def duplicate(item: ClaimedItem, reason: str, detail: str) -> Rejected:
    """The last word on a file that changes nothing."""
    return Rejected(file=item.file, stage="store", reason=reason, detail=detail)


def _changes(row: Any, values: dict[str, Any]) -> set[str]:
    """Columns in which a stored row differs; all of them for a row that is new, dead or failed."""
    if row is None or row.state in ("deleted", "failed"):
        return set(values)
    changed = {name for name in METADATA if getattr(row, name) != values[name]}
    if (row.lat, row.lon) != (values["lat"], values["lon"]):
        changed.add("geog")
    return changed
