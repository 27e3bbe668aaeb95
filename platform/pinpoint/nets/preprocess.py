"""The one preprocessing of training and serving: renditions in, a batch of equal squares out.

Computed in torch, one picture at a time, so that a picture's pixels cannot depend on what else is
in the batch. Letters: B pictures, H and W their pixels, S the side of the square a tower sees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from pinpoint.nets.contract import Preprocess
from pinpoint.records import Pixels

_MAX_ASPECT = 4
"""Pictures longer than this are first cut to their middle: one of 3,000,000 px width would fill the
memory, scaled by its shorter side, only to be cropped or squeezed afterwards."""


def prepare(
    images: Sequence[Pixels], spec: Preprocess, device: torch.device | None = None
) -> torch.Tensor:
    """Bring pictures of any size to `[B, 3, S, S]` fp32, computed on `device`.

    Raises:
        ValueError: A picture is not `[H, W, 3]` uint8, or has no pixels.
    """
    side_px = spec.size_px
    batch = torch.empty((len(images), 3, side_px, side_px), dtype=torch.float32, device=device)
    for row, image in enumerate(images):
        batch[row] = _square(image, spec, device)
    mean = torch.tensor(spec.mean, dtype=torch.float32, device=device).view(1, 3, 1, 1)
    std = torch.tensor(spec.std, dtype=torch.float32, device=device).view(1, 3, 1, 1)
    return batch.div_(255.0).sub_(mean).div_(std)


def _square(image: Pixels, spec: Preprocess, device: torch.device | None) -> torch.Tensor:
    """One picture as `[3, S, S]` in [0, 255]."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            f"a picture must be [H, W, 3] uint8 with pixels, not {image.shape} {image.dtype}"
        )
    image = _cut_long(image)
    height_px, width_px = image.shape[:2]
    scaled_px = math.floor(spec.size_px / spec.crop)
    if spec.resize == "squash":
        target = (scaled_px, scaled_px)
    elif width_px <= height_px:
        target = (scaled_px * height_px // width_px, scaled_px)
    else:
        target = (scaled_px, scaled_px * width_px // height_px)
    # A copy: callers may hand in read-only or strided arrays, which torch cannot take.
    pixels = torch.from_numpy(np.array(image, order="C", copy=True)).to(device)
    planes = pixels.permute(2, 0, 1).unsqueeze(0).to(torch.float32)
    if target != (height_px, width_px):
        planes = F.interpolate(planes, size=target, mode=spec.interpolation, antialias=True)
    top = round((target[0] - spec.size_px) / 2)
    left = round((target[1] - spec.size_px) / 2)
    square = planes[0, :, top : top + spec.size_px, left : left + spec.size_px]
    # Bicubic overshoots at edges; Pillow, by which published weights were trained, clips as well.
    return square.clamp(0.0, 255.0)


def _cut_long(image: Pixels) -> Pixels:
    """The middle of a picture that is longer than `_MAX_ASPECT` times its other side."""
    height_px, width_px = image.shape[:2]
    longest_px = _MAX_ASPECT * min(height_px, width_px)
    if height_px > longest_px:
        top = (height_px - longest_px) // 2
        return image[top : top + longest_px]
    if width_px > longest_px:
        left = (width_px - longest_px) // 2
        return image[:, left : left + longest_px]
    return image
