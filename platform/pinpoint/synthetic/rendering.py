"""Vectorized renderer of synthetic images.

A pixel is a ray: a compass bearing and a slope. Everything is a function of rays, so the same scene
can be rendered as a perspective image or a 360° panorama. All operations are elementwise in
float32, so an image does not depend on the rest of the batch.
Letters: B images, H rows, W columns, S sectors.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Floats32
from pinpoint.synthetic.appearance import TREES, Appearance
from pinpoint.synthetic.draws import SECTORS
from pinpoint.synthetic.seeds import rng

_CAMERA_HEIGHT_M: Final = 1.7
_BLOCK_IMAGES: Final = 32
"""Images per block: their planes fit into the cache of the processor."""
_NUM_GRAIN_SHIFTS: Final = 256
"""Number of row and column offsets of the window into the grain tile."""
_FULL_TURN: Final = np.float32(2 * np.pi)

_Mask = NDArray[np.bool_]


def render(
    appearance: Appearance,
    names: NDArray[np.uint64],
    side_px: int,
    *,
    panorama: bool = False,
    threads: int = 2,
) -> NDArray[np.uint8]:
    """Render B scenes.

    Args:
        appearance: Render parameters.
        names: One number per image that selects its grain, `[B]`.
        side_px: Height, and width unless it is a panorama.
        panorama: Equirectangular, four times as wide and twice as high as `side_px`.
        threads: Number of blocks rendered concurrently; does not change the result.

    Returns:
        `[B, H, W, 3]`.
    """
    count = len(names)
    high, wide = (2 * side_px, 4 * side_px) if panorama else (side_px, side_px)
    out = np.empty((count, high, wide, 3), np.uint8)

    def paint(first: int) -> None:
        part = slice(first, min(first + _BLOCK_IMAGES, count))
        out[part] = _render_block(appearance.take(part), names[part], high, wide, panorama)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(paint, range(0, count, _BLOCK_IMAGES)))
    return out


def _render_block(
    appearance: Appearance, names: NDArray[np.uint64], high: int, wide: int, panorama: bool
) -> NDArray[np.uint8]:
    bearing, slope = (
        _panorama_rays(appearance, high, wide) if panorama else _camera_rays(appearance, high, wide)
    )
    image = _paint_sky(appearance, slope)
    _paint_ridge(image, appearance, bearing, slope)
    _paint_ground(image, appearance, bearing, slope)
    _paint_houses(image, appearance, bearing, slope)
    _paint_trees(image, appearance, bearing, slope)
    _paint_sign(image, appearance, bearing, slope)
    _paint_subject(image, appearance)
    _apply_photo_effects(image, appearance, names)
    scaled = np.clip(image, 0.0, 1.0) * np.float32(255.0) + np.float32(0.5)
    return np.ascontiguousarray(scaled.astype(np.uint8).transpose(0, 2, 3, 1))


def _camera_rays(appearance: Appearance, high: int, wide: int) -> tuple[Floats32, Floats32]:
    """Bearings `[B, W]` and slopes `[B, H, W]` of a pinhole camera."""
    reach = np.tan(appearance.fov / 2)[:, None]
    x = reach * ((np.arange(wide, dtype=np.float32) + 0.5) / wide * 2 - 1)
    y = (
        reach * (1 - (np.arange(high, dtype=np.float32) + 0.5) / high * 2)
        + appearance.pitch[:, None]
    )
    slope = y[:, :, None] / np.sqrt(1 + x * x)[:, None, :]
    return _as_float32((appearance.heading[:, None] + np.arctan(x)) % _FULL_TURN), _as_float32(
        slope
    )


def _panorama_rays(appearance: Appearance, high: int, wide: int) -> tuple[Floats32, Floats32]:
    """The same for an equirectangular image that is centered on the heading."""
    turn = ((np.arange(wide, dtype=np.float32) + 0.5) / wide - 0.5) * _FULL_TURN
    up = (0.5 - (np.arange(high, dtype=np.float32) + 0.5) / high) * np.float32(np.pi)
    slope = np.tan(np.clip(up, -1.5, 1.5)).astype(np.float32)
    bearing = (appearance.heading[:, None] + turn) % _FULL_TURN
    return _as_float32(bearing), np.repeat(
        np.repeat(slope[None, :, None], len(bearing), 0), wide, 2
    )


def _paint_sky(appearance: Appearance, slope: Floats32) -> Floats32:
    """Sky `[B, 3, H, W]`: a gradient from the horizon color to the zenith color."""
    up = np.clip(slope, 0.0, 1.0)[:, None]
    low, top = appearance.sky[:, :, None, None], appearance.zenith[:, :, None, None]
    return low + (top - low) * up


def _paint_ridge(
    image: Floats32, appearance: Appearance, bearing: Floats32, slope: Floats32
) -> None:
    """Hills at the horizon; height and roughness are regional, the phase is random."""
    height, waves, phase = (appearance.ridge_shape[:, k, None] for k in range(3))
    turn = np.round(waves)
    line = 0.5 + 0.28 * np.sin(turn * bearing + phase)
    line += 0.16 * np.sin(2 * turn * bearing + 1.7 * phase) + 0.05 * np.sin(5 * turn * bearing)
    visible = (slope < (height * line)[:, None, :]) & (slope >= 0)
    _paint_mask(image, visible, appearance.ridge[:, :, None, None])


def _paint_ground(
    image: Floats32, appearance: Appearance, bearing: Floats32, slope: Floats32
) -> None:
    below = slope < 0
    _paint_mask(image, below, appearance.ground[:, :, None, None])
    road_bearing, half, dash, edges = (appearance.road_shape[:, k, None, None] for k in range(4))
    angle = bearing[:, None, :] - road_bearing
    distance_m = _CAMERA_HEIGHT_M / np.maximum(-slope, np.float32(0.01))
    lateral_m, longitudinal_m = np.abs(distance_m * np.sin(angle)), distance_m * np.cos(angle)
    on_road = below & (lateral_m < half)
    _paint_mask(image, on_road, appearance.road[:, :, None, None])
    middle = (lateral_m < 0.22) & (np.mod(longitudinal_m, 2 * dash) < dash)
    edge = (np.abs(lateral_m - half + 0.4) < 0.15) & (edges > 0)
    _paint_mask(image, on_road & (middle | edge), appearance.paint[:, :, None, None])


def _paint_houses(
    image: Floats32, appearance: Appearance, bearing: Floats32, slope: Floats32
) -> None:
    sector_position = bearing * np.float32(SECTORS / (2 * np.pi))
    sector = np.minimum(sector_position.astype(np.int64), SECTORS - 1)  # [B, W]
    tall, distance, windows_across, storey = (
        _lookup_sector(appearance.houses[:, k], sector) for k in range(4)
    )
    height = slope * distance[:, None, :] + np.float32(_CAMERA_HEIGHT_M)  # [B, H, W]
    near = (distance < 1e3)[:, None, :]
    wall = near & (height >= 0) & (height < tall[:, None, :])
    wall_colors = np.stack(
        [_lookup_sector(appearance.walls[:, k], sector) for k in range(3)], axis=1
    )[:, :, None, :]
    fronts = np.stack([_lookup_sector(appearance.fronts[:, k], sector) for k in range(3)], axis=1)[
        :, :, None, :
    ]
    _paint_mask(image, wall, wall_colors)
    inside = sector_position - sector  # [B, W], 0 to 1 across a house
    wide, high, bright = (appearance.windows[:, k, None] for k in range(3))
    column = np.abs((inside * windows_across) % 1.0 - 0.5) < wide
    row = np.abs((height / storey[:, None, :]) % 1.0 - 0.5) < high[:, :, None]
    _paint_mask(image, wall & row & column[:, None, :], bright[:, None, None] * wall_colors)
    repeats, band_share = appearance.band_shape[:, 0, None], appearance.band_shape[:, 1, None]
    striped = (inside * repeats * 2) % 1.0 < 0.6
    high_up = height > (tall * (1 - band_share))[:, None, :]
    _paint_mask(image, wall & high_up & striped[:, None, :], appearance.bands[:, :, None, None])
    front = wall & (height < _lookup_sector(appearance.front_height, sector)[:, None, :])
    _paint_mask(image, front, fronts)
    top = height - tall[:, None, :]
    roof = near & (top >= 0) & (top < appearance.roof_height[:, None, None])
    _paint_mask(image, roof, appearance.roof[:, :, None, None])


def _paint_trees(
    image: Floats32, appearance: Appearance, bearing: Floats32, slope: Floats32
) -> None:
    """Trees with crown and trunk; the slenderness is regional."""
    for tree in range(TREES):
        tree_bearing, distance, size, slender = (
            appearance.trees[:, k, tree, None] for k in range(4)
        )
        lateral = (_wrap_angle(bearing - tree_bearing) * distance)[:, None, :]
        height = slope * distance[:, :, None] + np.float32(_CAMERA_HEIGHT_M)
        size, slender = size[:, :, None], slender[:, :, None]
        crown = (lateral * slender) ** 2 + (height - 2.0 * size) ** 2 < size * size
        trunk = (np.abs(lateral) < 0.12 * size) & (height >= 0) & (height < 2.0 * size)
        shade = np.float32(1.0 - 0.06 * tree)
        _paint_mask(image, crown, appearance.leaves[:, :, None, None] * shade)
        _paint_mask(image, trunk & ~crown, appearance.leaves[:, :, None, None] * np.float32(0.45))


def _paint_sign(
    image: Floats32, appearance: Appearance, bearing: Floats32, slope: Floats32
) -> None:
    sign_bearing, size, wide = (appearance.sign_shape[:, k, None] for k in range(3))
    x = np.abs(_wrap_angle(bearing - sign_bearing)) / np.maximum(size * wide, np.float32(1e-6))
    y = np.abs(slope - 0.16) / np.maximum(size, np.float32(1e-6))[:, :, None]
    outer = (x[:, None, :] < 1) & (y < 1)
    inner = (x[:, None, :] < 0.6) & (y < 0.6)
    _paint_mask(image, outer, appearance.sign[:, 3:, None, None])
    _paint_mask(image, inner, appearance.sign[:, :3, None, None])


def _paint_subject(image: Floats32, appearance: Appearance) -> None:
    """The subject of a close-up and an occluder; both are independent of the position."""
    high, wide = image.shape[2:]
    x = (np.arange(wide, dtype=np.float32) + 0.5) / wide * 2 - 1
    y = (np.arange(high, dtype=np.float32) + 0.5) / high * 2 - 1
    east, south, radius, waves = (appearance.subject_shape[:, k, None, None] for k in range(4))
    dx, dy = x[None, None, :] - east, y[None, :, None] - south
    inside = dx * dx + dy * dy < radius * radius
    texture = 1.0 + 0.25 * np.sin(waves * (dx + 0.5 * dy) * 3) * np.sin(waves * (dy - 0.3 * dx) * 2)
    _paint_mask(image, inside, appearance.subject[:, :, None, None] * texture[:, None])
    first, share = appearance.bar[:, 0, None], appearance.bar[:, 1, None]
    covered = np.abs((x[None, :] + 1) / 2 - first) < share / 2
    _paint_mask(image, np.repeat(covered[:, None, :], high, 1), np.float32(0.12))


def _apply_photo_effects(
    image: Floats32, appearance: Appearance, names: NDArray[np.uint64]
) -> None:
    """Contrast, color cast and grain of camera and filter."""
    contrast = appearance.filter[:, 3, None, None, None]
    image -= np.float32(0.5)
    image *= contrast
    image += np.float32(0.5)
    image *= appearance.filter[:, :3, None, None]
    high, wide = image.shape[2:]
    tile = _film_grain()
    for row, name in enumerate(names):
        tile_top = int(name % _NUM_GRAIN_SHIFTS)
        tile_left = int(name // _NUM_GRAIN_SHIFTS % _NUM_GRAIN_SHIFTS)
        grain = tile[:, tile_top : tile_top + high, tile_left : tile_left + wide]
        image[row] += appearance.filter[row, 4] * grain


def _as_float32(values: NDArray[np.floating[Any]]) -> Floats32:
    return np.asarray(values, np.float32)


def _lookup_sector(table: Floats32, sector: NDArray[np.int64]) -> Floats32:
    """Values `[B, S]` looked up per image column: `[B, W]`."""
    return np.take_along_axis(table, sector, axis=1)


def _wrap_angle(angle: Floats32) -> Floats32:
    """Wrap angles to [-π, π)."""
    return (angle + np.float32(np.pi)) % _FULL_TURN - np.float32(np.pi)


def _paint_mask(image: Floats32, mask: _Mask, color: Floats32 | np.float32) -> None:
    np.copyto(image, color, where=mask[:, None])


@cache
def _film_grain() -> Floats32:
    """Noise tile; each image uses a window of it. Large enough for panoramas of 128 px."""
    shape = (3, 256 + _NUM_GRAIN_SHIFTS, 512 + _NUM_GRAIN_SHIFTS)
    tile: Floats32 = rng(0, "grain").standard_normal(shape, np.float32)
    return tile
