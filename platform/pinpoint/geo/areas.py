"""Where a mixture is dense: boxes in latitude and longitude that cover all that is above a level.

The Earth is cut into boxes, and boxes are cut for as long as bounds on the density leave
open on which side of the level they lie. No box crosses the antimeridian, and boxes end at the
poles, so what is made of them needs no cutting (RFC 7946, 3.1.9). Letters: M kernels, B boxes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.bells import Bells
from pinpoint.geo.kernels import EARTH_RADIUS_KM, Mixture, kappa, peaks
from pinpoint.geo.points import LatLon, unit_xyz

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]

_ROOT_DEG: Final = 45.0
_MOST_CUTS: Final = 21
"""Boxes of 4e-5 degrees: 5 m."""
_MOST_BOXES: Final = 40_000
"""Boxes looked at; beyond, the middle of a box decides for all of it."""
_EVEN: Final = 5.0
"""Where densities in a box differ by less than this factor, its middle decides for all of it."""
_HALVES: Final = ((0, 1, 4, 3), (4, 1, 2, 3))
_QUARTERS: Final = ((0, 1, 4, 5), (0, 5, 4, 3), (4, 1, 2, 5), (4, 5, 2, 3))
"""Edges of a box's parts among south, west, north, east and its middle latitude and longitude."""
_FAINT: Final = 0.01
"""Kernels that all together stay below this share of the level are left out."""


def boxes_above(mixture: Mixture, log_level: float) -> Floats:
    """Boxes that cover the places whose log density is at least `log_level`.

    Args:
        mixture: M kernels.
        log_level: Log of the density per km²; minus infinity takes the whole Earth.

    Returns:
        `[B, 4]` degrees: south, west, north, east; they do not overlap.
    """
    waiting, kept, seen = _roots(), [], 0
    level = float(np.exp(log_level))
    bells = _bells(mixture, level)
    for cut in range(_MOST_CUTS):
        seen += len(waiting)
        last = cut == _MOST_CUTS - 1 or seen > _MOST_BOXES
        inside, unsure, bells = _judged(bells, waiting, level, last=last)
        kept.append(waiting[inside])
        if not len(unsure):
            break
        waiting = _cut(waiting[unsure])
    return np.concatenate(kept)


def area_km2(boxes: Floats) -> float:
    """Area of boxes that do not overlap, on the sphere."""
    south, west, north, east = np.radians(boxes).T
    return float(((east - west) * (np.sin(north) - np.sin(south))).sum() * EARTH_RADIUS_KM**2)


def holds(boxes: Floats, positions: LatLon) -> NDArray[np.bool_]:
    """Which positions `[N, 2]` lie in one of the boxes, edges included: `[N]`."""
    lat, lon = positions[:, :1], positions[:, 1:]
    south, west, north, east = boxes.reshape(-1, 4).T
    inside = (south <= lat) & (lat <= north) & (west <= lon) & (lon <= east)
    return np.asarray(inside.any(axis=1))


def borders(boxes: Floats) -> Floats:
    """What parts the inside of boxes from the outside, as straight pieces between their corners.

    Args:
        boxes: `[B, 4]`, as `boxes_above` leaves them: they do not overlap.

    Returns:
        `[S, 2, 2]` both ends of each piece, latitude and longitude; no piece could be longer.
    """
    south, west, north, east = boxes.T
    side = np.repeat((1.0, -1.0), len(boxes))
    along = _one_sided(np.append(south, north), np.tile(west, 2), np.tile(east, 2), side)
    up = _one_sided(np.append(west, east), np.tile(south, 2), np.tile(north, 2), side)
    return np.concatenate([along, up[..., ::-1]])


def _one_sided(at: Floats, low: Floats, high: Floats, side: Floats) -> Floats:
    """Edges on lines `at`, from `low` to `high`: where they have a box on one side only.

    Edges of neighbours have opposite signs and are equal to the bit, so sums along a line cancel.
    """
    ends, seat = np.unique(np.tile(at, 2) + 1j * np.concatenate([low, high]), return_inverse=True)
    change = np.bincount(seat, weights=np.concatenate([side, -side]))
    turns = np.flatnonzero(change)
    ends, open_ = ends[turns], np.flatnonzero(np.cumsum(change[turns]))
    pieces = np.stack([ends[open_], ends[open_ + 1]], axis=1)
    return np.stack([pieces.real, pieces.imag], axis=-1)


def _roots() -> Floats:
    south, west = np.meshgrid(
        np.arange(-90.0, 90.0, _ROOT_DEG), np.arange(-180.0, 180.0, _ROOT_DEG), indexing="ij"
    )
    south, west = south.ravel(), west.ravel()
    return np.stack([south, west, south + _ROOT_DEG, west + _ROOT_DEG], axis=1)


def _cut(boxes: Floats) -> Floats:
    """Each box as four, or as two where it is thin: towards the poles meridians draw together.

    Halves of binary fractions are exact, so neighbours share their edges.
    """
    south, west, north, east = boxes.T
    thin = (east - west) * _widest(boxes) < (north - south) / 2.0
    edges = np.column_stack([boxes, (south + north) / 2.0, (west + east) / 2.0])
    parts = (edges[thin][:, _HALVES], edges[~thin][:, _QUARTERS])
    return np.concatenate([part.swapaxes(0, 1).reshape(-1, 4) for part in parts])


def _widest(boxes: Floats) -> Floats:
    """Cosine of each box's latitude nearest to the equator, or of the nearer edge's: `[B]`."""
    return np.asarray(np.cos(np.radians(np.abs(boxes[:, ::2]).min(axis=1))))


def _bells(mixture: Mixture, level: float) -> Bells:
    """The kernels that matter at this level."""
    peak = peaks(mixture)
    order = np.argsort(peak)
    peak[order[np.cumsum(peak[order]) <= _FAINT * level]] = 0.0
    return Bells.of(mixture.centres, kappa(mixture.radii_km), peak)


def _judged(
    bells: Bells, boxes: Floats, level: float, *, last: bool
) -> tuple[Indices, Indices, Bells]:
    """Which boxes lie above the level, which are to be cut, and the kernels that matter in these.

    The bounds: by the triangle inequality of chords no place in a box is nearer to a centre, or
    further from it, than the box's middle is, by more than the reach of its furthest corner.
    """
    middle = np.column_stack([boxes[:, ::2].mean(axis=1), boxes[:, 1::2].mean(axis=1)])
    squared = bells.squared_chords(unit_xyz(middle))
    if last:
        return np.flatnonzero(bells.density(squared) >= level), np.array([], dtype=np.intp), bells
    high, wide = np.sin(np.radians((boxes[:, 2:] - boxes[:, :2]) / 4.0)).T
    across = np.cos(np.radians(middle[:, 0])) * _widest(boxes)
    reach = 2.0 * np.sqrt(np.square(high) + across * np.square(wide))
    away = np.sqrt(squared)
    nearest = np.square(np.maximum(away - reach, 0.0))
    most = bells.density(nearest)
    # Each bound is asked of those boxes alone that the one before leaves open.
    open_ = np.flatnonzero(most >= level)
    least = bells.density(np.square(np.minimum(away[:, open_] + reach[open_], 2.0)))
    inside, open_, spread = open_[least >= level], open_[least < level], least[least < level]
    uneven = most[open_] > _EVEN * spread
    unsure, even = open_[uneven], open_[~uneven]
    even = even[bells.density(squared[:, even]) >= level]
    if len(unsure):
        bells = bells.heard(nearest[:, unsure].min(axis=1))
    return np.sort(np.concatenate([inside, even])), unsure, bells
