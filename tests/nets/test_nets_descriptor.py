"""The descriptor without weights, compared with loops over pixels."""

import math

import numpy as np
import pytest
import torch

from nets.towers import random_images
from pinpoint.nets.bundle.contract import DESCRIPTOR_DIM, DESCRIPTOR_NOTE, DESCRIPTOR_PREPROCESS
from pinpoint.nets.towers.descriptor import Descriptor
from pinpoint.nets.towers.preprocess import preprocess_images

SIDE = 16


def unit(values):
    length = math.sqrt(sum(value * value for value in values))
    return [value / length if length > 1e-12 else value / 1e-12 for value in values]


def cells(plane, grid):
    """Means of a plane over `grid` × `grid` cells, row by row."""
    step = SIDE // grid
    return [
        sum(plane[y][x] for y in range(top, top + step) for x in range(left, left + step)) / step**2
        for top in range(0, SIDE, step)
        for left in range(0, SIDE, step)
    ]


def blank(count):
    return [[[0.0] * SIDE for _ in range(SIDE)] for _ in range(count)]


def opponent(image):
    planes = blank(3)
    for y in range(SIDE):
        for x in range(SIDE):
            red, green, blue = (float(value) for value in image[:, y, x])
            planes[0][y][x] = (red + green + blue) / 3
            planes[1][y][x] = red - green
            planes[2][y][x] = (red + green) / 2 - blue
    return planes


def edges(light):
    planes = blank(8)
    for y in range(SIDE):
        for x in range(SIDE):
            across = light[y][x + 1] - light[y][x - 1] if 0 < x < SIDE - 1 else 0.0
            down = light[y + 1][x] - light[y - 1][x] if 0 < y < SIDE - 1 else 0.0
            position = math.atan2(down, across) / math.pi * 8 % 8
            low, share = int(position) % 8, position % 1
            planes[low][y][x] += math.hypot(across, down) * (1 - share)
            planes[(low + 1) % 8][y][x] += math.hypot(across, down) * share
    return planes


def tones(planes):
    shares = []
    for plane, (low, high) in zip(planes, ((0, 1), (-0.3, 0.3), (-0.3, 0.3)), strict=True):
        bins = blank(8)
        for y in range(SIDE):
            for x in range(SIDE):
                position = min(max((plane[y][x] - low) / (high - low), 0), 1) * 7
                first = min(int(position), 6)
                bins[first][y][x] += 1 - (position - first)
                bins[first + 1][y][x] += position - first
        shares += bins
    return shares


def histogram(planes, grid):
    return unit([math.sqrt(value) for plane in planes for value in cells(plane, grid)])


def descriptor_by_loop(image):
    planes = opponent(image)
    orientations, shares = edges(planes[0]), tones(planes)
    means = [cells(plane, 4) for plane in planes]
    squares = [cells([[v * v for v in row] for row in plane], 4) for plane in planes]
    gray = (0.5, 0.0, 0.0)
    mean = unit([v - gray[c] for c, values in enumerate(means) for v in values])
    deviation = unit(
        [
            math.sqrt(max(square - mean * mean, 0))
            for values, many in zip(means, squares, strict=True)
            for mean, square in zip(values, many, strict=True)
        ]
    )
    weighted = (
        (1.0, histogram(orientations, 4)),
        (0.7, histogram(orientations, 2)),
        (0.5, histogram(orientations, 1)),
        (0.7, mean),
        (0.7, deviation),
        (1.0, histogram(shares, 2)),
        (0.7, histogram(shares, 1)),
    )
    return [weight * value for weight, part in weighted for value in part]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_descriptor_agrees_with_loop(seed):
    image = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
    image = image * torch.linspace(0.2, 1, SIDE)
    ours = Descriptor()(image)[0].numpy()
    np.testing.assert_allclose(ours, descriptor_by_loop(image[0].numpy()), atol=2e-5)
    assert ours.shape == (DESCRIPTOR_DIM,)


@pytest.mark.parametrize("value", [0, 127, 128, 255])
def test_descriptor_of_blank_image_is_finite(value):
    image = np.full((80, 60, 3), value, np.uint8)
    out = Descriptor()(preprocess_images([image], DESCRIPTOR_PREPROCESS))
    assert torch.isfinite(out).all()
    assert out.norm() > 0.5


def test_descriptor_of_shifted_view_is_nearest():
    views = random_images(12, seed=4)
    later = [np.roll(view, 2, axis=1).astype(np.int16) + 6 for view in views]
    later = [np.clip(view, 0, 255).astype(np.uint8) for view in later]
    describe = Descriptor()
    first, second = (
        describe(preprocess_images(v, DESCRIPTOR_PREPROCESS)).numpy() for v in (views, later)
    )
    assert ((first @ second.T).argmax(axis=1) == np.arange(12)).all()


def test_descriptor_has_note_and_no_parameters():
    assert "knows nothing about places" in DESCRIPTOR_NOTE
    assert sum(parameter.numel() for parameter in Descriptor().parameters()) == 0
