"""Plan of one upsert: the changes of a reading compared with the stored rows of its id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from pinpoint.records import (
    ClaimedItem,
    DecodedImage,
    FinalStatus,
    Rejected,
    UpsertedImage,
    UpsertResult,
    describe_kept_fields,
    describe_manual_conflicts,
)
from pinpoint.store.catalog.layer_json import layers_of_row
from pinpoint.store.ingest.image_rows import METADATA_COLUMNS, face_layers

BYTES_REPLACED_NOTE: Final = "the file's bytes replace those stored before"
"""Note on an item that replaces other bytes of the same id."""


@dataclass(frozen=True, slots=True)
class UpsertPlan:
    """Changes of one item."""

    item: ClaimedItem
    reading: DecodedImage
    face_rows: list[dict[str, Any]]
    old: dict[UUID, Any]
    changed: dict[UUID, set[str]]
    removed: list[UUID]
    """Faces that the new bytes lack."""
    final_status: FinalStatus
    notes: tuple[str, ...]
    """Notes for the user about values that were kept."""
    unchanged: Rejected | None
    """Set if nothing changes except the origins of values."""

    @property
    def new_bytes(self) -> bool:
        """Whether the bytes of a face are not in the catalog yet."""
        return any("sha256" in changed for changed in self.changed.values())

    def to_result(self, embedded: set[UUID]) -> UpsertResult:
        """Images that the pipeline must encode."""
        return UpsertResult(
            item_id=self.item.id,
            duplicate=None,
            images=tuple(
                UpsertedImage(
                    id=values["id"],
                    face=face,
                    needs_vector=values["id"] not in embedded
                    or "sha256" in self.changed[values["id"]],
                )
                for face, values in enumerate(self.face_rows)
            ),
            replaced=tuple({row.uri for row in self.old.values() if row.uri and self.new_bytes}),
        )


def plan_upsert(
    item: ClaimedItem, reading: DecodedImage, face_rows: list[dict[str, Any]], rows: Sequence[Any]
) -> UpsertPlan | Rejected:
    """Compare a reading with the rows of its id; returns a rejection if a later file exists."""
    old = {row.id: row for row in rows}
    live_rows = [row for row in rows if row.state != "deleted"]
    if any(row.ingest_seq > item.ingest_seq for row in live_rows):
        return as_duplicate(item, "superseded", "a file that came later holds this id already")
    changed = {
        values["id"]: _changed_columns(old.get(values["id"]), values) for values in face_rows
    }
    removed = [row.id for row in live_rows if row.id not in changed]
    is_indexed = bool(live_rows) and all(row.state == "indexed" for row in live_rows)
    is_unchanged = is_indexed and not removed and not any(changed.values())
    return UpsertPlan(
        item,
        reading,
        face_rows,
        old,
        changed,
        removed,
        final_status="updated" if live_rows else "indexed",
        notes=_describe_kept(reading, face_rows, old, changed),
        unchanged=as_duplicate(item, "unchanged", "nothing new") if is_unchanged else None,
    )


def _describe_kept(
    reading: DecodedImage,
    face_rows: Sequence[dict[str, Any]],
    old: Mapping[UUID, Any],
    changed: Mapping[UUID, set[str]],
) -> tuple[str, ...]:
    """Describe replaced bytes, and values from outside that were kept."""
    notes: list[str] = []
    for face, values in zip(reading.faces, face_rows, strict=True):
        row = old.get(values["id"])
        if row is None or row.state == "deleted":
            continue
        stored, new_layers = layers_of_row(row), face_layers(reading, face)
        if row.sha256 != values["sha256"]:
            notes += [BYTES_REPLACED_NOTE, *describe_kept_fields(stored, new_layers)]
        if "manual" in stored and "manifest" in new_layers:
            notes += describe_manual_conflicts(stored["manual"], new_layers["manifest"])
    return tuple(dict.fromkeys(notes))


def as_duplicate(item: ClaimedItem, error_code: str, error_message: str) -> Rejected:
    """Final status of a file that changes nothing."""
    return Rejected(
        file=item.file, error_stage="store", error_code=error_code, error_message=error_message
    )


def _changed_columns(row: Any, values: dict[str, Any]) -> set[str]:
    """Columns that differ from a stored row; all columns if the row is new, deleted or failed."""
    if row is None or row.state in ("deleted", "failed"):
        return set(values)
    changed = {name for name in METADATA_COLUMNS if getattr(row, name) != values[name]}
    if (row.lat, row.lon) != (values["lat"], values["lon"]):
        changed.add("geog")
    return changed
