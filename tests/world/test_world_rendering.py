"""The vectorised renderer against a loop over pixels, and places against geodesics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from geographiclib.geodesic import Geodesic
from hypothesis import given, settings
from hypothesis import strategies as st

from pinpoint.records import Point
from pinpoint.world.cities import CITIES, nearest_city
from pinpoint.world.places import move, place, rng
from pinpoint.world.rendering import View, Weather, render

PLAIN = Weather(grain=0.0)


def turn(angle):
    return (angle + math.pi) % (2 * math.pi) - math.pi


def slow_pixel(look, view, row, column):
    """The colour of one pixel by following its ray: sky, tower, wall, ground, trees."""
    u, v = column + 0.5 - view.width_px / 2, view.horizon * view.height_px - (row + 0.5)
    if view.projection == "equirectangular":
        bearing = math.radians(view.heading_deg) + u / view.width_px * 2 * math.pi
        slope = math.tan(max(-1.5, min(1.5, v / view.height_px * math.pi)))
    else:
        focal = view.width_px / 2 / math.tan(math.radians(view.fov_deg) / 2)
        bearing = math.radians(view.heading_deg) + math.atan(u / focal)
        slope = v / focal / math.sqrt(1 + (u / focal) ** 2)
    east, north = view.east_m, view.north_m
    along = east * math.sin(bearing) + north * math.cos(bearing)
    distance = math.sqrt(along**2 + look.radius_m**2 - east**2 - north**2) - along
    x, y = east + distance * math.sin(bearing), north + distance * math.cos(bearing)
    angle = math.atan2(x, y) % (2 * math.pi)
    up = max(0.0, min(1.2, slope))
    colour = [c * (1 - 0.3 * up) + 0.05 for c in look.sky]
    tower = math.radians(look.tower_bearing_deg)
    ex, ny = 130 * math.sin(tower) - east, 130 * math.cos(tower) - north
    away = math.hypot(ex, ny)
    if abs(turn(bearing - math.atan2(ex, ny))) * away < look.tower_width_m / 2:  # noqa: SIM102
        if slope < (look.tower_height_m - 1.6) / away:
            colour = look.tower
    house = max(k for k, edge in enumerate(look.edges_rad) if edge <= angle)
    height = slope * distance + 1.6
    if 0 <= height < look.heights_m[house]:
        colour = wall(look, house, angle, height)
    elif height < 0:
        reach = 1.6 / max(-slope, 1e-3)
        x, y = east + reach * math.sin(bearing), north + reach * math.cos(bearing)
        road = math.radians(look.road_bearing_deg)
        aside = x * math.cos(road) - y * math.sin(road)
        far = x * math.sin(road) + y * math.cos(road)
        colour = look.road if abs(aside) < 4.5 else look.paving
        if abs(aside) < 0.25 and far % 6 < 3.5:
            colour = look.paint
    trees = []
    for k in range(len(look.tree_size_m)):
        ex = look.tree_distance_m[k] * math.sin(look.tree_bearing_rad[k]) - east
        ny = look.tree_distance_m[k] * math.cos(look.tree_bearing_rad[k]) - north
        trees.append((math.hypot(ex, ny), math.atan2(ex, ny), k))
    for away, towards, k in sorted(trees, reverse=True):
        size, aside, z = look.tree_size_m[k], turn(bearing - towards) * away, slope * away + 1.6
        crown = aside**2 + (z - 1.6 * size) ** 2 < size**2
        if crown or (abs(aside) < 0.25 and 0 < z < size):
            colour = look.leaves[k]
    return [int(max(0.0, min(1.0, c)) * 255) for c in colour]


def wall(look, house, angle, height):
    colour = look.accents[house] if height < 3.4 else look.facades[house]
    if height > look.heights_m[house] - 1.2:
        colour = look.roof
    across = angle * look.radius_m / look.window_m[house] % 1
    storey = height / look.storey_m[house] % 1
    window = abs(across - 0.5) < 0.24 and abs(storey - 0.55) < 0.24 and height > 3.4
    shade = (0.45 if window else 1.0) * (0.85 + 0.15 * math.cos(angle - 2.5))
    return [c * shade for c in colour]


@pytest.mark.parametrize("projection", ["perspective", "equirectangular"])
@pytest.mark.parametrize("number", [0, 3, 11])
def test_pictures_are_what_a_loop_over_pixels_sees(projection, number):
    look = place(7, number).look
    view = View(
        east_m=6.0,
        north_m=-9.0,
        heading_deg=350.0,
        width_px=96,
        height_px=72,
        fov_deg=75.0,
        horizon=0.55,
        projection=projection,
    )
    fast = render(look, view, PLAIN, rng(1))
    slow = np.array([[slow_pixel(look, view, r, c) for c in range(96)] for r in range(72)])
    off = np.abs(fast.astype(int) - slow).max(axis=2) > 1
    assert off.mean() < 0.004, "more than rounding at edges"


def test_grain_follows_its_generator_and_nothing_else():
    look, view = place(7, 1).look, View(east_m=0, north_m=0, heading_deg=10)
    one, same, other = (render(look, view, Weather(), rng(7, "g", k)) for k in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_camera_behind_the_houses_is_refused():
    look = place(7, 1).look
    with pytest.raises(ValueError, match="outside the place"):
        render(look, View(east_m=look.radius_m, north_m=0, heading_deg=0), PLAIN, rng(1))


def test_the_first_forty_places_lie_in_forty_cities():
    spots = [place(3, number) for number in range(40)]
    assert len({spot.city for spot in spots}) == 40
    assert all(nearest_city(spot.point) == spot.city for spot in spots)


def test_places_differ_and_stay_the_same():
    assert np.array_equal(place(7, 4).look.facades, place(7, 4).look.facades)
    assert not np.array_equal(place(7, 4).look.sky, place(7, 5).look.sky)


@given(
    st.sampled_from(CITIES),
    st.floats(-3_000, 3_000),
    st.floats(-3_000, 3_000),
)
@settings(max_examples=60, deadline=None)
def test_moving_goes_as_far_as_asked(city, east_m, north_m):
    there = move(city.point, east_m=east_m, north_m=north_m)
    line = Geodesic.WGS84.Inverse(city.point.lat, city.point.lon, there.lat, there.lon)
    assert line["s12"] == pytest.approx(math.hypot(east_m, north_m), rel=0.006, abs=0.01)


@given(st.floats(-89, 89), st.floats(-180, 180))
@settings(max_examples=60, deadline=None)
def test_the_nearest_city_is_the_nearest(lat, lon):
    def away(city):
        return Geodesic.WGS84.Inverse(lat, lon, city.point.lat, city.point.lon)["s12"]

    found, best = nearest_city(Point(lat, lon)), min(CITIES, key=away)
    assert away(found) <= away(best) * 1.006
