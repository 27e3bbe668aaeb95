"""Input of the heads: cached features of a frozen tower, or cached pixels of a trained one.

A trained tower encodes every image repeatedly, each time with other weights. Therefore the cache
holds the preprocessed images: `2 * 3 * S * S` bytes each, 24 kB at 64 px and 294 kB at 224 px.
Letters: N rows of the table, B of a batch, S the side of an image, W the width of a cached row, F
that of the tower's features.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pinpoint.errors import BadRequestError
from pinpoint.nets.bundle.bundles import Bundle, find_bundle, read_bundle
from pinpoint.nets.bundle.checkpoint import load_tower, tower_width, write_trained_tower
from pinpoint.nets.bundle.contract import Preprocess, TowerSpec
from pinpoint.nets.bundle.digests import digest, preprocess_digest
from pinpoint.nets.embedder.joint_embedding import HEADS_FILE
from pinpoint.nets.runtime import check_tower_size, choose_device, tower_features
from pinpoint.nets.towers.backbone import Tower, init_tower, suggested_preprocess
from pinpoint.nets.towers.freezing import unfreeze
from pinpoint.nets.towers.preprocess import preprocess_images
from pinpoint.records import Pixels
from pinpoint.settings import Settings
from pinpoint.training.core.configs import EmbedderConfig, TowerConfig
from pinpoint.training.core.samples import Rows

TOWER: Final = "tower"
"""Folder of the trained tower, in the run's folder."""
_BATCH_ROWS: Final = 256


class TrainedTower(nn.Module):
    """Cached images `[B, 3 * S * S]` to features `[B, F]` fp32; some blocks have gradients."""

    def __init__(self, tower: Tower, config: TowerConfig, size_px: int) -> None:
        super().__init__()
        self.tower = tower
        self._uses_bf16 = config.precision == "bf16"
        self._all_blocks = config.trainable_blocks == "all"
        self._size_px = size_px
        self._mirror, self._shift_px = config.horizontal_flip, config.random_crop_shift_px

    def train(self, mode: bool = True) -> TrainedTower:
        """Set the mode; with frozen blocks, the running means of all norms stay unchanged."""
        super().train(mode and self._all_blocks)
        return self

    def draw_variations(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Variation of each of B images at a step: mirrored or not, down, right, `[B, 3]`."""
        mirrored = rng.integers(1 + self._mirror, size=count)
        shifts = rng.integers(2 * self._shift_px + 1, size=(count, 2))
        return np.column_stack([mirrored, shifts])

    def apply_variations(self, rows: torch.Tensor, variations: NDArray[np.int64]) -> torch.Tensor:
        """Cached images `[B, 3 * S * S]` with the drawn variations, of the same shape."""
        if not self._mirror and not self._shift_px:
            return rows
        count, side_px = len(rows), self._size_px
        mirrored, down_px, right_px = torch.from_numpy(variations)[:, :, None].unbind(1)
        # Source line and source column of each pixel; the edge is repeated beyond it.
        offsets = torch.arange(side_px) - self._shift_px
        line = (offsets + down_px).clamp(0, side_px - 1)
        column = (offsets + right_px).clamp(0, side_px - 1)
        column = torch.where(mirrored == 1, column.flip(1), column)
        # Full lines first: copying them is much faster than copying single pixels.
        first = torch.arange(0, 3 * count * side_px, side_px).view(count, 3, 1)
        lines = rows.reshape(-1, side_px)[(first + line[:, None]).flatten()]
        columns = column[:, None].expand(count, 3 * side_px, side_px)
        return lines.view(count, 3 * side_px, side_px).gather(2, columns).flatten(1)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Encode images."""
        pixels = rows.view(len(rows), 3, self._size_px, self._size_px)
        pixels = pixels.to(memory_format=torch.channels_last)
        with torch.autocast(rows.device.type, torch.bfloat16, enabled=self._uses_bf16):
            features: torch.Tensor = self.tower(pixels)
        return features.to(torch.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSource:
    """The cached rows of images, and the tower that computes features from them."""

    encode: Callable[[Sequence[Pixels]], NDArray[Any]]
    """Images to the cached rows `[B, W]`."""
    digest: str
    """Identifies the cached rows."""
    width: int
    """W."""
    feature_dim: int
    """F."""
    make_tower: Callable[[], TrainedTower] | None
    """Creates the tower at step 0, the same at each call; None for a frozen tower."""
    bundle: Bundle | None
    """Bundle of the tower; None for one without trained weights."""
    spec: TowerSpec
    preprocess: Preprocess


def open_feature_source(config: EmbedderConfig, settings: Settings) -> FeatureSource:
    """The feature source that a config describes.

    Raises:
        BadRequestError: The bundle has heads already, or the config does not define its tower.
        BadBundleError: Tower and weights cannot be used.
        ConfigurationError: Renditions are smaller than the tower's input.
    """
    is_untrained = ":" in config.tower
    if is_untrained:
        spec, preprocess, bundle = *_untrained_spec(config), None
    else:
        bundle = _require_bare_tower(find_bundle(config.tower, settings.services.home))
        spec, preprocess = bundle.contract.tower, bundle.contract.preprocess
    check_tower_size(config.tower, preprocess.size_px, settings.media.rendition_px)
    if bundle is not None and config.train_tower is None:
        return _frozen_source(bundle, settings)
    if bundle is not None and bundle.contract.aggregation is not None:
        raise BadRequestError(
            f"{config.tower} has an aggregation, whose vocabulary belongs to the weights it was "
            "learned with: leave train_tower out, or name the bundle of the bare tower"
        )
    tower_config = config.train_tower or TowerConfig()
    if tower_config.size_px not in (None, preprocess.size_px) or (
        bundle and tower_config.arguments
    ):
        raise BadRequestError(
            f"the bundle of the tower {config.tower} defines its shape and its input of "
            f"{preprocess.size_px} px: leave train_tower.size_px and .arguments out"
        )
    side_px, seed = preprocess.size_px, config.schedule.seed
    if bundle is None:
        feature_dim = tower_width(init_tower(spec, seed), preprocess, config.tower)
    else:
        feature_dim = bundle.contract.dims["image"]

    def make_tower() -> TrainedTower:
        tower = load_tower(bundle) if bundle else init_tower(spec, seed)
        unfreeze(tower, spec, tower_config.trainable_blocks)
        return TrainedTower(tower, tower_config, side_px)

    return FeatureSource(
        encode=lambda images: preprocess_images(images, preprocess).flatten(1).numpy(),
        digest=preprocess_digest(preprocess, settings.media.rendition_px),
        width=3 * side_px * side_px,
        feature_dim=feature_dim,
        make_tower=make_tower,
        bundle=bundle,
        spec=spec,
        preprocess=preprocess,
    )


def as_float32(cached: NDArray[np.float16]) -> torch.Tensor:
    """Cached rows `[B, W]` fp32; the same conversion in numpy takes ten times as long."""
    return torch.from_numpy(cached).to(torch.float32)


def compute_features(
    tower: TrainedTower | None, values: NDArray[np.float16], rows: Rows
) -> NDArray[np.float32]:
    """Features `[B, F]` fp32 of cached rows, as serving would compute them."""
    if tower is None:
        return as_float32(values[rows]).numpy()
    tower.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), _BATCH_ROWS):
            batch = as_float32(values[rows[start : start + _BATCH_ROWS]])
            parts.append(tower(batch).numpy())
    return np.concatenate(parts)


def write_tower_bundle(
    source: FeatureSource, tower: TrainedTower | None, folder: Path, *, name: str, license: str
) -> Bundle:
    """The bundle of the tower that the heads were trained on; a trained tower is written first."""
    if tower is None:
        if source.bundle is None:
            raise ValueError("a tower without trained weights was not trained")
        return source.bundle
    # Files of an earlier attempt, which ended before the heads' bundle was written.
    shutil.rmtree(folder / TOWER, ignore_errors=True)
    write_trained_tower(
        folder / TOWER,
        name=f"{name}-tower",
        tower=tower.tower,
        spec=source.spec,
        preprocess=source.preprocess,
        license=license,
    )
    return read_bundle(folder / TOWER)


def _untrained_spec(config: EmbedderConfig) -> tuple[TowerSpec, Preprocess]:
    tower_config = config.train_tower
    arguments = tower_config.arguments if tower_config else {}
    spec = TowerSpec.parse(config.tower, pretrained=None, **arguments)
    if (
        tower_config is None
        or tower_config.trainable_blocks != "all"
        or tower_config.size_px is None
    ):
        raise BadRequestError(
            f"{config.tower} is a network without trained weights: set train_tower.size_px and "
            'leave train_tower.blocks at "all", or name a bundle made by `pinpoint bundles import`'
        )
    suggested = suggested_preprocess(spec)
    return spec, Preprocess(
        size_px=tower_config.size_px, resize="shorter", mean=suggested.mean, std=suggested.std
    )


def _require_bare_tower(bundle: Bundle) -> Bundle:
    contract = bundle.contract
    if bundle.weights is None or contract.heads is not None or bundle.weights.name == HEADS_FILE:
        raise BadRequestError(
            f"{contract.name} is not a bare tower with its own weights; add one with "
            "`pinpoint bundles import` or `pull`"
        )
    return bundle


def _frozen_source(bundle: Bundle, settings: Settings) -> FeatureSource:
    contract = bundle.contract
    device, batch = choose_device(settings.encoder.device), settings.encoder.encode_batch
    width = contract.dims["image"]
    return FeatureSource(
        encode=tower_features(bundle, device, batch),
        digest=digest(contract, settings.media.rendition_px),
        width=width,
        feature_dim=width,
        make_tower=None,
        bundle=bundle,
        spec=contract.tower,
        preprocess=contract.preprocess,
    )
