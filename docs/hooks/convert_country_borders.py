"""Converts the borders of Natural Earth to `pinpoint/geo/shipped/country_areas.json`.

    npm pack world-atlas@2.0.2 i18n-iso-countries@7.14.0   # and unpack both
    python docs/hooks/convert_country_borders.py WORLD_ATLAS ISO_COUNTRIES FILE

Borders: Natural Earth 4.1.0, Admin 0 countries 1:10m, public domain, as TopoJSON of the npm package
world-atlas 2.0.2 (ISC). Codes and English names: i18n-iso-countries 7.14.0 (MIT). The output is the
same at each run.

An area is the territory with a margin of `MARGIN_KM`, so that a photo at a coast or on a pier stays
inside, and then simplified outward until it has at most `MAX_POSITIONS` positions. It never loses
a part of the territory.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import shapely
from shapely.affinity import scale, translate

MARGIN_KM: Final = 5.0
MAX_POSITIONS: Final = 240
"""Positions of one area; four countries then are a query that the index answers quickly."""
MAX_POSITIONS_OF_LARGE: Final = 480
"""Positions of an area that would otherwise be simplified by more than `LARGE_TOLERANCE_KM`."""
LARGE_TOLERANCE_KM: Final = 15.0
_KM_PER_DEGREE: Final = 111.195
_DECIMALS: Final = 3
_ISLET_DEG: Final = 0.003
_TOLERANCES_KM: Final = tuple(2.0 * 1.25**step for step in range(24))

_WITHOUT_CODE: Final = {
    "Akrotiri": ("CY",),
    "Baikonur": ("KZ",),
    "Bajo Nuevo Bank": ("CO",),
    "Clipperton I.": ("FR",),
    "Coral Sea Is.": ("AU",),
    "Cyprus U.N. Buffer Zone": ("CY",),
    "Dhekelia": ("CY",),
    "Indian Ocean Ter.": ("CC", "CX"),
    "Kosovo": ("XK",),
    "N. Cyprus": ("CY",),
    "Scarborough Reef": ("CN", "PH"),
    "Serranilla Bank": ("CO",),
    "Siachen Glacier": ("IN", "PK"),
    "Somaliland": ("SO",),
    "Spratly Is.": ("CN", "MY", "PH", "TW", "VN"),
    "USNB Guantanamo Bay": ("CU",),
}
"""Features without an ISO code → countries whose territory they are, or that claim them."""

_MOVED: Final = (
    ("FR", "GF", (-55.0, 2.0, -51.0, 6.5)),
    ("FR", "GP", (-62.0, 15.7, -60.9, 16.6)),
    ("FR", "MQ", (-61.3, 14.3, -60.7, 15.0)),
    ("FR", "RE", (55.0, -21.5, 56.0, -20.7)),
    ("FR", "YT", (44.9, -13.1, 45.4, -12.5)),
    ("NL", "BQ", (-69.0, 11.8, -62.8, 17.8)),
    ("NO", "SJ", (-10.0, 70.5, -7.5, 71.5)),
    ("NO", "SJ", (10.0, 74.0, 35.0, 81.0)),
    ("NO", "BV", (3.0, -55.0, 4.0, -54.0)),
    ("NZ", "TK", (-173.0, -9.6, -171.0, -8.3)),
    ("CC", "CX", (105.0, -11.0, 106.0, -10.0)),
    ("CX", "CC", (96.0, -13.0, 98.0, -11.0)),
)
"""Parts with an ISO code of their own, which Natural Earth counts as another country: country,
code of the part, box (west, south, east, north) in degrees."""

_SHARED: Final = (
    ("RU", "UA", (32.3, 44.2, 36.7, 46.3)),  # Crimea
    ("MA", "EH", (-17.5, 20.7, -8.6, 27.667)),  # Western Sahara west of the berm
    ("EH", "MA", (-17.5, 20.7, -8.6, 27.667)),
    ("CN", "IN", (76.5, 34.0, 80.5, 36.0)),  # Aksai Chin
    ("IN", "CN", (91.5, 26.6, 97.5, 29.6)),  # Arunachal Pradesh
    ("IN", "PK", (73.0, 32.2, 80.5, 36.9)),  # Jammu, Kashmir, Ladakh
    ("PK", "IN", (72.5, 32.7, 77.9, 37.1)),  # Azad Kashmir, Gilgit-Baltistan
    ("IL", "SY", (35.6, 32.6, 36.0, 33.4)),  # Golan Heights
    ("XK", "RS", (-180.0, -90.0, 180.0, 90.0)),
    ("TW", "CN", (-180.0, -90.0, 180.0, 90.0)),
    ("FK", "AR", (-180.0, -90.0, 180.0, 90.0)),
    ("EG", "SD", (33.0, 21.9, 37.5, 23.2)),  # Hala'ib Triangle
    ("SD", "EG", (33.0, 21.9, 37.5, 23.2)),
)
"""Disputed parts, which belong to the areas of both: country of Natural Earth, claimant, box."""


def read_territories(world_atlas: Path, codes: dict[str, str]) -> dict[str, shapely.Geometry]:
    """Read the territory of each ISO 3166-1 alpha-2 code, longitude first, in degrees.

    Args:
        world_atlas: Unpacked package.
        codes: ISO 3166-1 numeric → alpha-2.
    """
    topology = json.loads((world_atlas / "countries-10m.json").read_text())
    arcs = [list(_decode_arc(arc, topology["transform"])) for arc in topology["arcs"]]
    parts: dict[str, list[shapely.Geometry]] = defaultdict(list)
    for feature in topology["objects"]["countries"]["geometries"]:
        name = feature["properties"]["name"]
        numeric = feature.get("id")
        targets = _WITHOUT_CODE[name] if numeric is None else (codes[numeric],)
        for code in targets:
            parts[code] += _to_polygons(feature, arcs)
    territories = {code: shapely.union_all(polygons) for code, polygons in parts.items()}
    for country, code, box in _MOVED:
        part = shapely.intersection(territories[country], shapely.box(*box))
        territories[country] = shapely.difference(territories[country], shapely.box(*box))
        territories[code] = shapely.union_all([territories.get(code, shapely.Polygon()), part])
    original = dict(territories)
    for country, claimant, box in _SHARED:
        part = shapely.intersection(original[country], shapely.box(*box))
        territories[claimant] = shapely.union_all([territories[claimant], part])
    return {code: territories[code] for code in sorted(territories)}


def make_area(territory: shapely.Geometry) -> tuple[shapely.MultiPolygon, float]:
    """The area of a territory with its margin, and the tolerance of its simplification in km."""
    for tolerance_km in _TOLERANCES_KM:
        parts = [_widen_part(part, tolerance_km) for part in shapely.get_parts(territory)]
        merged = _drop_holes(shapely.union_all(parts), tolerance_km)
        simplified = shapely.union_all(
            [_simplify(part, tolerance_km) for part in shapely.get_parts(merged)]
        )
        area = shapely.set_precision(
            shapely.intersection(simplified, shapely.box(-180, -90, 180, 90)), 10.0**-_DECIMALS
        )
        polygons = [part for part in shapely.get_parts(area) if part.geom_type == "Polygon"]
        area = shapely.MultiPolygon(polygons)
        is_large = tolerance_km > LARGE_TOLERANCE_KM
        limit = MAX_POSITIONS_OF_LARGE if is_large else MAX_POSITIONS
        if shapely.get_num_coordinates(area) <= limit and area.covers(territory):
            return area, tolerance_km
    raise ValueError("the area needs too many positions")


def measure_reach_km(area: shapely.MultiPolygon, territory: shapely.Geometry) -> float:
    """Greatest distance of a corner of the area from the territory, with an error of 2 km."""
    coarse = shapely.simplify(territory, 0.01)
    reach_km = 0.0
    for lon, lat in shapely.get_coordinates(area):
        factor = math.cos(math.radians(min(abs(lat), 89.0)))
        flat = scale(coarse, factor, 1.0, origin=(0, 0))
        distance_deg = shapely.distance(flat, shapely.Point(lon * factor, lat))
        reach_km = max(reach_km, distance_deg * _KM_PER_DEGREE)
    return reach_km


def _decode_arc(arc: list[list[int]], transform: dict[str, Any]) -> Iterator[tuple[float, float]]:
    (scale_x, scale_y), (offset_x, offset_y) = transform["scale"], transform["translate"]
    x = y = 0
    for delta_x, delta_y in arc:
        x, y = x + delta_x, y + delta_y
        yield x * scale_x + offset_x, y * scale_y + offset_y


def _to_polygons(feature: dict[str, Any], arcs: list[Any]) -> list[shapely.Geometry]:
    polygons = feature["arcs"] if feature["type"] == "MultiPolygon" else [feature["arcs"]]
    shapes = []
    for rings in ([_join(ring, arcs) for ring in polygon] for polygon in polygons):
        if len(rings[0]) < 4:  # quantization has reduced some islets, and the Vatican, to a line
            shapes.append(shapely.buffer(shapely.MultiPoint(rings[0]), _ISLET_DEG))
        else:
            holes = [ring for ring in rings[1:] if len(ring) >= 4]
            shapes += _cut_at_antimeridian(
                shapely.Polygon(
                    _unwrap_longitudes(rings[0]), [_unwrap_longitudes(ring) for ring in holes]
                )
            )
    return shapes


def _unwrap_longitudes(ring: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The ring without jumps of longitude; a ring around the south pole is closed there."""
    unwrapped = ring[:1]
    for lon, lat in ring[1:]:
        turns = round((unwrapped[-1][0] - lon) / 360.0)
        unwrapped.append((lon + 360.0 * turns, lat))
    if abs(unwrapped[-1][0] - unwrapped[0][0]) > 180.0:
        unwrapped += [(unwrapped[-1][0], -90.0), (unwrapped[0][0], -90.0), unwrapped[0]]
    return unwrapped


def _cut_at_antimeridian(polygon: shapely.Polygon) -> list[shapely.Geometry]:
    valid = shapely.make_valid(polygon)
    parts = []
    for shift in (-360.0, 0.0, 360.0):
        window = shapely.box(-180.0 - shift, -90.0, 180.0 - shift, 90.0)
        parts += [
            translate(part, shift)
            for part in shapely.get_parts(shapely.intersection(valid, window))
            if part.geom_type == "Polygon"
        ]
    return parts


def _join(indices: Iterable[int], arcs: list[Any]) -> list[tuple[float, float]]:
    ring: list[tuple[float, float]] = []
    for index in indices:
        arc = arcs[index] if index >= 0 else arcs[~index][::-1]
        ring += arc[1:] if ring else arc
    return ring


def _stretch(part: shapely.Geometry) -> float:
    """Factor of longitude, by which degrees of a part are about equally long in both directions."""
    lat = min(abs(shapely.centroid(part).y), 80.0)
    return math.cos(math.radians(lat))


def _widen_part(part: shapely.Geometry, tolerance_km: float) -> shapely.Geometry:
    factor = _stretch(part)
    # Coarser before it is widened: the buffer of a detailed coast takes minutes.
    coarse_km = tolerance_km / 4.0
    flat = shapely.simplify(scale(part, factor, 1.0, origin=(0, 0)), coarse_km / _KM_PER_DEGREE)
    width_deg = (MARGIN_KM + tolerance_km + coarse_km) / _KM_PER_DEGREE
    wide = shapely.buffer(flat, width_deg, quad_segs=2, join_style="mitre", mitre_limit=1.2)
    return scale(wide, 1.0 / factor, 1.0, origin=(0, 0))


def _simplify(part: shapely.Geometry, tolerance_km: float) -> shapely.Geometry:
    factor = _stretch(part)
    flat = scale(part, factor, 1.0, origin=(0, 0))
    return scale(
        shapely.make_valid(shapely.simplify(flat, tolerance_km / _KM_PER_DEGREE)),
        1.0 / factor,
        1.0,
        origin=(0, 0),
    )


def _drop_holes(area: shapely.Geometry, tolerance_km: float) -> shapely.Geometry:
    """Fill the holes that are narrower than the tolerance."""
    smallest = (4 * tolerance_km / _KM_PER_DEGREE) ** 2
    return shapely.union_all(
        [
            shapely.Polygon(
                part.exterior, [r for r in part.interiors if shapely.Polygon(r).area > smallest]
            )
            for part in shapely.get_parts(area)
        ]
    )


def _to_rings(polygon: shapely.Polygon) -> list[list[list[float]]]:
    oriented = shapely.normalize(shapely.Polygon(polygon.exterior, polygon.interiors))
    return [
        [[round(x, _DECIMALS), round(y, _DECIMALS)] for x, y in ring.coords]
        for ring in (oriented.exterior, *oriented.interiors)
    ]


def main(world_atlas: Path, iso_countries: Path, file: Path) -> None:
    """Write the file."""
    rows = json.loads((iso_countries / "codes.json").read_text())
    names = json.loads((iso_countries / "langs" / "en.json").read_text())["countries"]
    territories = read_territories(world_atlas, {row[2]: row[0] for row in rows})
    alpha_3 = {row[0]: row[1] for row in rows}
    countries = {}
    for code, territory in territories.items():
        area, tolerance_km = make_area(territory)
        name = names[code]
        countries[code] = {
            "name": name if isinstance(name, str) else name[0],
            "alpha_3": alpha_3[code],
            "tolerance_km": round(tolerance_km, 1),
            "reach_km": round(measure_reach_km(area, territory), 1),
            "polygons": [_to_rings(part) for part in shapely.get_parts(shapely.normalize(area))],
        }
    source = {
        "borders": "Natural Earth 4.1.0, Admin 0 countries 1:10m (public domain)",
        "package": "npm world-atlas 2.0.2",
        "codes": "npm i18n-iso-countries 7.14.0 (MIT)",
        "margin_km": MARGIN_KM,
    }
    lines = ",\n".join(
        f"{json.dumps(code)}:{json.dumps(row, ensure_ascii=False, separators=(',', ':'))}"
        for code, row in countries.items()
    )
    file.write_text(f'{{"source":{json.dumps(source)},\n"countries":{{\n{lines}\n}}}}\n')


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
