"""Areas of countries, for a filter: Natural Earth 1:10m with a margin, simplified outward.

`docs/hooks/convert_country_borders.py` writes the file and states its sources. The territory of a
country is inside its area, and so are places across a border at most `Country.reach_km` away.
Natural Earth draws the borders as they are in fact; disputed parts are inside the areas of all
countries that claim them.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from pinpoint.records import Point, Polygon

_FILE: Final = Path(__file__).parent / "shipped" / "country_areas.json"
_OTHER_CODES: Final[Mapping[str, str]] = {"UK": "GB", "EL": "GR", "TP": "TL", "BU": "MM"}
"""Codes in use or withdrawn that ISO 3166-1 reserves for a country of another code."""
BORDERS_SOURCE: Final = "Natural Earth 4.1.0, Admin 0 countries 1:10m (public domain)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Country:
    """A country or territory with an ISO 3166-1 code, and its area."""

    code: str
    """ISO 3166-1 alpha-2; `XK` for Kosovo, as users of ISO 3166 agreed."""
    alpha_3: str
    name: str
    """English name."""
    reach_km: float
    """Greatest distance of a corner of the area from the territory, measured; error 2 km."""
    polygons: tuple[Polygon, ...]

    @property
    def num_positions(self) -> int:
        """Number of positions of the area, over all rings."""
        return sum(
            len(ring) for polygon in self.polygons for ring in (polygon.exterior, *polygon.holes)
        )


@cache
def countries() -> Mapping[str, Country]:
    """All countries by code, in the order of their codes."""
    document = json.loads(_FILE.read_text(encoding="utf-8"))
    return {
        code: Country(
            code=code,
            alpha_3=row["alpha_3"],
            name=row["name"],
            reach_km=row["reach_km"],
            polygons=tuple(_to_polygon(rings) for rings in row["polygons"]),
        )
        for code, row in document["countries"].items()
    }


def find_country(code: str) -> Country:
    """The country of an ISO 3166-1 alpha-2 code, in upper or lower case.

    Raises:
        ValueError: There is no such code, or it has no area; the message has the nearest code.
    """
    country = countries().get(code.upper())
    if country is None:
        nearest = find_nearest_country(code)
        raise ValueError(
            f"{code[:40]!r} is no country code of ISO 3166-1 alpha-2; the nearest is "
            f"{nearest.code} ({nearest.name})"
        )
    return country


def list_country_polygons(codes: Sequence[str]) -> tuple[Polygon, ...]:
    """The areas of countries together.

    Raises:
        ValueError: There is no such code.
    """
    return tuple(polygon for code in codes for polygon in find_country(code).polygons)


def find_nearest_country(text: str) -> Country:
    """The country that a wrong code most probably means.

    Args:
        text: A reserved code (`UK`), an alpha-3 code (`FRA`), a name (`France`), or another text,
            for which the most similar code or name is chosen.
    """
    upper = text[:40].upper()
    by_code = countries()
    keys = {
        **{country.name.upper(): country for country in by_code.values()},
        **{country.alpha_3: country for country in by_code.values()},
        **by_code,
        **{other: by_code[code] for other, code in _OTHER_CODES.items()},
    }
    nearest = difflib.get_close_matches(upper, keys, n=1, cutoff=0.0)
    return keys[nearest[0]]


def _to_polygon(rings: list[list[list[float]]]) -> Polygon:
    exterior, *holes = (tuple(Point(lat, lon) for lon, lat in ring) for ring in rings)
    return Polygon(exterior=exterior, holes=tuple(holes))
