"""What a synthetic place looks like: seeded factors of country, region, city and spot.

A place is a round square: houses on a ring, trees inside it, a road through it, one tower
behind. Both source kinds look at the same square, so what they share is real evidence.

The factors, from coarse to fine: the country decides style (facade hues, roofs, road paint),
smooth fields over the globe decide vegetation and light, the city shifts the palette, the place
itself decides every house. Nothing here depends on how many places there are or on their order.
"""

from __future__ import annotations

import colorsys
import hashlib
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.geo.points import destination, lat_lon, unit_xyz
from pinpoint.records import Point
from pinpoint.world.cities import CITIES, City

Floats = NDArray[np.float32]

_TREES: Final = 9
_SPREAD_M: Final = 2_500.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Everything a camera can see at a place. N houses, K trees; colours in [0, 1] RGB.

    The house of a bearing is found in `edges_rad`; distances are from the place's point.
    """

    radius_m: float
    edges_rad: Floats
    """Where houses begin on the ring, ascending `[N]`, clockwise from north."""
    heights_m: Floats
    facades: Floats
    """`[N, 3]`."""
    accents: Floats
    """Ground floors, `[N, 3]`."""
    window_m: Floats
    """Spacing of windows `[N]`."""
    storey_m: Floats
    roof: Floats
    road: Floats
    paving: Floats
    paint: Floats
    road_bearing_deg: float
    tree_bearing_rad: Floats
    tree_distance_m: Floats
    tree_size_m: Floats
    leaves: Floats
    """`[K, 3]`."""
    sky: Floats
    """At the horizon, on a clear day."""
    tower_bearing_deg: float
    tower_height_m: float
    tower_width_m: float
    tower: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A spot in a city, and its look."""

    name: str
    city: City
    point: Point
    look: Look


def rng(seed: int, *names: str | int) -> np.random.Generator:
    """A generator for one named thing of one planet; never seeded from coordinates."""
    text = "/".join(str(part) for part in (seed, *names))
    return np.random.default_rng(
        int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest())
    )


def move(point: Point, *, east_m: float, north_m: float) -> Point:
    """The point that lies some metres away; meant for distances of a few kilometres."""
    bearing_deg = math.degrees(math.atan2(east_m, north_m))
    there = destination(lat_lon([point])[0], bearing_deg, math.hypot(east_m, north_m))
    return Point(lat=float(there[0]), lon=float(there[1]))


def place(seed: int, number: int) -> Place:
    """Place `number` of planet `seed`; the first forty lie in forty different cities."""
    city = CITIES[(number + seed) % len(CITIES)]
    name = f"{city.name.lower().replace(' ', '-')}-{number:03d}"
    away = rng(seed, "place", number, "where").uniform(-_SPREAD_M, _SPREAD_M, 2)
    point = move(city.point, east_m=float(away[0]), north_m=float(away[1]))
    return Place(name=name, city=city, point=point, look=_look(seed, name, city, point))


def _look(seed: int, name: str, city: City, point: Point) -> Look:
    style = rng(seed, "country", city.country)
    country_hue, roof_hue, spread = style.random(), style.random(), style.uniform(0.03, 0.12)
    paint = (1.0, 0.85, 0.25) if style.random() < 0.4 else (0.95, 0.95, 0.95)
    green, warmth = _field(seed, "green", point), _field(seed, "warmth", point)
    town = rng(seed, "city", city.name)
    town_hue, town_tone = town.uniform(-0.12, 0.12), town.uniform(0.75, 1.15)
    spot = rng(seed, "spot", name)
    houses = int(spot.integers(13, 22))
    hues = country_hue + town_hue + spot.uniform(-0.1, 0.1) + spot.normal(0, spread, houses)
    values = np.clip(town_tone * spot.uniform(0.55, 0.85) + spot.normal(0, 0.1, houses), 0.2, 1.0)
    saturations = np.clip(spot.uniform(0.12, 0.55) + spot.normal(0, 0.08, houses), 0.05, 0.9)
    widths = spot.uniform(0.6, 1.6, houses)
    edges = np.cumsum(widths) / widths.sum() * 2 * np.pi - widths[0] / widths.sum() * 2 * np.pi
    radius_m = float(spot.uniform(30, 42))
    trees = round(_TREES * green * float(spot.uniform(0.4, 1.2)))
    leaf_hue = 0.22 + 0.14 * green
    return Look(
        radius_m=radius_m,
        edges_rad=edges.astype(np.float32),
        heights_m=_f32(spot.uniform(7, 26) * spot.uniform(0.7, 1.4, houses)),
        facades=_palette(hues, saturations, values),
        accents=_palette(hues + 0.45, saturations, values * 0.6),
        window_m=_f32(spot.uniform(2.2, 5.5, houses)),
        storey_m=_f32(spot.uniform(2.8, 4.0, houses)),
        roof=_colour(roof_hue, 0.55, 0.45),
        road=_colour(warmth, 0.08, spot.uniform(0.25, 0.45)),
        paving=_colour(0.08 + 0.2 * green, 0.15 + 0.35 * green, spot.uniform(0.45, 0.75)),
        paint=_f32(paint),
        road_bearing_deg=float(spot.uniform(0, 180)),
        tree_bearing_rad=_f32(spot.uniform(0, 2 * np.pi, trees)),
        tree_distance_m=_f32(radius_m * spot.uniform(0.72, 0.92, trees)),
        tree_size_m=_f32(spot.uniform(1.5, 3.2, trees)),
        leaves=_palette(
            leaf_hue + spot.normal(0, 0.02, trees),
            np.full(trees, 0.6),
            spot.uniform(0.3, 0.55, trees),
        ),
        sky=_colour(0.56 + 0.06 * warmth, 0.25 + 0.25 * warmth, 0.95),
        tower_bearing_deg=float(spot.uniform(0, 360)),
        tower_height_m=float(spot.uniform(45, 95)),
        tower_width_m=float(spot.uniform(10, 26)),
        tower=_colour(country_hue + spot.uniform(-0.5, 0.5), 0.5, spot.uniform(0.4, 0.9)),
    )


def _field(seed: int, name: str, point: Point) -> float:
    """A smooth field over the globe in [0, 1]; neighbours agree, continents differ."""
    xyz = unit_xyz(lat_lon([point]))[0]
    waves = rng(seed, "field", name)
    directions, phases = waves.normal(0, 3.0, (4, 3)), waves.uniform(0, 2 * np.pi, 4)
    value = 0.5 + 0.8 * float(np.sin(directions @ xyz + phases).mean())
    return min(max(value, 0.0), 1.0)


def _colour(hue: float, saturation: float, value: float) -> Floats:
    return _f32(colorsys.hsv_to_rgb(hue % 1.0, saturation, min(max(value, 0.0), 1.0)))


def _palette(
    hues: NDArray[np.float64], saturations: NDArray[np.float64], values: NDArray[np.float64]
) -> Floats:
    colours = [_colour(*map(float, hsv)) for hsv in zip(hues, saturations, values, strict=True)]
    return np.stack(colours) if colours else np.zeros((0, 3), np.float32)


def _f32(values: object) -> Floats:
    return np.asarray(values, dtype=np.float32)
