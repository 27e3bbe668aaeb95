"""Candidate slots: which of the retrieved images become candidates.

The rule combines spatial non-maximum suppression (spatial NMS: an image near a better image of the
same group is dropped), a quota of slots for each channel, and a quota for each source kind. Serving
applies it to the hits of one query, training to many cached queries from which images were removed.

Symbols: B queries, R retrieved images of a query, N images.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Flags
from pinpoint.geo.points import EARTH_RADIUS_M
from pinpoint.records import GPS_CHANNEL, RAW_CHANNEL, Contract
from pinpoint.settings import SearchSettings

Integers = NDArray[np.integer[Any]]

NUM_CHANNELS: Final = 3
IMAGE, GPS, RAW = 0, 1, 2
"""Columns of the channels in the arrays of this module."""


@dataclass(frozen=True, slots=True)
class CandidateSlots:
    """Number of candidates that are selected."""

    candidates: int
    gps_quota: int
    """Slots reserved for candidates of the channel `gps`."""
    raw_quota: int = 0
    """Slots reserved for candidates of the channel `raw`; with `gps_quota` at most all slots."""


@dataclass(frozen=True, slots=True)
class SpatialNms:
    """Spatial NMS of the images of one query: groups, positions, and minimum distance."""

    groups: Sequence[Hashable]
    """`[R]`; only images of the same group suppress each other."""
    unit_vectors: Sequence[Sequence[float]]
    """Positions on the unit sphere, `[R, 3]` (`geo.points.unit_xyz`)."""
    min_distance_m: float
    """Distance below which two images of one group are redundant; 0 keeps all."""


def divide_slots(settings: SearchSettings, candidates: int, contract: Contract) -> CandidateSlots:
    """Divide this number of candidates among the channels of a bundle, rounding quotas down.

    The paper (arXiv 2606.04133) has 12 candidates: 8 of `image`, 2 of `gps`, 2 of `raw`. If both
    quotas together exceed all slots, `gps` has precedence.
    """
    gps_fraction = settings.gps_channel_fraction if GPS_CHANNEL in contract.dims else 0.0
    raw_fraction = settings.raw_channel_fraction if RAW_CHANNEL in contract.dims else 0.0
    gps_quota = int(candidates * gps_fraction)
    raw_quota = min(int(candidates * raw_fraction), candidates - gps_quota)
    return CandidateSlots(candidates=candidates, gps_quota=gps_quota, raw_quota=raw_quota)


def assign_slots(
    retrieved: Flags,
    scores: NDArray[np.floating[Any]],
    kinds: Integers,
    slots: CandidateSlots,
    *,
    num_kinds: int,
    nms: SpatialNms | None = None,
) -> Flags:
    """Which images get a slot, `[B, R]`.

    The channel `image` fills all slots except the quotas of `gps` and `raw`. The quota of `gps`
    then goes to the best images of `gps` without a slot, and that of `raw` to those of `raw`, so an
    image of several channels uses one slot. A channel may also use the slots that the channels
    before it left empty; `image` fills the rest.

    Args:
        retrieved: `[B, R, 3]`, whether each channel retrieved the image.
        scores: `[B, R, 3]`, the score in each channel. Ties go to the first image of the row.
        kinds: `[B, R]`, source kinds as numbers below `num_kinds`.
        slots: Number of slots.
        num_kinds: Number of source kinds that share the slots.
        nms: Spatial NMS, for one query (B = 1); also applied between the channels. None if the
            images are already the result of it.
    """
    chosen = np.zeros(kinds.shape, dtype=np.bool_)
    for channel, limit in (
        (IMAGE, slots.candidates - slots.gps_quota - slots.raw_quota),
        (GPS, slots.candidates - slots.raw_quota),
        (RAW, slots.candidates),
        (IMAGE, slots.candidates),
    ):
        free = np.maximum(limit - chosen.sum(axis=1), 0)
        if not free.any():
            continue
        order = np.argsort(-scores[..., channel], axis=1, kind="stable")
        eligible = retrieved[..., channel] & ~chosen
        if nms is not None:
            eligible = _suppress_nearby(eligible[0], order[0], chosen[0], nms)[None]
        chosen |= _select_with_kind_quota(eligible, order, kinds, free, num_kinds)
    return chosen


def _suppress_nearby(
    eligible: Flags, order: NDArray[np.intp], chosen: Flags, nms: SpatialNms
) -> Flags:
    """The eligible images that are not near a chosen image or a better eligible one, `[R]`."""
    chord = 2.0 * math.sin(min(nms.min_distance_m / EARTH_RADIUS_M, math.pi) / 2.0)
    kept_by_group: dict[Hashable, list[Sequence[float]]] = defaultdict(list)
    for image in np.flatnonzero(chosen).tolist():
        kept_by_group[nms.groups[image]].append(nms.unit_vectors[image])
    kept = np.zeros_like(eligible)
    # In pure Python: groups are many and small, and one NumPy call costs as much as 50 pairs.
    for image in order[eligible[order]].tolist():
        kept_positions, position = kept_by_group[nms.groups[image]], nms.unit_vectors[image]
        if all(math.dist(position, other) >= chord for other in kept_positions):
            kept_positions.append(position)
            kept[image] = True
    return kept


def _select_with_kind_quota(
    eligible: Flags,
    order: NDArray[np.intp],
    kinds: Integers,
    free: NDArray[np.int64],
    num_kinds: int,
) -> Flags:
    """The best eligible images, with half of an equal share of the free slots kept per kind.

    Cosines of a photo to photos and to street views are not on the same scale. Without a reserved
    share, the kind with lower scores would never have a candidate.
    """
    quota = free // (2 * num_kinds)
    reserved = np.zeros_like(eligible)
    for kind in range(num_kinds):
        reserved |= _select_first(eligible & (kinds == kind), order, quota)
    rest = _select_first(eligible & ~reserved, order, free - reserved.sum(axis=1))
    return np.asarray(reserved | rest)


def _select_first(eligible: Flags, order: NDArray[np.intp], count: NDArray[np.int64]) -> Flags:
    """The first `count` eligible images in this order, `[B, R]`."""
    in_order = np.take_along_axis(eligible, order, axis=1)
    selected = in_order & (in_order.cumsum(axis=1) <= count[:, None])
    flags = np.zeros_like(eligible)
    np.put_along_axis(flags, order, selected, axis=1)
    return flags
