"""Highest-density region (HDR) of a mixture, as boxes in latitude and longitude.

The Earth is split into boxes. A box is subdivided while bounds on the density in it do not decide
whether it is above the level. No box crosses the antimeridian or a pole, so polygons made of boxes
need no splitting (RFC 7946, 3.1.9). Letters: M kernels, B boxes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Floats
from pinpoint.geo.kernels import EARTH_RADIUS_KM, Mixture, kappa, peak_densities
from pinpoint.geo.points import LatLonArray, unit_xyz
from pinpoint.geo.vmf_sum import KernelSum

Indices = NDArray[np.intp]

_ROOT_BOX_DEG: Final = 45.0
_MAX_SUBDIVISIONS: Final = 21
"""Boxes of 4e-5 degrees: 5 m."""
_MAX_BOXES: Final = 40_000
"""Beyond this number of boxes the density at the center decides for the whole box."""
_UNIFORM_RATIO: Final = 5.0
"""If the densities in a box differ by less than this factor, its center decides for the box."""
_HALVES: Final = ((0, 1, 4, 3), (4, 1, 2, 3))
_QUARTERS: Final = ((0, 1, 4, 5), (0, 5, 4, 3), (4, 1, 2, 5), (4, 5, 2, 3))
"""Indices of a part's edges among south, west, north, east, middle latitude, middle longitude."""
_NEGLIGIBLE_SHARE: Final = 0.01
"""Kernels whose sum stays below this share of the level are ignored."""


def hdr_boxes(mixture: Mixture, log_level: float) -> Floats:
    """Boxes that cover the positions whose log density is at least `log_level`.

    Args:
        mixture: M kernels.
        log_level: Log of the density per km²; minus infinity selects the whole Earth.

    Returns:
        `[B, 4]` degrees: south, west, north, east; boxes do not overlap.
    """
    open_boxes, inside_boxes, num_boxes = _make_root_boxes(), [], 0
    level = float(np.exp(log_level))
    kernels = _select_kernels(mixture, level)
    for subdivision in range(_MAX_SUBDIVISIONS):
        num_boxes += len(open_boxes)
        last = subdivision == _MAX_SUBDIVISIONS - 1 or num_boxes > _MAX_BOXES
        inside, undecided, kernels = _classify_boxes(kernels, open_boxes, level, last=last)
        inside_boxes.append(open_boxes[inside])
        if not len(undecided):
            break
        open_boxes = _subdivide_boxes(open_boxes[undecided])
    return np.concatenate(inside_boxes)


def area_km2(boxes: Floats) -> float:
    """Area of boxes that do not overlap, on the sphere."""
    south, west, north, east = np.radians(boxes).T
    return float(((east - west) * (np.sin(north) - np.sin(south))).sum() * EARTH_RADIUS_KM**2)


def contains_positions(boxes: Floats, positions: LatLonArray) -> NDArray[np.bool_]:
    """Whether each position `[N, 2]` is in one of the boxes, edges included: `[N]`."""
    lat, lon = positions[:, :1], positions[:, 1:]
    south, west, north, east = boxes.reshape(-1, 4).T
    inside = (south <= lat) & (lat <= north) & (west <= lon) & (lon <= east)
    return np.asarray(inside.any(axis=1))


def outline_boxes(boxes: Floats) -> Floats:
    """Outline of a union of boxes, as straight line segments between corners.

    Args:
        boxes: `[B, 4]` from `hdr_boxes`: they do not overlap.

    Returns:
        `[S, 2, 2]` both ends of each segment, latitude and longitude; collinear ones are joined.
    """
    south, west, north, east = boxes.T
    side = np.repeat((1.0, -1.0), len(boxes))
    along = _find_one_sided_edges(np.append(south, north), np.tile(west, 2), np.tile(east, 2), side)
    up = _find_one_sided_edges(np.append(west, east), np.tile(south, 2), np.tile(north, 2), side)
    return np.concatenate([along, up[..., ::-1]])


def _find_one_sided_edges(at: Floats, low: Floats, high: Floats, side: Floats) -> Floats:
    """Parts of edges on lines `at`, from `low` to `high`, that have a box on one side only.

    Shared edges of adjacent boxes have opposite signs and equal bits, so sums along a line cancel.
    """
    ends, end_index = np.unique(
        np.tile(at, 2) + 1j * np.concatenate([low, high]), return_inverse=True
    )
    change = np.bincount(end_index, weights=np.concatenate([side, -side]))
    turns = np.flatnonzero(change)
    ends, open_ = ends[turns], np.flatnonzero(np.cumsum(change[turns]))
    pieces = np.stack([ends[open_], ends[open_ + 1]], axis=1)
    return np.stack([pieces.real, pieces.imag], axis=-1)


def _make_root_boxes() -> Floats:
    south, west = np.meshgrid(
        np.arange(-90.0, 90.0, _ROOT_BOX_DEG),
        np.arange(-180.0, 180.0, _ROOT_BOX_DEG),
        indexing="ij",
    )
    south, west = south.ravel(), west.ravel()
    return np.stack([south, west, south + _ROOT_BOX_DEG, west + _ROOT_BOX_DEG], axis=1)


def _subdivide_boxes(boxes: Floats) -> Floats:
    """Split each box into four, or into two if it is narrow: meridians converge towards the poles.

    Halves of binary fractions are exact, so adjacent boxes share their edges.
    """
    south, west, north, east = boxes.T
    thin = (east - west) * _max_cos_latitude(boxes) < (north - south) / 2.0
    edges = np.column_stack([boxes, (south + north) / 2.0, (west + east) / 2.0])
    parts = (edges[thin][:, _HALVES], edges[~thin][:, _QUARTERS])
    return np.concatenate([part.swapaxes(0, 1).reshape(-1, 4) for part in parts])


def _max_cos_latitude(boxes: Floats) -> Floats:
    """Largest cosine of the latitudes of each box's north and south edge: `[B]`."""
    return np.asarray(np.cos(np.radians(np.abs(boxes[:, ::2]).min(axis=1))))


def _select_kernels(mixture: Mixture, level: float) -> KernelSum:
    """The kernels that are not negligible at this level."""
    peak = peak_densities(mixture)
    order = np.argsort(peak)
    peak[order[np.cumsum(peak[order]) <= _NEGLIGIBLE_SHARE * level]] = 0.0
    return KernelSum.of(mixture.centers, kappa(mixture.radii_km), peak)


def _classify_boxes(
    kernels: KernelSum, boxes: Floats, level: float, *, last: bool
) -> tuple[Indices, Indices, KernelSum]:
    """Boxes above the level, boxes to subdivide, and the kernels that matter in the latter.

    Bounds: by the triangle inequality of chords, the distance from a kernel center to any position
    in a box differs from the distance to the box's center by at most the reach of its corners.
    """
    middle = np.column_stack([boxes[:, ::2].mean(axis=1), boxes[:, 1::2].mean(axis=1)])
    squared = kernels.squared_chords(unit_xyz(middle))
    if last:
        return (
            np.flatnonzero(kernels.density(squared) >= level),
            np.array([], dtype=np.intp),
            kernels,
        )
    high, wide = np.sin(np.radians((boxes[:, 2:] - boxes[:, :2]) / 4.0)).T
    across = np.cos(np.radians(middle[:, 0])) * _max_cos_latitude(boxes)
    reach = 2.0 * np.sqrt(np.square(high) + across * np.square(wide))
    distance = np.sqrt(squared)
    nearest = np.square(np.maximum(distance - reach, 0.0))
    upper_bound = kernels.density(nearest)
    # Each bound is computed only for the boxes that the previous bound did not decide.
    open_ = np.flatnonzero(upper_bound >= level)
    lower_bound = kernels.density(np.square(np.minimum(distance[:, open_] + reach[open_], 2.0)))
    inside, open_, open_lower_bound = (
        open_[lower_bound >= level],
        open_[lower_bound < level],
        lower_bound[lower_bound < level],
    )
    uneven = upper_bound[open_] > _UNIFORM_RATIO * open_lower_bound
    undecided, even = open_[uneven], open_[~uneven]
    even = even[kernels.density(squared[:, even]) >= level]
    if len(undecided):
        kernels = kernels.select_active(nearest[:, undecided].min(axis=1))
    return np.sort(np.concatenate([inside, even])), undecided, kernels
