"""How the field's evaluators measure: which distance, `<` or `<=`, GeoScore rounded or not.

Figures of two evaluators are comparable only under one convention, so every number is printed
with the words of its own. Letters: N rows.
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
"""Spheres of the haversine distances: the round mean radius, and the equator of WGS84."""

_WORDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "haversine-6371": "haversine, R = 6371 km",
        "haversine-6378.137": "haversine, R = 6378.137 km",
        "geodesic-wgs84": "WGS84 geodesic",
    }
)


@dataclass(frozen=True, slots=True)
class Convention:
    """One evaluator's way to measure.

    Raises:
        ValueError: A distance or comparison that does not exist.
    """

    name: str
    distance: Distance
    comparison: Comparison
    """Between a distance and its threshold."""
    rounded: bool
    """Whether the GeoScore of each photo is rounded before the mean."""

    def __post_init__(self) -> None:
        if self.distance not in _WORDS:
            raise ValueError(f"distance {self.distance!r} is none of {', '.join(_WORDS)}")
        if self.comparison not in ("<", "<="):
            raise ValueError(f"comparison {self.comparison!r} is neither '<' nor '<='")

    def words(self) -> str:
        """What is printed beside a number: `osv5m: haversine, R = 6371 km; d < t; …`."""
        score = "rounded per photo" if self.rounded else "not rounded"
        return (
            f"{self.name}: {_WORDS[self.distance]}; d {self.comparison} threshold; GeoScore {score}"
        )

    def within(self, distances_km: FloatColumn, threshold_km: float) -> BoolColumn:
        """Which distances count as right; NaN (no answer) does not.

        Args:
            distances_km: `[...]`.
            threshold_km: The distance a right answer may be off.
        """
        distances = np.asarray(distances_km, dtype=np.float64)
        if self.comparison == "<":
            return np.asarray(distances < threshold_km)
        return np.asarray(distances <= threshold_km)


CONVENTIONS: Final[Mapping[str, Convention]] = MappingProxyType(
    {
        each.name: each
        for each in (
            # GeoEstimation's factor for radians, 0.01745329252, is short by 3e-12 of itself.
            Convention("geoestimation", "haversine-6371", "<=", False),
            Convention("geoclip", "geodesic-wgs84", "<=", False),
            Convention("g3", "geodesic-wgs84", "<", False),
            Convention("osv5m", "haversine-6371", "<", False),
            Convention("pigeon", "haversine-6378.137", "<", True),
            Convention("pinpoint", "geodesic-wgs84", "<", True),
        )
    }
)
"""The public evaluators, as read in their code: GeoEstimation, GeoCLIP, G3 (GeoRanker measures
alike), OSV-5M (PLONK alike), PIGEON, Pinpoint. The first three publish no GeoScore."""


def distances_km(truth: ArrayLike, answers: ArrayLike, by: Convention | Distance) -> FloatColumn:
    """How far answers are off.

    Args:
        truth: `[..., 2]` degrees, all known.
        answers: `[..., 2]` degrees, broadcast against `truth`; a row without an answer is NaN
            twice. For candidates `[N, K, 2]`, pass the truth as `[N, 1, 2]`.
        by: A convention, or just its distance.

    Returns:
        `[...]` kilometres; NaN where there is no answer. Geodesics take about 50 µs each.

    Raises:
        ValueError: A position out of range or half known, an unknown truth or distance.
    """
    distance = by.distance if isinstance(by, Convention) else by
    if distance not in _WORDS:
        raise ValueError(f"distance {distance!r} is none of {', '.join(_WORDS)}")
    left, right = np.broadcast_arrays(
        _check_positions(truth, "truth", gaps=False),
        _check_positions(answers, "answers", gaps=True),
    )
    off_m = (
        geodesics_m(left, right)
        if distance == "geodesic-wgs84"
        else haversine_m(left, right, RADII_M[distance])
    )
    return off_m / 1000.0


def _check_positions(values: ArrayLike, name: str, *, gaps: bool) -> FloatColumn:
    """Positions in range; with `gaps`, NaN twice for none."""
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
