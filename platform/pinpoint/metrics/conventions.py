"""Conventions of public evaluators: distance, `<` or `<=`, GeoScore rounded or not.

Results are comparable only under the same convention, so every number is printed with its
convention. Letters: N rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike

from pinpoint.geo.distance import geodesics_m, haversine_m
from pinpoint.metrics.rows import BoolColumn, FloatColumn

Distance = Literal["haversine-6371", "haversine-6378.137", "geodesic-wgs84"]
Comparison = Literal["<", "<="]

RADII_M: Final[Mapping[str, float]] = MappingProxyType(
    {"haversine-6371": 6_371_000.0, "haversine-6378.137": 6_378_137.0}
)
"""Radii of the haversine distances: the rounded mean radius, and the equator of WGS84."""

_DISTANCE_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "haversine-6371": "haversine, R = 6371 km",
        "haversine-6378.137": "haversine, R = 6378.137 km",
        "geodesic-wgs84": "WGS84 geodesic",
    }
)


@dataclass(frozen=True, slots=True)
class Convention:
    """The convention of one evaluator.

    Raises:
        ValueError: Unknown distance or comparison.
    """

    name: str
    distance: Distance
    comparison: Comparison
    """Comparison of a distance with its threshold."""
    rounded: bool
    """Whether the GeoScore of each photo is rounded before the mean."""

    def __post_init__(self) -> None:
        if self.distance not in _DISTANCE_NAMES:
            raise ValueError(f"distance {self.distance!r} is none of {', '.join(_DISTANCE_NAMES)}")
        if self.comparison not in ("<", "<="):
            raise ValueError(f"comparison {self.comparison!r} is neither '<' nor '<='")

    def description(self) -> str:
        """Description for reports: `osv5m: haversine, R = 6371 km; d < t; …`."""
        score = "rounded per photo" if self.rounded else "not rounded"
        distance = _DISTANCE_NAMES[self.distance]
        return f"{self.name}: {distance}; d {self.comparison} threshold; GeoScore {score}"

    def within(self, distances_km: FloatColumn, threshold_km: float) -> BoolColumn:
        """Which distances count as correct; NaN (no answer) does not.

        Args:
            distances_km: `[...]`.
            threshold_km: Maximum distance of a correct answer.
        """
        distances = np.asarray(distances_km, dtype=np.float64)
        if self.comparison == "<":
            return np.asarray(distances < threshold_km)
        return np.asarray(distances <= threshold_km)


CONVENTIONS: Final[Mapping[str, Convention]] = MappingProxyType(
    {
        convention.name: convention
        for convention in (
            # GeoEstimation's factor for radians, 0.01745329252, is too small by a relative 3e-12.
            Convention("geoestimation", "haversine-6371", "<=", False),
            Convention("geoclip", "geodesic-wgs84", "<=", False),
            Convention("g3", "geodesic-wgs84", "<", False),
            Convention("osv5m", "haversine-6371", "<", False),
            Convention("pigeon", "haversine-6378.137", "<", True),
            Convention("pinpoint", "geodesic-wgs84", "<", True),
        )
    }
)
"""Public evaluators, according to their code: GeoEstimation, GeoCLIP, G3 (also GeoRanker), OSV-5M
(also PLONK), PIGEON, Pinpoint. The first three publish no GeoScore."""


def distances_km(
    ground_truth: ArrayLike, answers: ArrayLike, by: Convention | Distance
) -> FloatColumn:
    """Distances between answers and ground truth.

    Args:
        ground_truth: `[..., 2]` degrees, without NaN.
        answers: `[..., 2]` degrees, broadcast against `ground_truth`; both values are NaN for no
            answer. For candidates `[N, K, 2]`, pass `ground_truth` as `[N, 1, 2]`.
        by: A convention, or only its distance.

    Returns:
        `[...]` kilometers; NaN for no answer. A geodesic takes about 50 µs.

    Raises:
        ValueError: A position out of range or incomplete, NaN in `ground_truth`, unknown distance.
    """
    distance = by.distance if isinstance(by, Convention) else by
    if distance not in _DISTANCE_NAMES:
        raise ValueError(f"distance {distance!r} is none of {', '.join(_DISTANCE_NAMES)}")
    true_positions, answer_positions = np.broadcast_arrays(
        _check_positions(ground_truth, "ground_truth", gaps=False),
        _check_positions(answers, "answers", gaps=True),
    )
    error_m = (
        geodesics_m(true_positions, answer_positions)
        if distance == "geodesic-wgs84"
        else haversine_m(true_positions, answer_positions, RADII_M[distance])
    )
    return error_m / 1000.0


def _check_positions(values: ArrayLike, name: str, *, gaps: bool) -> FloatColumn:
    """Check that positions are in range; with `gaps`, both values may be NaN."""
    positions = np.asarray(values, dtype=np.float64)
    if positions.ndim < 1 or positions.shape[-1] != 2:
        raise ValueError(f"{name}: wanted [..., 2] latitudes and longitudes, got {positions.shape}")
    good = (np.abs(positions) <= (90.0, 180.0)).all(axis=-1)  # false for NaN, too
    if gaps:
        good |= np.isnan(positions).all(axis=-1)
    if not good.all():
        where = tuple(int(i) for i in np.argwhere(~good)[0])
        lat, lon = positions[where]
        raise ValueError(
            f"{name}: row {', '.join(map(str, where))} is ({lat}, {lon}); wanted latitude in "
            "[-90, 90] and longitude in [-180, 180]" + (", or NaN for both" if gaps else "")
        )
    return positions
