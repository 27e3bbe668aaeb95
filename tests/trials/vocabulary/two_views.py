"""Judge vocabularies by two views of the same photo, without any photo of a place.

A view is a part of a photo, changed in perspective and light; two views of a photo overlap by
less than half. A vocabulary is learned from one half of the photos, and each view of the other
half asks for the other view of its photo among all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance

from pinpoint.nets.bundle.bundles import Bundle
from pinpoint.nets.towers.aggregation import Aggregation
from pinpoint.nets.towers.feature_maps import LocalMap
from pinpoint.records import Pixels
from pinpoint.training.vocabulary.config import VocabularyConfig
from pinpoint.training.vocabulary.fitting import describe_aggregation, fit_vocabulary, to_torch
from pinpoint.training.vocabulary.patch_features import PatchFeatureSource
from trials.vocabulary.photos import LAYER

VIEWS = 3
"""Pairs of views per photo."""
SEEDS = (0, 1, 2)
SAMPLED = 127
"""Patch features of each photo, as in `learn_from_pixels` for few photos."""
_SAME_PHOTO = 0.97
"""Cosine of mean patch features from which two files show one photo."""


def make_view(pixels: Pixels, is_left: bool, rng: np.random.Generator) -> Pixels:
    """A part of a photo around its left or right middle, as from another position and hour."""
    image = Image.fromarray(pixels)
    width, height = image.size
    crop_width = int(width * rng.uniform(0.3, 0.5))
    crop_height = int(height * rng.uniform(0.45, 0.75))
    center_x = width * (rng.uniform(0.36, 0.44) if is_left else rng.uniform(0.56, 0.64))
    left = int(np.clip(center_x - crop_width / 2, 0, width - crop_width))
    top = int(np.clip(height * rng.uniform(0.4, 0.6) - crop_height / 2, 0, height - crop_height))
    view = image.crop((left, top, left + crop_width, top + crop_height))
    tilt = rng.uniform(0.0, 0.25) * crop_height
    near, far = (0.0, tilt) if is_left else (tilt, 0.0)
    corners = (0, near, 0, crop_height - near, crop_width, crop_height - far, crop_width, far)
    view = view.transform(view.size, Image.Transform.QUAD, corners, Image.Resampling.BICUBIC)
    return _change_light(view, rng)


def change_query(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A part of a street view in other light: as of another camera at another hour."""
    image = Image.fromarray(pixels)
    width, height = (int(side_px * rng.uniform(0.6, 0.85)) for side_px in image.size)
    left = int(rng.uniform(0, image.width - width))
    top = int(rng.uniform(0, image.height - height))
    return _change_light(image.crop((left, top, left + width, top + height)), rng)


def _change_light(view: Image.Image, rng: np.random.Generator) -> Pixels:
    view = ImageEnhance.Brightness(view).enhance(rng.uniform(0.4, 1.7))
    view = ImageEnhance.Color(view).enhance(rng.uniform(0.1, 1.6))
    return np.asarray(ImageEnhance.Contrast(view).enhance(rng.uniform(0.6, 1.4)))


@dataclass(frozen=True)
class TwoViews:
    """Patch features at unit length: of whole photos `[N, T, C]`, of views `[N, VIEWS, T, C]`."""

    photos: torch.Tensor
    lefts: torch.Tensor
    rights: torch.Tensor
    fold: np.ndarray
    """0 or 1 for each photo, `[N]`."""


@torch.inference_mode()
def extract_views(images: Sequence[Pixels], tower: Bundle) -> TwoViews:
    """Views of all photos; of files that show one photo, the first."""
    source, rng = PatchFeatureSource.open(tower, LAYER, "cpu"), np.random.default_rng(0)

    def extract(image: Pixels) -> torch.Tensor:
        return F.normalize(source._extract(image).features[0], dim=1).half()

    kept: list[Pixels] = []
    features: list[torch.Tensor] = []
    means: list[torch.Tensor] = []
    for image in images:
        local = extract(image)
        mean = F.normalize(local.float().mean(dim=0), dim=0)
        if means and float((torch.stack(means) @ mean).max()) > _SAME_PHOTO:
            continue
        kept.append(image)
        features.append(local)
        means.append(mean)
    sides = [
        torch.stack(
            [torch.stack([extract(make_view(i, left, rng)) for _ in range(VIEWS)]) for i in kept]
        )
        for left in (True, False)
    ]
    fold = np.random.default_rng(1).permutation(len(kept)) % 2
    return TwoViews(torch.stack(features), sides[0], sides[1], fold)


def learn(maps: Sequence[torch.Tensor], config: VocabularyConfig) -> Aggregation:
    """Vocabulary of patch features; `maps` are lists of images `[N, T, C]`, of several kinds."""
    rng = np.random.default_rng(config.seed)
    sampled = [
        image[np.sort(rng.choice(len(image), SAMPLED, replace=False))].float().numpy()
        for kind in maps
        for image in kind
    ]
    tensors = fit_vocabulary(np.concatenate(sampled), config)
    channels = maps[0].shape[2]
    spec = describe_aggregation(tensors, config, feature_dim=channels, license="unwritten")
    return Aggregation(spec, to_torch(tensors), "learned")


@torch.inference_mode()
def embed(aggregation: Aggregation | None, maps: torch.Tensor) -> np.ndarray:
    """Vectors `[N, D]` of patch features `[N, T, C]`; None is the mean."""
    rows = []
    for image in maps:
        features = image[None].float()
        if aggregation is None:
            rows.append(F.normalize(features.mean(dim=1), dim=1))
        else:
            rows.append(aggregation(LocalMap(features, features[:, :0])))
    return torch.cat(rows).numpy()


def share_right(aggregation: Aggregation | None, views: TwoViews, fold: int) -> float:
    """Share of the views of one half whose nearest view of the other side is of their photo."""
    rows = np.flatnonzero(views.fold == fold)
    lefts, rights = (
        embed(aggregation, side[rows].flatten(0, 1)) for side in (views.lefts, views.rights)
    )
    photo = np.repeat(rows, VIEWS)
    similarities = lefts @ rights.T
    right = (photo[similarities.argmax(axis=1)] == photo).mean()
    return float(right + (photo[similarities.argmax(axis=0)] == photo).mean()) / 2.0


def judge(views: TwoViews, config: VocabularyConfig | None, more: torch.Tensor | None) -> float:
    """Share that is right, over both halves and all seeds.

    Args:
        views: Of all photos.
        config: Of the vocabulary; None for the mean of the patch features.
        more: Patch features of other images to learn from, `[N, T, C]`.
    """
    shares = []
    for fold in (0, 1):
        if config is None:
            shares.append(share_right(None, views, fold))
            continue
        learned_from = [views.photos[views.fold != fold], *([] if more is None else [more])]
        for seed in SEEDS:
            seeded = VocabularyConfig(
                layer=config.layer,
                num_centers=config.num_centers,
                local_dim=config.local_dim,
                has_pca=False,
                seed=seed,
            )
            shares.append(share_right(learn(learned_from, seeded), views, fold))
    return float(np.mean(shares))
