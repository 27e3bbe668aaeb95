"""Preprocessing, shared by training and serving: renditions to a batch of equal squares.

Computed in torch, one image at a time, so that an image's pixels cannot depend on the rest of the
batch. Letters: B images, H and W their pixels, S side of the tower's input square.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from pinpoint.nets.bundle.contract import Preprocess
from pinpoint.records import Pixels

_MAX_ASPECT = 4
"""Images with a larger aspect ratio are center-cropped first. Otherwise an image 3,000,000 px wide,
scaled by its shorter side, would fill the memory before it is cropped or squeezed."""


def preprocess_images(
    images: Sequence[Pixels], spec: Preprocess, device: torch.device | None = None
) -> torch.Tensor:
    """Preprocess images of any size to `[B, 3, S, S]` fp32, computed on `device`.

    Raises:
        ValueError: An image is not `[H, W, 3]` uint8, or has no pixels.
    """
    side_px = spec.size_px
    batch = torch.empty((len(images), 3, side_px, side_px), dtype=torch.float32, device=device)
    for row, image in enumerate(images):
        batch[row] = _to_square(image, spec, device)
    mean = torch.tensor(spec.mean, dtype=torch.float32, device=device).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, dtype=torch.float32, device=device).view(1, 3, 1, 1)
    return batch.div_(255.0).sub_(mean).div_(std)


def _to_square(image: Pixels, spec: Preprocess, device: torch.device | None) -> torch.Tensor:
    """One image as `[3, S, S]` in [0, 255]."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            f"an image must be [H, W, 3] uint8 with pixels, not {image.shape} {image.dtype}"
        )
    image = _crop_long(image)
    height_px, width_px = image.shape[:2]
    scaled_px = math.floor(spec.size_px / spec.crop)
    if spec.resize == "squash":
        target_size = (scaled_px, scaled_px)
    elif width_px <= height_px:
        target_size = (scaled_px * height_px // width_px, scaled_px)
    else:
        target_size = (scaled_px, scaled_px * width_px // height_px)
    # A copy: callers may pass read-only or strided arrays, which torch does not accept.
    pixels = torch.from_numpy(np.array(image, order="C", copy=True)).to(device)
    planes = pixels.permute(2, 0, 1).unsqueeze(0).to(torch.float32)
    if target_size != (height_px, width_px):
        planes = F.interpolate(planes, size=target_size, mode=spec.interpolation, antialias=True)
    crop_top = round((target_size[0] - spec.size_px) / 2)
    crop_left = round((target_size[1] - spec.size_px) / 2)
    square = planes[0, :, crop_top : crop_top + spec.size_px, crop_left : crop_left + spec.size_px]
    # Bicubic overshoots at edges. Pillow, used to train the published weights, clips as well.
    return square.clamp(0.0, 255.0)


def _crop_long(image: Pixels) -> Pixels:
    """Center-crop an image whose longer side exceeds `_MAX_ASPECT` times the shorter one."""
    height_px, width_px = image.shape[:2]
    longest_px = _MAX_ASPECT * min(height_px, width_px)
    if height_px > longest_px:
        crop_top = (height_px - longest_px) // 2
        return image[crop_top : crop_top + longest_px]
    if width_px > longest_px:
        crop_left = (width_px - longest_px) // 2
        return image[:, crop_left : crop_left + longest_px]
    return image
