"""Pictures of synthetic places, in vectorised numpy: no texture, no file, no GPU.

Cameras look along the horizon, so a column of the picture has one bearing and one distance to the
ring of houses; everything else follows from elevation. H and W are pixels, N houses, K trees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from pinpoint.records import Pixels
from pinpoint.world.places import Floats, Look

Bools = NDArray[np.bool_]

_EYE_M: Final = 1.6
_GROUND_FLOOR_M: Final = 3.4
_HALF_ROAD_M: Final = 4.5
_TOWER_M: Final = 130.0


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Where a camera stands at a place and how it looks.

    `fov_deg` is the horizontal angle of a perspective picture; an equirectangular one sees 360°.
    `horizon` is the horizon's height in the picture, 0.5 for the middle (a shifted crop).
    """

    east_m: float
    north_m: float
    heading_deg: float
    width_px: int = 192
    height_px: int = 144
    fov_deg: float = 90.0
    horizon: float = 0.5
    projection: Literal["perspective", "equirectangular"] = "perspective"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """What differs between two pictures of the same view."""

    light: float = 1.0
    cloud: float = 0.0
    cast: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Gain of red, green and blue."""
    grain: float = 0.01
    """Standard deviation of noise, of the range [0, 1]."""


@dataclass(frozen=True, slots=True)
class _Rays:
    """`bearing` `[W]` in radians; `slope` `[H, W]` is the tangent of elevation."""

    bearing: Floats
    slope: Floats


def render(look: Look, view: View, weather: Weather, noise: np.random.Generator) -> Pixels:
    """Draw one picture `[H, W, 3]`, uint8.

    The camera must stand within the ring of houses.

    Raises:
        ValueError: The camera stands on or beyond the ring.
    """
    if np.hypot(view.east_m, view.north_m) >= 0.9 * look.radius_m:
        raise ValueError("the camera stands outside the place")
    rays = _rays(view)
    picture = _sky(look, weather, rays)
    _tower(picture, look, view, rays)
    _houses(picture, look, view, rays)
    _ground(picture, look, view, rays)
    _trees(picture, look, view, rays)
    gain = np.asarray(weather.cast, np.float32) * np.float32(weather.light)
    picture *= gain
    if weather.grain:
        grain = noise.standard_normal(picture.shape[:2], dtype=np.float32)
        picture += (grain * np.float32(weather.grain))[..., None]
    np.clip(picture, 0.0, 1.0, out=picture)
    picture *= 255.0
    return picture.astype(np.uint8)


def _rays(view: View) -> _Rays:
    heading = np.radians(view.heading_deg)
    rows = view.horizon * view.height_px - (np.arange(view.height_px) + 0.5)
    columns = np.arange(view.width_px) + 0.5 - view.width_px / 2
    if view.projection == "equirectangular":
        bearing = heading + columns / view.width_px * 2 * np.pi
        slope = np.tan(np.clip(rows / view.height_px * np.pi, -1.5, 1.5))
        slopes = np.repeat(slope[:, None], view.width_px, axis=1)
    else:
        focal_px = view.width_px / 2 / np.tan(np.radians(view.fov_deg) / 2)
        x = columns / focal_px
        bearing = heading + np.arctan(x)
        slopes = (rows / focal_px)[:, None] / np.sqrt(1 + x * x)
    return _Rays(bearing.astype(np.float32), slopes.astype(np.float32))


def _sky(look: Look, weather: Weather, rays: _Rays) -> Floats:
    """`[H, W, 3]`, paler to the horizon, greyer under cloud."""
    up = np.clip(rays.slope, 0.0, 1.2)[..., None]
    clear = look.sky * (1.0 - 0.3 * up) + np.float32(0.05)
    grey = np.float32(0.8)
    return np.ascontiguousarray(clear + (grey - clear) * np.float32(weather.cloud))


def _tower(picture: Floats, look: Look, view: View, rays: _Rays) -> None:
    """One tower far behind the houses; paints where it stands above them."""
    bearing = np.radians(look.tower_bearing_deg)
    east = _TOWER_M * np.sin(bearing) - view.east_m
    north = _TOWER_M * np.cos(bearing) - view.north_m
    distance = np.hypot(east, north)
    aside = _turn(rays.bearing - np.arctan2(east, north)) * distance
    columns = np.abs(aside) < look.tower_width_m / 2
    if columns.any():
        below = rays.slope[:, columns] < (look.tower_height_m - _EYE_M) / distance
        picture[:, columns] = np.where(below[..., None], look.tower, picture[:, columns])


def _houses(picture: Floats, look: Look, view: View, rays: _Rays) -> None:
    sin, cos = np.sin(rays.bearing), np.cos(rays.bearing)
    along = view.east_m * sin + view.north_m * cos
    inside = look.radius_m**2 - view.east_m**2 - view.north_m**2
    distance = np.sqrt(along * along + inside) - along  # [W] to the ring
    angle = np.arctan2(view.east_m + distance * sin, view.north_m + distance * cos) % (2 * np.pi)
    house = np.searchsorted(look.edges_rad, angle, side="right") - 1  # [W]
    height = rays.slope * distance + _EYE_M  # [H, W] of the wall point a pixel sees
    tops = look.heights_m[house]
    wall = (height >= 0) & (height < tops)
    across = (angle * look.radius_m / look.window_m[house]) % 1.0
    storey = (height / look.storey_m[house]) % 1.0
    window = (np.abs(across - 0.5) < 0.24) & (np.abs(storey - 0.55) < 0.24)
    shade = np.where(window & (height > _GROUND_FLOOR_M), np.float32(0.45), np.float32(1.0))
    shade *= (0.85 + 0.15 * np.cos(angle - 2.5)).astype(np.float32)  # the sun stands somewhere
    colour = np.where(
        (height < _GROUND_FLOOR_M)[..., None], look.accents[house], look.facades[house]
    )
    colour = np.where((height > tops - 1.2)[..., None], look.roof, colour)
    np.copyto(picture, colour * shade[..., None], where=wall[..., None])


def _ground(picture: Floats, look: Look, view: View, rays: _Rays) -> None:
    """Road, its paint, and paving, out to the foot of the houses."""
    sin, cos = np.sin(rays.bearing), np.cos(rays.bearing)
    along = view.east_m * sin + view.north_m * cos
    inside = look.radius_m**2 - view.east_m**2 - view.north_m**2
    foot = -_EYE_M / (np.sqrt(along * along + inside) - along)
    first = int(np.argmax((rays.slope < foot).any(axis=1)))
    slope = rays.slope[first:]
    below = slope < foot
    reach = _EYE_M / np.maximum(-slope, 1e-3)  # [h, W] metres to the ground point
    road = np.radians(look.road_bearing_deg)
    aside = (view.east_m + reach * sin) * np.cos(road) - (view.north_m + reach * cos) * np.sin(road)
    far = (view.east_m + reach * sin) * np.sin(road) + (view.north_m + reach * cos) * np.cos(road)
    colour = np.where((np.abs(aside) < _HALF_ROAD_M)[..., None], look.road, look.paving)
    dashes = (np.abs(aside) < 0.25) & (far % 6.0 < 3.5)
    colour = np.where(dashes[..., None], look.paint, colour)
    np.copyto(picture[first:], colour, where=below[..., None])


def _trees(picture: Floats, look: Look, view: View, rays: _Rays) -> None:
    east = look.tree_distance_m * np.sin(look.tree_bearing_rad) - view.east_m
    north = look.tree_distance_m * np.cos(look.tree_bearing_rad) - view.north_m
    distances = np.hypot(east, north)
    for tree in np.argsort(-distances):
        distance, size = distances[tree], look.tree_size_m[tree]
        aside = _turn(rays.bearing - np.arctan2(east[tree], north[tree])) * distance  # [W]
        columns = np.flatnonzero(np.abs(aside) < size)
        if columns.size:
            height = rays.slope[:, columns] * distance + _EYE_M
            crown = aside[columns] ** 2 + (height - size * 1.6) ** 2 < size**2
            trunk = (np.abs(aside[columns]) < 0.25) & (height > 0) & (height < size)
            seen = (crown | trunk)[..., None]
            picture[:, columns] = np.where(seen, look.leaves[tree], picture[:, columns])


def _turn(angle: Floats) -> Floats:
    """Angles in radians brought into [-π, π)."""
    return ((angle + np.pi) % (2 * np.pi) - np.pi).astype(np.float32)
