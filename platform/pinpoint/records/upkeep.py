"""How the work stands over all organisations: numbers for the operator, no names and no ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pinpoint.records.index import Drift


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep found."""

    released: int
    items: int
    images: int
    graves: int
    forgotten: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Items that ended without an image in the last 24 hours, by reason."""

    verdict: Literal["rejected", "failed"]
    reason: str
    items: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSum:
    """What the workers spent in one stage of the ingest since the database was made."""

    slices: int
    """How often the stage ran; a slice is up to 32 items."""
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What PostgreSQL knows of the work; counts stop at `most`, which then means "at least"."""

    most: int
    open_items: Mapping[str, int]
    """`received` (waits to be read) and `stored` (waits for the index)."""
    oldest_open_s: float | None
    """Age of the oldest open item; None where nothing is open."""
    leases_held: int
    leases_expired: int
    images_pending: int
    images_deleted: int
    """Rows that wait to be erased."""
    tombstones: int
    refused_24h: tuple[Refused, ...]
    """Most frequent first."""
    drift: Drift | None
    reconciled_at: datetime | None
    swept: Swept | None
    swept_at: datetime | None
    stages: Mapping[str, StageSum]
    counts: Mapping[str, int]
    """Since the database was made: `claimed`, `encoded`, `rejected`, `failed`, `released`."""
