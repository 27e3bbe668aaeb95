"""Appearance: render parameters of images, from latent factors and noise.

An image shows a noisy version of the factors of its position, and only some of their effects: a
close-up shows no road, a country lane no facades. A single image is therefore often ambiguous.
Letters: B images, S sectors of the horizon, T trees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.arrays import Floats32
from pinpoint.synthetic.draws import (
    SECTORS,
    Draws,
    Reals,
    columns,
    directional_factors,
    interpolate_color,
    logistic,
)
from pinpoint.synthetic.latent_fields import LATENT_COLUMNS, WIDTH
from pinpoint.synthetic.presets import Difficulty

FactorsByScale = Mapping[str, Reals]
"""Factors by scale."""

TREES: Final = 5
UNIFORMS: Final = 48
NORMALS: Final = WIDTH + 3 * SECTORS + 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """Render parameters of B images. Colors are `[B, 3, …]` in about [0, 1]; angles in radians."""

    heading: Floats32
    fov: Floats32
    pitch: Floats32
    sky: Floats32
    zenith: Floats32
    ridge: Floats32
    """Color of the hills at the horizon."""
    ridge_shape: Floats32
    """`[B, 3]`: height as a slope, waves around the horizon, phase."""
    ground: Floats32
    road: Floats32
    paint: Floats32
    road_shape: Floats32
    """`[B, 4]`: bearing, half width in meters (0: none), dash in meters, edge lines (0 or 1)."""
    houses: Floats32
    """`[B, 4, S]`: height and distance in meters (far: none), windows across, storey in meters."""
    walls: Floats32
    """`[B, 3, S]`."""
    fronts: Floats32
    """Ground floors, `[B, 3, S]`."""
    front_height: Floats32
    """`[B, S]` meters."""
    bands: Floats32
    """Ornament under the roof, `[B, 3]`."""
    band_shape: Floats32
    """`[B, 2]`: repeats across a house, share of the height."""
    windows: Floats32
    """`[B, 3]`: half width and half height as shares, brightness."""
    roof: Floats32
    roof_height: Floats32
    leaves: Floats32
    trees: Floats32
    """`[B, 4, T]`: bearing, distance, size in meters (0: none), slenderness."""
    sign: Floats32
    """`[B, 6]`: two colors of a road sign."""
    sign_shape: Floats32
    """`[B, 3]`: bearing, size as a slope (0: none), width over height."""
    subject: Floats32
    """`[B, 3]` color of the subject of a close-up."""
    subject_shape: Floats32
    """`[B, 4]`: x, y, radius in half images (0: none), waves of its texture."""
    filter: Floats32
    """`[B, 5]`: gain of red, green and blue, contrast, grain."""
    bar: Floats32
    """`[B, 2]`: center and width of an occluder, as shares of the image width; 0: none."""

    def take(self, rows: slice) -> Appearance:
        """The parameters of some of the images."""
        return Appearance(**{part.name: getattr(self, part.name)[rows] for part in fields(self)})


def draw_appearance(
    factors: Floats32,
    *,
    street: Floats32,
    rural: Floats32,
    heading_deg: Floats32,
    uniform: Floats32,
    normal: Floats32,
    difficulty: Difficulty,
) -> Appearance:
    """Draw the render parameters of images from the factors of their positions.

    Args:
        factors: Factors `[B, WIDTH]` at the camera positions.
        street: 1 for street views, else 0; `[B]`.
        rural: 1 for cameras outside of town, else 0; `[B]`.
        heading_deg: `[B]`.
        uniform: Uniform noise `[B, UNIFORMS]`.
        normal: Normal noise `[B, NORMALS]`.
        difficulty: Noise levels and frequencies.
    """
    draws = Draws(uniform, normal)
    photo = 1.0 - street
    noise = difficulty.photo_noise * photo + difficulty.street_noise * street
    noisy = factors + noise[:, None] * draws.normal(1.0, WIDTH)
    noisy_factors: FactorsByScale = {
        name: noisy[:, columns] for name, columns in LATENT_COLUMNS.items()
    }
    facades = np.where(street > 0, difficulty.street_facades, difficulty.photo_facades)
    facades = np.where(rural > 0, difficulty.rural_facades, facades)
    light = draws.uniform(0.75, 1.1) * (1.0 - 0.25 * draws.uniform() * photo)
    heading = np.radians(heading_deg).astype(np.float32)
    values: dict[str, Reals] = dict(
        heading=heading,
        fov=np.where(street > 0, np.float32(1.3), draws.uniform(0.7, 1.35)).astype(np.float32),
        pitch=np.where(street > 0, np.float32(0.1), draws.uniform(-0.1, 0.35)).astype(np.float32),
        **_draw_landscape_factors(noisy_factors, draws, light),
        **_draw_road_factors(noisy_factors, draws, street, heading),
        **_draw_house_factors(noisy_factors, draws, light, draws.uniform() < facades),
        **_draw_vegetation_factors(noisy_factors, draws, light),
        **_draw_sign_factors(noisy_factors, draws, street, heading),
        **_draw_subject_factors(draws, photo, difficulty),
    )
    return Appearance(
        **{name: np.ascontiguousarray(value, np.float32) for name, value in values.items()}
    )


def _draw_landscape_factors(part: FactorsByScale, draws: Draws, light: Reals) -> dict[str, Reals]:
    climate, region = part["climate"], part["region"]
    cloud = draws.uniform()[:, None]
    clear = interpolate_color((0.62, 0.72, 0.82), (0.80, 0.80, 0.74), logistic(climate[:, 0]))
    top = interpolate_color((0.30, 0.48, 0.80), (0.38, 0.62, 0.88), logistic(climate[:, 1]))
    gray = np.float32(0.78)
    dry = interpolate_color(
        (0.42, 0.52, 0.28), (0.74, 0.62, 0.42), logistic(climate[:, 0] - climate[:, 1])
    )
    ground = dry + 0.10 * np.tanh(region[:, 4:5]) * np.array([1.0, 0.2, -0.8], np.float32)
    ridge = interpolate_color((0.30, 0.40, 0.32), (0.55, 0.45, 0.42), logistic(region[:, 5]))
    shape = (
        0.04 + 0.38 * logistic(1.4 * region[:, 0]),
        2.0 + 9.0 * logistic(1.4 * region[:, 1]),
        draws.uniform(0.0, 2 * np.pi),
    )
    return {
        "sky": (clear + (gray - clear) * cloud) * light[:, None],
        "zenith": (top + (gray - top) * cloud) * light[:, None],
        "ridge": (0.7 * ridge + 0.3 * clear) * light[:, None],
        "ridge_shape": columns(*shape),
        "ground": ground * light[:, None],
    }


def _draw_road_factors(
    part: FactorsByScale, draws: Draws, street: Reals, heading: Reals
) -> dict[str, Reals]:
    country = part["country"]
    visible = (street > 0) | (draws.uniform() < 0.35)
    bearing_offset = np.where(
        street > 0, 0.1 * draws.normal(1.0, 1)[:, 0], draws.uniform(-1.5, 1.5)
    )
    tone = 0.22 + 0.36 * logistic(1.3 * country[:, 0])
    return {
        "road": tone[:, None] * np.array([1.0, 0.98, 0.96], np.float32),
        "paint": interpolate_color(
            (0.95, 0.95, 0.95), (0.98, 0.74, 0.10), logistic(2.0 * country[:, 1])
        ),
        "road_shape": columns(
            heading + bearing_offset,
            np.where(visible, 2.5 + 3.0 * logistic(country[:, 2]), 0.0),
            1.0 + 5.0 * logistic(1.3 * country[:, 3]),
            np.where(country[:, 2] + country[:, 0] > 0.0, 1.0, 0.0),
        ),
    }


def _draw_house_factors(
    part: FactorsByScale, draws: Draws, light: Reals, built: NDArray[np.bool_]
) -> dict[str, Reals]:
    country, town, region = part["country"], part["town"], part["region"]
    house_noise = draws.normal(1.0, 3 * SECTORS).reshape(-1, 3, SECTORS)
    corner = directional_factors(part["corner"])
    tone = 0.32 + 0.5 * logistic(0.9 * town[:, 1] + 0.4 * country[:, 5])
    warm = 0.24 * np.tanh(0.8 * country[:, 3] + 0.6 * town[:, 0])
    green = 0.16 * np.tanh(0.8 * country[:, 4] + 0.6 * town[:, 2])
    gray = tone[:, None] + 0.05 * house_noise[:, 0]
    walls = np.stack(
        [
            gray + warm[:, None] + 0.03 * house_noise[:, 1],
            gray + green[:, None],
            gray - warm[:, None] - 0.5 * green[:, None],
        ],
        axis=1,
    )
    height = 5.0 + 15.0 * logistic(town[:, 3] + 0.3 * country[:, 6])
    distance = np.where(built, draws.uniform(9.0, 22.0), 1e4)
    present = house_noise[:, 2] > draws.uniform(-2.0, -0.3)[:, None]
    houses = (
        height[:, None] * (1.0 + 0.15 * house_noise[:, 2]),
        np.where(present, distance[:, None], 1e4),
        np.repeat((2.0 + 4.0 * logistic(1.3 * country[:, 5]))[:, None], SECTORS, axis=1),
        np.repeat((2.6 + 1.8 * logistic(1.3 * country[:, 6]))[:, None], SECTORS, axis=1),
    )
    roof = interpolate_color((0.62, 0.30, 0.20), (0.30, 0.32, 0.38), logistic(1.3 * country[:, 7]))
    roof = roof + 0.10 * np.tanh(region[:, 5:6])
    spot = part["corner"]
    bands = np.stack([0.5 + 0.4 * np.tanh(spot[:, k]) for k in (4, 5, 6)], axis=1)
    return {
        "houses": np.stack(houses, axis=1).astype(np.float32),
        "walls": (walls * light[:, None, None]).astype(np.float32),
        "fronts": ((0.5 + 0.4 * np.tanh(corner[:, :3])) * light[:, None, None]).astype(np.float32),
        "front_height": (2.0 + 2.5 * logistic(corner[:, 3])).astype(np.float32),
        "bands": bands * light[:, None],
        "band_shape": columns(
            1.0 + 4.0 * logistic(1.4 * spot[:, 7]), 0.08 + 0.2 * logistic(town[:, 5])
        ),
        "windows": columns(
            0.15 + 0.28 * logistic(1.3 * town[:, 4]),
            0.20 + 0.22 * logistic(1.3 * country[:, 4]),
            0.15 + 0.75 * logistic(1.3 * town[:, 5]),
        ),
        "roof": roof * light[:, None],
        "roof_height": 0.6 + 3.0 * logistic(1.3 * region[:, 3]),
    }


def _draw_vegetation_factors(part: FactorsByScale, draws: Draws, light: Reals) -> dict[str, Reals]:
    climate, region = part["climate"], part["region"]
    dense = logistic(0.8 * climate[:, 1] + 0.8 * region[:, 2])
    present = np.stack([draws.uniform() < dense for _ in range(TREES)], axis=1)
    size = 1.5 + 2.0 * logistic(region[:, 3])[:, None] + 0.4 * draws.normal(1.0, TREES)
    slender = np.repeat(
        (0.45 + 1.3 * logistic(1.3 * region[:, 3] - 0.8 * climate[:, 0]))[:, None], TREES, axis=1
    )
    bearing = np.stack([draws.uniform(0.0, 2 * np.pi) for _ in range(TREES)], axis=1)
    distance = np.stack([draws.uniform(7.0, 16.0) for _ in range(TREES)], axis=1)
    leaves = interpolate_color(
        (0.20, 0.42, 0.16), (0.52, 0.50, 0.18), logistic(climate[:, 0] - 0.7 * climate[:, 1])
    )
    leaves = leaves + 0.08 * np.tanh(region[:, 2:3]) * np.array([-0.6, 0.5, 0.8], np.float32)
    trees = (bearing, distance, np.where(present, np.maximum(size, 0.8), 0.0), slender)
    return {
        "leaves": leaves * light[:, None],
        "trees": np.stack(trees, axis=1).astype(np.float32),
    }


def _draw_sign_factors(
    part: FactorsByScale, draws: Draws, street: Reals, heading: Reals
) -> dict[str, Reals]:
    country = part["country"]
    visible = draws.uniform() < np.where(street > 0, 0.5, 0.2)
    plate = interpolate_color((0.95, 0.95, 0.95), (0.95, 0.80, 0.10), logistic(2.0 * country[:, 7]))
    rim = interpolate_color((0.10, 0.25, 0.70), (0.80, 0.10, 0.10), logistic(2.0 * country[:, 2]))
    return {
        "sign": np.concatenate([plate, rim], axis=1),
        "sign_shape": columns(
            heading + draws.uniform(-0.45, 0.45),
            np.where(visible, draws.uniform(0.05, 0.11), 0.0),
            0.6 + 1.8 * logistic(1.3 * country[:, 6]),
        ),
    }


def _draw_subject_factors(draws: Draws, photo: Reals, difficulty: Difficulty) -> dict[str, Reals]:
    """Effects of a photographer: a close-up subject, a filter, an occluder."""
    draw = draws.uniform()
    uninformative = (draw < difficulty.uninformative) & (photo > 0)
    close_up = (draw < difficulty.uninformative + difficulty.close_ups) & (photo > 0)
    radius = np.where(close_up, draws.uniform(0.35, 0.85), 0.0)
    radius = np.where(uninformative, 3.0, radius)
    cast = 1.0 + draws.normal(difficulty.cast, 3) * photo[:, None]
    contrast = 1.0 + 0.15 * photo * draws.normal(1.0, 1)[:, 0]
    occluded = (draws.uniform() < 0.12) & (photo > 0)
    return {
        "subject": np.stack([draws.uniform(0.1, 0.95) for _ in range(3)], axis=1),
        "subject_shape": columns(
            draws.uniform(-0.4, 0.4), draws.uniform(-0.4, 0.3), radius, draws.uniform(1.0, 9.0)
        ),
        "filter": columns(cast[:, 0], cast[:, 1], cast[:, 2], contrast, draws.uniform(0.01, 0.04)),
        "bar": columns(draws.uniform(), np.where(occluded, draws.uniform(0.1, 0.3), 0.0)),
    }
