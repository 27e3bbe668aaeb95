"""Where a mixture is dense: boxes in latitude and longitude that cover all that is above a level.

The Earth is cut into boxes, and boxes are cut for as long as bounds on the density leave
open on which side of the level they lie. No box crosses the antimeridian, and boxes end at the
poles, so what is made of them needs no cutting (RFC 7946, 3.1.9). Letters: M kernels, B boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.kernels import EARTH_RADIUS_KM, Mixture, kappa, peaks
from pinpoint.geo.points import LatLon, unit_xyz

Floats = NDArray[np.float64]

_ROOT_DEG: Final = 45.0
_MOST_CUTS: Final = 21
"""Boxes of 4e-5 degrees: 5 m."""
_MOST_BOXES: Final = 40_000
"""Boxes looked at; beyond, the middle of a box decides for all of it."""
_EVEN: Final = 5.0
"""Where densities in a box differ by less than this factor, its middle decides for all of it."""
_FAINT: Final = 0.01
"""Kernels that all together stay below this share of the level are left out."""


@dataclass(frozen=True, slots=True, eq=False)
class _Bells:
    """Kernels as functions of the chord: `peak · exp(fall · chord²)`."""

    xyz: Floats
    """`[M, 3]`."""
    fall: Floats
    """`[M]`, negative."""
    peak: Floats
    """`[M]`, density per km² at the centre."""

    def density(self, chords: Floats) -> Floats:
        """`[B]` from chords `[B, M]`."""
        return np.asarray(np.exp(self.fall * np.square(chords)) @ self.peak)


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
        inside, unsure = _judged(bells, waiting, level, last=last)
        kept.append(waiting[inside])
        waiting = _cut(waiting[unsure])
        if not len(waiting):
            break
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
    lat, lon = (south + north) / 2.0, (west + east) / 2.0
    widest = np.cos(np.radians(np.minimum(np.abs(south), np.abs(north))))
    thin = (east - west) * widest < (north - south) / 2.0
    halves = [(south, west, lat, east), (lat, west, north, east)]
    quarters = [(south, west, lat, lon), (south, lon, lat, east)]
    quarters += [(lat, west, north, lon), (lat, lon, north, east)]
    return np.concatenate(
        [
            np.stack(part, axis=1)[own]
            for parts, own in ((halves, thin), (quarters, ~thin))
            for part in parts
        ]
    )


def _bells(mixture: Mixture, level: float) -> _Bells:
    """The kernels that matter at this level."""
    peak = peaks(mixture)
    order = np.argsort(peak)
    loud = order[np.cumsum(peak[order]) > _FAINT * level]
    return _Bells(
        xyz=unit_xyz(mixture.centres[loud]),
        fall=kappa(mixture.radii_km[loud]) / -2.0,
        peak=peak[loud],
    )


def _judged(
    bells: _Bells, boxes: Floats, level: float, *, last: bool
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which boxes lie above the level, and which are to be cut: `[B]` each.

    The bounds: by the triangle inequality of chords no place in a box is nearer to a centre, or
    further from it, than the box's middle is, by more than the reach of its furthest corner.
    """
    south, west, north, east = boxes.T
    middle = unit_xyz(np.stack([(south + north) / 2.0, (west + east) / 2.0], axis=1))
    corners = [unit_xyz(np.stack(pair, axis=1)) for pair in ((south, west), (north, west))]
    reach = np.max([np.linalg.norm(middle - corner, axis=1) for corner in corners], axis=0)[:, None]
    away = np.zeros((len(boxes), len(bells.peak)))
    for axis, centre in enumerate(bells.xyz.T):
        away += np.square(np.subtract.outer(middle[:, axis], centre))
    away = np.sqrt(away)
    above = bells.density(away) >= level
    if last:
        return above, np.zeros_like(above)
    least = bells.density(np.minimum(away + reach, 2.0))
    most = bells.density(np.maximum(away - reach, 0.0))
    unsure = (least < level) & (most >= level) & (most > _EVEN * least)
    return above & ~unsure, unsure
