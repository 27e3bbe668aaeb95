"""Reranker inputs: records to rows of a fixed shape, and rows to tensors.

Serving and training share this code. A row references gallery images by id instead of storing
their vectors, because thousands of queries share the same images.
Letters: B queries, K candidates, M evidence images per kind, E = M times the kinds, U images,
D vector width.
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
from pinpoint.nets.reranker.features import UNKNOWN_KIND, RerankBatch
from pinpoint.records import (
    GPS_CHANNEL,
    IMAGE_CHANNEL,
    RAW_CHANNEL,
    SOURCE_KINDS,
    Candidate,
    Evidence,
    Point,
    SourceKind,
    Vector,
)

_YEAR_S: Final = 365.25 * 86_400
_KIND_CODES: Final[Mapping[SourceKind, int]] = {
    kind: code for code, kind in enumerate(SOURCE_KINDS)
}

_CHANNELS: Final = (IMAGE_CHANNEL, GPS_CHANNEL, RAW_CHANNEL)
"""Columns of `in_channel`, as in `search.candidate_slots`."""
_NETWORK_CHANNELS: Final = 2
"""The network reads the first of them only, so its weights fit bundles with and without `raw`."""

InputRow = NDArray[Any]
"""Queries `[B]` of dtype `row_dtype`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputShape:
    """Capacity of a row: candidates, and evidence images per candidate and kind."""

    dim: int
    candidates: int
    per_kind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingTable:
    """Vectors of gallery images, sorted by id."""

    ids: NDArray[np.bytes_]
    """`[U]`, 16 bytes each."""
    image: NDArray[Any]
    """`[U, D]`."""
    gps: NDArray[Any]
    """Vectors of their positions `[U, D]`; zeros if there is none."""

    @classmethod
    def of(
        cls, vectors: Mapping[UUID, Mapping[str, Vector]], dim: int, dtype: Any
    ) -> EmbeddingTable:
        """Build from vectors by id and channel.

        Args:
            vectors: Vectors by id, then by channel.
            dim: D.
            dtype: fp16 or fp32.
        """
        order = sorted(vectors, key=lambda photo_id: photo_id.bytes)
        image, gps = (np.zeros((len(order), dim), dtype=dtype) for _ in range(2))
        for row, photo_id in enumerate(order):
            channels = vectors[photo_id]
            image[row] = channels[IMAGE_CHANNEL]
            if GPS_CHANNEL in channels:
                gps[row] = channels[GPS_CHANNEL]
        ids = np.array([photo_id.bytes for photo_id in order], dtype="S16")
        return cls(ids=ids, image=image, gps=gps)

    def lookup(self, ids: NDArray[np.bytes_]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
        """Row indices of ids (any shape), and a mask of the ids that exist."""
        if not len(self.ids):
            return np.zeros(ids.shape, dtype=np.intp), np.zeros(ids.shape, dtype=np.bool_)
        rows = np.searchsorted(self.ids, ids).clip(max=len(self.ids) - 1)
        return rows, self.ids[rows] == ids


def row_dtype(shape: InputShape) -> np.dtype[Any]:
    """Row dtype of one query, without the vectors of its images."""
    candidates = shape.candidates
    photos = (candidates, len(SOURCE_KINDS) * shape.per_kind)
    return np.dtype(
        [
            ("query", "f4", shape.dim),
            ("query_kind", "i2"),
            ("id", "S16", candidates),
            ("position", "f8", (candidates, 2)),
            ("kind", "i2", candidates),
            ("in_channel", "?", (candidates, len(_CHANNELS))),
            ("raw_score", "f4", candidates),
            ("present", "?", candidates),
            ("evidence_id", "S16", photos),
            ("evidence_distance_m", "f4", photos),
            ("bearing_deg", "f4", photos),
            ("age_years", "f4", photos),
            ("evidence_present", "?", photos),
        ]
    )


def write_row(
    row: InputRow,
    vector: Vector,
    kind: SourceKind | None,
    candidates: Sequence[Candidate],
    evidence: Mapping[UUID, Sequence[Evidence]],
) -> None:
    """Write a query into an empty row.

    Args:
        row: One row of `row_dtype` or of a dtype with more fields, all zeros.
        vector: Query `[D]`.
        kind: Source kind of the query, if known.
        candidates: At most the capacity of the row.
        evidence: By candidate id, nearest first; evidence beyond the capacity is omitted.

    Raises:
        ValueError: More candidates than the capacity of the row.
    """
    count, capacity = len(candidates), row["present"].shape[-1]
    if count > capacity:
        raise ValueError(f"{count} candidates do not fit into a row for {capacity}")
    row["query"] = vector
    row["query_kind"] = UNKNOWN_KIND if kind is None else _KIND_CODES.get(kind, UNKNOWN_KIND)
    row["present"][:count] = True
    row["id"][:count] = [candidate.id.bytes for candidate in candidates]
    row["position"][:count] = lat_lon([candidate.point for candidate in candidates])
    row["kind"][:count] = [_KIND_CODES[candidate.source_kind] for candidate in candidates]
    for channel, name in enumerate(_CHANNELS):
        hits = [candidate.channels.get(name) for candidate in candidates]
        in_channel = [hit is not None and hit.rank is not None for hit in hits]
        row["in_channel"][:count, channel] = in_channel
        if name == RAW_CHANNEL:
            row["raw_score"][:count] = [0.0 if hit is None else hit.score for hit in hits]
    per_kind = row["evidence_present"].shape[-1] // len(SOURCE_KINDS)
    slots, photos, ages = [], [], []
    for slot, candidate in enumerate(candidates):
        used = [0] * len(SOURCE_KINDS)
        for photo in evidence.get(candidate.id, ()):
            code = _KIND_CODES[photo.source_kind]
            if used[code] == per_kind:
                continue
            slots.append((slot, code * per_kind + used[code]))
            used[code] += 1
            photos.append(photo)
            ages.append(_years_between(candidate.captured_at, photo.captured_at))
    if slots:
        # Column by column: numpy needs as long for one value as for a hundred.
        index = tuple(np.array(slots).T)
        row["evidence_id"][index] = [photo.id.bytes for photo in photos]
        row["evidence_distance_m"][index] = [photo.distance_m for photo in photos]
        row["bearing_deg"][index] = [photo.bearing_deg for photo in photos]
        row["age_years"][index] = ages
        row["evidence_present"][index] = True


def _years_between(first: datetime | None, second: datetime | None) -> float:
    """Years between two dates; -1 if unknown. Not relative to today, so answers never change."""
    if first is None or second is None:
        return -1.0
    return abs((first - second).total_seconds()) / _YEAR_S


def to_rerank_batch(rows: InputRow, photos: EmbeddingTable) -> RerankBatch:
    """Rows `[B]` as tensors; images without vectors are masked."""
    image_rows, has_vector = photos.lookup(rows["id"])
    evidence_rows, has_evidence_vector = photos.lookup(rows["evidence_id"])
    present = rows["present"] & has_vector
    evidence_present = rows["evidence_present"] & has_evidence_vector & present[..., None]
    shape = evidence_present.shape
    per_kind = shape[-1] // len(SOURCE_KINDS)
    evidence_kind = np.broadcast_to(np.repeat(np.arange(len(SOURCE_KINDS)), per_kind), shape)
    dim = rows["query"].shape[-1]

    def vectors(table: NDArray[Any], table_rows: NDArray[np.intp], mask: NDArray[np.bool_]) -> Any:
        filled = np.zeros((*table_rows.shape, dim), dtype=np.float32)
        filled[mask] = table[table_rows[mask]]
        return torch.from_numpy(filled)

    def to_tensor(array: NDArray[Any], dtype: Any) -> torch.Tensor:
        return torch.from_numpy(np.array(array, dtype=dtype))

    return RerankBatch(
        query=to_tensor(rows["query"], np.float32),
        query_kind=to_tensor(rows["query_kind"], np.int64),
        image=vectors(photos.image, image_rows, present),
        gps=vectors(photos.gps, image_rows, present),
        position=to_tensor(rows["position"], np.float64),
        kind=to_tensor(rows["kind"], np.int64),
        in_channel=to_tensor(rows["in_channel"][..., :_NETWORK_CHANNELS], np.bool_),
        present=to_tensor(present, np.bool_),
        evidence=vectors(photos.image, evidence_rows, evidence_present),
        evidence_kind=to_tensor(evidence_kind, np.int64),
        evidence_distance_m=to_tensor(rows["evidence_distance_m"], np.float32),
        bearing_deg=to_tensor(rows["bearing_deg"], np.float32),
        age_years=to_tensor(rows["age_years"], np.float32),
        evidence_present=to_tensor(evidence_present, np.bool_),
    )


def attention_by_id(
    ids: NDArray[np.bytes_], attention: NDArray[np.float32]
) -> tuple[Mapping[UUID, float], ...]:
    """Attention to evidence `[K, E]` by image id; empty slots are omitted.

    Returns:
        `[K]` mappings.
    """
    return tuple(
        # numpy strips trailing zero bytes.
        {
            UUID(bytes=photo_id.ljust(16, b"\0")): share
            for photo_id, share in zip(candidate_ids, candidate_shares, strict=True)
            if photo_id
        }
        for candidate_ids, candidate_shares in zip(ids.tolist(), attention.tolist(), strict=True)
    )


def offset_positions(positions: NDArray[np.float64], offset_km: NDArray[np.float64]) -> list[Point]:
    """Positions `[K, 2]` moved by offsets east and north `[K, 2]` in the tangent plane."""
    east, north = offset_km[:, 0], offset_km[:, 1]
    distance_m = 1_000.0 * np.hypot(east, north)
    destinations = destination(positions, np.degrees(np.arctan2(east, north)), distance_m)
    # Without an offset, keep the exact digits of the record, without rounding on the sphere.
    destinations = np.where(distance_m[:, None] > 0, destinations, positions)
    return [Point(lat=lat, lon=lon) for lat, lon in destinations.tolist()]
