"""From records to what a reranker reads: rows of one fixed shape, and the vectors that they name.

The same code makes a question of serving and an example of training. A row names gallery photos by
id instead of holding their vectors: thousands of questions meet the same photos.
Letters: B questions, K candidates, M evidence photos per kind, E = M times the kinds, U photos,
D width of vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import numpy as np
import torch
from numpy.typing import NDArray

from pinpoint.geo.points import destination, lat_lon
from pinpoint.nets.rerank_numbers import UNKNOWN_KIND, Asked
from pinpoint.records import GPS_CHANNEL, IMAGE_CHANNEL, KINDS, Candidate, Evidence, Point, Vector
from pinpoint.records import SourceKind as Kind

_YEAR_S: Final = 365.25 * 86_400
_CODES: Final[Mapping[Kind, int]] = {kind: code for code, kind in enumerate(KINDS)}

Row = NDArray[Any]
"""Questions `[B]` of `row_type`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How many candidates and how much evidence a row has room for."""

    dim: int
    candidates: int
    per_kind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Photos:
    """Gallery photos by id, in the order of their ids."""

    ids: NDArray[np.bytes_]
    """`[U]`, 16 bytes each."""
    image: NDArray[Any]
    """`[U, D]`."""
    gps: NDArray[Any]
    """Vectors of their places `[U, D]`; zeros where there is none."""

    @classmethod
    def of(cls, vectors: Mapping[UUID, Mapping[str, Vector]], dim: int, kind: Any) -> Photos:
        """From vectors by id and channel.

        Args:
            vectors: What is known.
            dim: D.
            kind: Type of a number, fp16 or fp32.
        """
        order = sorted(vectors, key=lambda each: each.bytes)
        image, gps = (np.zeros((len(order), dim), dtype=kind) for _ in range(2))
        for seat, each in enumerate(order):
            own = vectors[each]
            image[seat] = own[IMAGE_CHANNEL]
            if GPS_CHANNEL in own:
                gps[seat] = own[GPS_CHANNEL]
        ids = np.array([each.bytes for each in order], dtype="S16")
        return cls(ids=ids, image=image, gps=gps)

    def seats(self, ids: NDArray[np.bytes_]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Where photos stand, of any shape, and which of them are there at all."""
        if not len(self.ids):
            return np.zeros(ids.shape, dtype=np.intp), np.zeros(ids.shape, dtype=np.bool_)
        seats = np.searchsorted(self.ids, ids).clip(max=len(self.ids) - 1)
        return seats, self.ids[seats] == ids


def row_type(shape: Shape) -> np.dtype[Any]:
    """One question, without the vectors of its photos."""
    candidates = shape.candidates
    photos = (candidates, len(KINDS) * shape.per_kind)
    return np.dtype(
        [
            ("query", "f4", shape.dim),
            ("query_kind", "i2"),
            ("id", "S16", candidates),
            ("position", "f8", (candidates, 2)),
            ("kind", "i2", candidates),
            ("found", "?", (candidates, 2)),
            ("present", "?", candidates),
            ("near_id", "S16", photos),
            ("away_m", "f4", photos),
            ("bearing_deg", "f4", photos),
            ("age_years", "f4", photos),
            ("near_present", "?", photos),
        ]
    )


def write_row(
    row: Row,
    vector: Vector,
    kind: Kind | None,
    candidates: Sequence[Candidate],
    evidence: Mapping[UUID, Sequence[Evidence]],
) -> None:
    """Write a question into an empty row.

    Args:
        row: One row of `row_type` or of a type with more fields, all zeros.
        vector: Query `[D]`.
        kind: Of the query, where known.
        candidates: No more than there is room for.
        evidence: For candidates by id, nearest first; what there is no room for is left out.

    Raises:
        ValueError: More candidates than there is room for.
    """
    count, room = len(candidates), row["present"].shape[-1]
    if count > room:
        raise ValueError(f"{count} candidates do not fit into a row for {room}")
    row["query"] = vector
    row["query_kind"] = UNKNOWN_KIND if kind is None else _CODES.get(kind, UNKNOWN_KIND)
    row["present"][:count] = True
    row["id"][:count] = [each.id.bytes for each in candidates]
    row["position"][:count] = lat_lon([each.point for each in candidates])
    row["kind"][:count] = [_CODES[each.kind] for each in candidates]
    for channel, name in enumerate((IMAGE_CHANNEL, GPS_CHANNEL)):
        said = [each.channels.get(name) for each in candidates]
        row["found"][:count, channel] = [one is not None and one.rank is not None for one in said]
    per_kind = row["near_present"].shape[-1] // len(KINDS)
    places, photos, ages = [], [], []
    for seat, each in enumerate(candidates):
        taken = [0] * len(KINDS)
        for photo in evidence.get(each.id, ()):
            code = _CODES[photo.kind]
            if taken[code] == per_kind:
                continue
            places.append((seat, code * per_kind + taken[code]))
            taken[code] += 1
            photos.append(photo)
            ages.append(_apart_years(each.captured_at, photo.captured_at))
    if places:
        # Column by column: numpy takes as long for one number as for a hundred.
        at = tuple(np.array(places).T)
        row["near_id"][at] = [photo.id.bytes for photo in photos]
        row["away_m"][at] = [photo.distance_m for photo in photos]
        row["bearing_deg"][at] = [photo.bearing_deg for photo in photos]
        row["age_years"][at] = ages
        row["near_present"][at] = True


def _apart_years(one: datetime | None, other: datetime | None) -> float:
    """Years between two pictures; -1 where not known. Not from today: answers must not age."""
    if one is None or other is None:
        return -1.0
    return abs((one - other).total_seconds()) / _YEAR_S


def asked(rows: Row, photos: Photos) -> Asked:
    """Rows `[B]` as tensors; photos that are not known count as not there."""
    seats, known = photos.seats(rows["id"])
    near_seats, near_known = photos.seats(rows["near_id"])
    present, near = rows["present"] & known, rows["near_present"] & near_known
    per_kind = near.shape[-1] // len(KINDS)
    near_kind = np.broadcast_to(np.repeat(np.arange(len(KINDS)), per_kind), near.shape)
    dim = rows["query"].shape[-1]

    def vectors(table: NDArray[Any], at: NDArray[np.intp], there: NDArray[np.bool_]) -> Any:
        found = np.zeros((*at.shape, dim), dtype=np.float32)
        found[there] = table[at[there]]
        return torch.from_numpy(found)

    def plain(array: NDArray[Any], kind: Any) -> torch.Tensor:
        return torch.from_numpy(np.array(array, dtype=kind))

    return Asked(
        query=plain(rows["query"], np.float32),
        query_kind=plain(rows["query_kind"], np.int64),
        image=vectors(photos.image, seats, present),
        gps=vectors(photos.gps, seats, present),
        position=plain(rows["position"], np.float64),
        kind=plain(rows["kind"], np.int64),
        found=plain(rows["found"], np.bool_),
        present=plain(present, np.bool_),
        near=vectors(photos.image, near_seats, near & present[..., None]),
        near_kind=plain(near_kind, np.int64),
        away_m=plain(rows["away_m"], np.float32),
        bearing_deg=plain(rows["bearing_deg"], np.float32),
        age_years=plain(rows["age_years"], np.float32),
        near_present=plain(near & present[..., None], np.bool_),
    )


def photos_by_id(
    ids: NDArray[np.bytes_], numbers: NDArray[np.float32]
) -> tuple[Mapping[UUID, float], ...]:
    """What a net says of evidence photos, `[K, E]`, by their ids of a row; places without are out.

    Returns:
        `[K]` mappings.
    """
    return tuple(
        # numpy takes zeros off the end of bytes.
        {
            UUID(bytes=photo.ljust(16, b"\0")): number
            for photo, number in zip(own, said, strict=True)
            if photo
        }
        for own, said in zip(ids.tolist(), numbers.tolist(), strict=True)
    )


def moved(positions: NDArray[np.float64], offset_km: NDArray[np.float64]) -> list[Point]:
    """Places `[K, 2]` after a way east and north `[K, 2]` in the tangent plane."""
    east, north = offset_km[:, 0], offset_km[:, 1]
    away_m = 1_000.0 * np.hypot(east, north)
    there = destination(positions, np.degrees(np.arctan2(east, north)), away_m)
    # The record's own digits where nothing moves it, not their way through the sphere and back.
    there = np.where(away_m[:, None] > 0, there, positions)
    return [Point(lat=lat, lon=lon) for lat, lon in there.tolist()]
