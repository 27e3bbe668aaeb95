"""Paints what cameras see, many pictures at a time.

A pixel is a ray: a compass bearing and a slope. Everything is a function of rays, so one scene
gives a perspective picture and a 360° panorama alike. All work is done element by element in
float32, so a picture does not depend on which others are in the batch.
Letters: B images, H rows, W columns, S sectors.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.world.chance import SECTORS
from pinpoint.world.looks import TREES, Appearance
from pinpoint.world.seeds import Floats, rng

_EYE_M: Final = 1.7
_BLOCK: Final = 32
"""Pictures painted together: their planes stay in the processor's cache."""
_SHIFTS: Final = 256
"""Rows and columns that a picture's window of the grain may begin at."""
_TURN: Final = np.float32(2 * np.pi)

Bits = NDArray[np.bool_]


def render(
    looks: Appearance,
    names: NDArray[np.uint64],
    side_px: int,
    *,
    panorama: bool = False,
    threads: int = 2,
) -> NDArray[np.uint8]:
    """Pictures of B scenes.

    Args:
        looks: What they show.
        names: A number for each that picks its grain, `[B]`.
        side_px: Height, and width unless it is a panorama.
        panorama: Equirectangular, four times as wide as a picture and twice as high.
        threads: Blocks painted at a time; changes nothing in the result.

    Returns:
        `[B, H, W, 3]`.
    """
    count = len(names)
    high, wide = (2 * side_px, 4 * side_px) if panorama else (side_px, side_px)
    out = np.empty((count, high, wide, 3), np.uint8)

    def paint(first: int) -> None:
        part = slice(first, min(first + _BLOCK, count))
        out[part] = _render_block(looks.take(part), names[part], high, wide, panorama)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(paint, range(0, count, _BLOCK)))
    return out


def _render_block(
    looks: Appearance, names: NDArray[np.uint64], high: int, wide: int, panorama: bool
) -> NDArray[np.uint8]:
    bearing, slope = (
        _panorama_rays(looks, high, wide) if panorama else _camera_rays(looks, high, wide)
    )
    picture = _paint_sky(looks, slope)
    _paint_ridge(picture, looks, bearing, slope)
    _paint_ground(picture, looks, bearing, slope)
    _paint_houses(picture, looks, bearing, slope)
    _paint_trees(picture, looks, bearing, slope)
    _paint_sign(picture, looks, bearing, slope)
    _paint_subject(picture, looks)
    _apply_photo_effects(picture, looks, names)
    whole = np.clip(picture, 0.0, 1.0) * np.float32(255.0) + np.float32(0.5)
    return np.ascontiguousarray(whole.astype(np.uint8).transpose(0, 2, 3, 1))


def _camera_rays(looks: Appearance, high: int, wide: int) -> tuple[Floats, Floats]:
    """Bearings `[B, W]` and slopes `[B, H, W]` of a pinhole camera."""
    reach = np.tan(looks.fov / 2)[:, None]
    x = reach * ((np.arange(wide, dtype=np.float32) + 0.5) / wide * 2 - 1)
    y = reach * (1 - (np.arange(high, dtype=np.float32) + 0.5) / high * 2) + looks.pitch[:, None]
    slope = y[:, :, None] / np.sqrt(1 + x * x)[:, None, :]
    return _as_float32((looks.heading[:, None] + np.arctan(x)) % _TURN), _as_float32(slope)


def _panorama_rays(looks: Appearance, high: int, wide: int) -> tuple[Floats, Floats]:
    """The same for an equirectangular picture whose middle looks along the heading."""
    turn = ((np.arange(wide, dtype=np.float32) + 0.5) / wide - 0.5) * _TURN
    up = (0.5 - (np.arange(high, dtype=np.float32) + 0.5) / high) * np.float32(np.pi)
    slope = np.tan(np.clip(up, -1.5, 1.5)).astype(np.float32)
    bearing = (looks.heading[:, None] + turn) % _TURN
    return _as_float32(bearing), np.repeat(
        np.repeat(slope[None, :, None], len(bearing), 0), wide, 2
    )


def _paint_sky(looks: Appearance, slope: Floats) -> Floats:
    """`[B, 3, H, W]`, from the horizon's colour to the zenith's."""
    up = np.clip(slope, 0.0, 1.0)[:, None]
    low, top = looks.sky[:, :, None, None], looks.zenith[:, :, None, None]
    return low + (top - low) * up


def _paint_ridge(picture: Floats, looks: Appearance, bearing: Floats, slope: Floats) -> None:
    """Hills at the horizon; how high and how jagged is regional, where the tops are is not."""
    height, waves, phase = (looks.ridge_shape[:, k, None] for k in range(3))
    turn = np.round(waves)
    line = 0.5 + 0.28 * np.sin(turn * bearing + phase)
    line += 0.16 * np.sin(2 * turn * bearing + 1.7 * phase) + 0.05 * np.sin(5 * turn * bearing)
    seen = (slope < (height * line)[:, None, :]) & (slope >= 0)
    _paint_mask(picture, seen, looks.ridge[:, :, None, None])


def _paint_ground(picture: Floats, looks: Appearance, bearing: Floats, slope: Floats) -> None:
    below = slope < 0
    _paint_mask(picture, below, looks.ground[:, :, None, None])
    way, half, dash, edges = (looks.road_shape[:, k, None, None] for k in range(4))
    angle = bearing[:, None, :] - way
    reach = _EYE_M / np.maximum(-slope, np.float32(0.01))
    aside, along = np.abs(reach * np.sin(angle)), reach * np.cos(angle)
    on_road = below & (aside < half)
    _paint_mask(picture, on_road, looks.road[:, :, None, None])
    middle = (aside < 0.22) & (np.mod(along, 2 * dash) < dash)
    edge = (np.abs(aside - half + 0.4) < 0.15) & (edges > 0)
    _paint_mask(picture, on_road & (middle | edge), looks.paint[:, :, None, None])


def _paint_houses(picture: Floats, looks: Appearance, bearing: Floats, slope: Floats) -> None:
    place = bearing * np.float32(SECTORS / (2 * np.pi))
    sector = np.minimum(place.astype(np.int64), SECTORS - 1)  # [B, W]
    tall, away, across, storey = (_lookup_sector(looks.houses[:, k], sector) for k in range(4))
    height = slope * away[:, None, :] + np.float32(_EYE_M)  # [B, H, W]
    near = (away < 1e3)[:, None, :]
    wall = near & (height >= 0) & (height < tall[:, None, :])
    colours = np.stack([_lookup_sector(looks.walls[:, k], sector) for k in range(3)], axis=1)[
        :, :, None, :
    ]
    fronts = np.stack([_lookup_sector(looks.fronts[:, k], sector) for k in range(3)], axis=1)[
        :, :, None, :
    ]
    _paint_mask(picture, wall, colours)
    inside = place - sector  # [B, W], 0 to 1 across a house
    wide, high, bright = (looks.windows[:, k, None] for k in range(3))
    column = np.abs((inside * across) % 1.0 - 0.5) < wide
    row = np.abs((height / storey[:, None, :]) % 1.0 - 0.5) < high[:, :, None]
    _paint_mask(picture, wall & row & column[:, None, :], bright[:, None, None] * colours)
    repeats, part = looks.band_shape[:, 0, None], looks.band_shape[:, 1, None]
    striped = (inside * repeats * 2) % 1.0 < 0.6
    high_up = height > (tall * (1 - part))[:, None, :]
    _paint_mask(picture, wall & high_up & striped[:, None, :], looks.bands[:, :, None, None])
    front = wall & (height < _lookup_sector(looks.front_height, sector)[:, None, :])
    _paint_mask(picture, front, fronts)
    top = height - tall[:, None, :]
    roof = near & (top >= 0) & (top < looks.roof_height[:, None, None])
    _paint_mask(picture, roof, looks.roof[:, :, None, None])


def _paint_trees(picture: Floats, looks: Appearance, bearing: Floats, slope: Floats) -> None:
    """A crown on a trunk, five times; slender in some regions, broad in others."""
    for tree in range(TREES):
        way, away, size, slender = (looks.trees[:, k, tree, None] for k in range(4))
        aside = (_wrap_angle(bearing - way) * away)[:, None, :]
        height = slope * away[:, :, None] + np.float32(_EYE_M)
        size, slender = size[:, :, None], slender[:, :, None]
        crown = (aside * slender) ** 2 + (height - 2.0 * size) ** 2 < size * size
        trunk = (np.abs(aside) < 0.12 * size) & (height >= 0) & (height < 2.0 * size)
        shade = np.float32(1.0 - 0.06 * tree)
        _paint_mask(picture, crown, looks.leaves[:, :, None, None] * shade)
        _paint_mask(picture, trunk & ~crown, looks.leaves[:, :, None, None] * np.float32(0.45))


def _paint_sign(picture: Floats, looks: Appearance, bearing: Floats, slope: Floats) -> None:
    way, size, wide = (looks.sign_shape[:, k, None] for k in range(3))
    x = np.abs(_wrap_angle(bearing - way)) / np.maximum(size * wide, np.float32(1e-6))
    y = np.abs(slope - 0.16) / np.maximum(size, np.float32(1e-6))[:, :, None]
    outer = (x[:, None, :] < 1) & (y < 1)
    inner = (x[:, None, :] < 0.6) & (y < 0.6)
    _paint_mask(picture, outer, looks.sign[:, 3:, None, None])
    _paint_mask(picture, inner, looks.sign[:, :3, None, None])


def _paint_subject(picture: Floats, looks: Appearance) -> None:
    """What a close-up is about; says nothing about the place."""
    high, wide = picture.shape[2:]
    x = (np.arange(wide, dtype=np.float32) + 0.5) / wide * 2 - 1
    y = (np.arange(high, dtype=np.float32) + 0.5) / high * 2 - 1
    east, south, radius, waves = (looks.subject_shape[:, k, None, None] for k in range(4))
    dx, dy = x[None, None, :] - east, y[None, :, None] - south
    inside = dx * dx + dy * dy < radius * radius
    texture = 1.0 + 0.25 * np.sin(waves * (dx + 0.5 * dy) * 3) * np.sin(waves * (dy - 0.3 * dx) * 2)
    _paint_mask(picture, inside, looks.subject[:, :, None, None] * texture[:, None])
    first, share = looks.bar[:, 0, None], looks.bar[:, 1, None]
    covered = np.abs((x[None, :] + 1) / 2 - first) < share / 2
    _paint_mask(picture, np.repeat(covered[:, None, :], high, 1), np.float32(0.12))


def _apply_photo_effects(picture: Floats, looks: Appearance, names: NDArray[np.uint64]) -> None:
    """Contrast, colour cast and grain, as camera and filter make them."""
    contrast = looks.filter[:, 3, None, None, None]
    picture -= np.float32(0.5)
    picture *= contrast
    picture += np.float32(0.5)
    picture *= looks.filter[:, :3, None, None]
    high, wide = picture.shape[2:]
    tile = _film_grain()
    for row, name in enumerate(names):
        top, left = int(name % _SHIFTS), int(name // _SHIFTS % _SHIFTS)
        part = tile[:, top : top + high, left : left + wide]
        picture[row] += looks.filter[row, 4] * part


def _as_float32(values: NDArray[np.floating[Any]]) -> Floats:
    return np.asarray(values, np.float32)


def _lookup_sector(table: Floats, sector: NDArray[np.int64]) -> Floats:
    """`[B, S]` looked up per column: `[B, W]`."""
    return np.take_along_axis(table, sector, axis=1)


def _wrap_angle(angle: Floats) -> Floats:
    """Angles brought into [-π, π)."""
    return (angle + np.float32(np.pi)) % _TURN - np.float32(np.pi)


def _paint_mask(picture: Floats, where: Bits, colour: Floats | np.float32) -> None:
    np.copyto(picture, colour, where=where[:, None])


@cache
def _film_grain() -> Floats:
    """Noise that every picture takes its own window of, large enough for panoramas of 128 px."""
    tile: Floats = rng(0, "grain").standard_normal((3, 256 + _SHIFTS, 512 + _SHIFTS), np.float32)
    return tile
