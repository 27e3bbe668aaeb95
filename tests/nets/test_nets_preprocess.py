"""Preprocessing, compared with Pillow, which published weights were trained with."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from nets.towers import random_images
from pinpoint.nets.bundle.contract import Preprocess
from pinpoint.nets.towers.preprocess import preprocess_images

FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def preprocess_by_pillow(image, spec):
    """torchvision's Resize and CenterCrop by Pillow, `[3, S, S]` normalized."""
    pillow_image = Image.fromarray(image)
    side = math.floor(spec.size_px / spec.crop)
    width, height = pillow_image.size
    if spec.resize == "squash":
        size = (side, side)
    elif width <= height:
        size = (side, int(side * height / width))
    else:
        size = (int(side * width / height), side)
    pillow_image = pillow_image.resize(size, FILTERS[spec.interpolation])
    left = round((size[0] - spec.size_px) / 2)
    top = round((size[1] - spec.size_px) / 2)
    square = pillow_image.crop((left, top, left + spec.size_px, top + spec.size_px))
    values = np.asarray(square, dtype=np.float64) / 255
    return ((values - np.array(spec.mean)) / np.array(spec.std)).transpose(2, 0, 1)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("resize", "crop"), [("shorter", 1.0), ("shorter", 0.875), ("squash", 1)])
@pytest.mark.parametrize("size_px", [32, 97, 224])
def test_preprocess_images_agrees_with_pillow(interpolation, resize, crop, size_px):
    spec = Preprocess(
        size_px=size_px,
        resize=resize,
        crop=crop,
        interpolation=interpolation,
        mean=(0.5, 0.4, 0.3),
        std=(0.2, 0.25, 0.3),
    )
    images = random_images(4)
    ours = preprocess_images(images, spec).numpy()
    for image, square in zip(images, ours, strict=True):
        # Pillow rounds to whole gray levels after each of its two passes; our code does not.
        np.testing.assert_allclose(square, preprocess_by_pillow(image, spec), atol=2.0 / 255 / 0.2)
        assert np.abs(square - preprocess_by_pillow(image, spec)).mean() < 0.5 / 255 / 0.2


def test_preprocess_images_of_target_size_keeps_pixels():
    image = np.random.default_rng(1).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    out = preprocess_images([image], Preprocess(size_px=48, resize="shorter"))
    np.testing.assert_array_equal(out[0].numpy() * 255, image.transpose(2, 0, 1))


def test_preprocess_images_row_is_independent_of_batch():
    spec = Preprocess(size_px=50, resize="shorter")
    images = random_images(9)
    batch = preprocess_images(images, spec)
    for row, image in enumerate(images):
        assert torch.equal(preprocess_images([image], spec)[0], batch[row])


def test_preprocess_images_accepts_read_only_and_strided_arrays():
    image = random_images(1)[0]
    spec = Preprocess(size_px=40, resize="squash")
    wanted = preprocess_images([image.copy()], spec)
    frozen = image.copy()
    frozen.setflags(write=False)
    assert torch.equal(preprocess_images([frozen], spec), wanted)
    assert torch.equal(preprocess_images([image[:, ::-1].copy()[:, ::-1]], spec), wanted)


@pytest.mark.parametrize("shape", [(1, 1), (1, 200_000), (200_000, 1), (3, 5)])
@pytest.mark.parametrize("resize", ["shorter", "squash"])
def test_preprocess_images_of_extreme_shape_is_square(shape, resize):
    image = np.full((*shape, 3), 77, dtype=np.uint8)
    out = preprocess_images([image], Preprocess(size_px=224, resize=resize))
    np.testing.assert_allclose(out.numpy(), 77 / 255, atol=1e-5)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_preprocess_images_with_invalid_array_is_refused(image):
    with pytest.raises(ValueError, match="uint8"):
        preprocess_images([image], Preprocess(size_px=32, resize="squash"))
