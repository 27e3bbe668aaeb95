"""What stands before the heads: a frozen tower, whose features are cached, or one trained along.

A tower that is trained sees every picture again and again, each time with other weights. What is
cached then are the pictures as it takes them: `2 * 3 * S * S` bytes each, 24 kB at 64 px and 294 kB
at 224 px. Letters: N rows of the table, B of a batch, S the side of a picture, W the width of a
cached row, F that of the tower's features.
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

from pinpoint.errors import BadRequest
from pinpoint.nets.backbone import Tower, fresh_tower, suggested_preprocess
from pinpoint.nets.bundles import Bundle, find_bundle, read_bundle
from pinpoint.nets.checkpoint import load_tower, tower_width, write_trained
from pinpoint.nets.contract import Preprocess, TowerSpec
from pinpoint.nets.digests import digest, preprocess_digest
from pinpoint.nets.preprocess import prepare
from pinpoint.nets.runtime import check_size, choose_device, tower_features
from pinpoint.nets.spaces import HEADS_FILE
from pinpoint.nets.unfrozen import unfreeze
from pinpoint.records import Pixels
from pinpoint.settings import Settings
from pinpoint.training.configs import EmbedderConfig, TowerConfig
from pinpoint.training.samples import Rows

TOWER: Final = "tower"
"""Folder of the trained tower, in the run's."""
_ROWS_AT_ONCE: Final = 256


class TrainedTower(nn.Module):
    """Cached pictures `[B, 3 * S * S]` to features `[B, F]` fp32; some blocks have gradients."""

    def __init__(self, tower: Tower, asked: TowerConfig, size_px: int) -> None:
        super().__init__()
        self.tower = tower
        self._half = asked.precision == "bf16"
        self._whole = asked.blocks == "all"
        self._size_px = size_px
        self._mirror, self._shift_px = asked.mirror, asked.shift_px

    def train(self, mode: bool = True) -> TrainedTower:
        """Where blocks stay frozen, running means of norms stay as they are, in all blocks."""
        super().train(mode and self._whole)
        return self

    def variations(self, count: int, dice: np.random.Generator) -> NDArray[np.int64]:
        """How each of B pictures is shown at a step: mirrored or not, down, right, `[B, 3]`."""
        mirrored = dice.integers(1 + self._mirror, size=count)
        moved = dice.integers(2 * self._shift_px + 1, size=(count, 2))
        return np.column_stack([mirrored, moved])

    def varied(self, rows: torch.Tensor, how: NDArray[np.int64]) -> torch.Tensor:
        """Cached pictures `[B, 3 * S * S]` as `variations` says, of the same shape."""
        if not self._mirror and not self._shift_px:
            return rows
        count, side_px = len(rows), self._size_px
        mirrored, down_px, right_px = torch.from_numpy(how)[:, :, None].unbind(1)
        # From which line and which column each is taken; beyond an edge, the edge again.
        along = torch.arange(side_px) - self._shift_px
        line = (along + down_px).clamp(0, side_px - 1)
        column = (along + right_px).clamp(0, side_px - 1)
        column = torch.where(mirrored == 1, column.flip(1), column)
        # Whole lines first: they are copied much faster than single pixels.
        first = torch.arange(0, 3 * count * side_px, side_px).view(count, 3, 1)
        lines = rows.reshape(-1, side_px)[(first + line[:, None]).flatten()]
        columns = column[:, None].expand(count, 3 * side_px, side_px)
        return lines.view(count, 3 * side_px, side_px).gather(2, columns).flatten(1)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Look at pictures."""
        pixels = rows.view(len(rows), 3, self._size_px, self._size_px)
        pixels = pixels.to(memory_format=torch.channels_last)
        with torch.autocast(rows.device.type, torch.bfloat16, enabled=self._half):
            features: torch.Tensor = self.tower(pixels)
        return features.to(torch.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """What is cached of pictures, and what makes features of it."""

    encode: Callable[[Sequence[Pixels]], NDArray[Any]]
    """Pictures to the rows `[B, W]` that are cached."""
    digest: str
    """Names them."""
    width: int
    """W."""
    features: int
    """F."""
    make_tower: Callable[[], TrainedTower] | None
    """The tower at step 0, the same at each call; None where it is frozen."""
    bundle: Bundle | None
    """Where the tower came from; None for one without trained weights."""
    spec: TowerSpec
    preprocess: Preprocess


def open_front(config: EmbedderConfig, settings: Settings) -> Front:
    """The front that a config asks for.

    Raises:
        BadRequest: The bundle has heads already, or the config leaves its tower open.
        BadBundle: Tower and weights cannot be used.
        Misconfigured: Renditions are smaller than what the tower looks at.
    """
    fresh = ":" in config.tower
    if fresh:
        spec, preprocess, bundle = *_untrained(config), None
    else:
        bundle = _bare(find_bundle(config.tower, settings.places.home))
        spec, preprocess = bundle.contract.tower, bundle.contract.preprocess
    check_size(config.tower, preprocess.size_px, settings.media.rendition_px)
    if bundle is not None and config.train_tower is None:
        return _frozen(bundle, settings)
    asked = config.train_tower or TowerConfig()
    if asked.size_px not in (None, preprocess.size_px) or (bundle and asked.arguments):
        raise BadRequest(
            f"the tower of {config.tower} is as its bundle says, and looks at "
            f"{preprocess.size_px} px: leave train_tower.size_px and .arguments out"
        )
    side_px, seed = preprocess.size_px, config.schedule.seed
    if bundle is None:
        features = tower_width(fresh_tower(spec, seed), preprocess, config.tower)
    else:
        features = bundle.contract.dims["image"]

    def make() -> TrainedTower:
        tower = load_tower(bundle) if bundle else fresh_tower(spec, seed)
        unfreeze(tower, spec, asked.blocks)
        return TrainedTower(tower, asked, side_px)

    return Front(
        encode=lambda images: prepare(images, preprocess).flatten(1).numpy(),
        digest=preprocess_digest(preprocess, settings.media.rendition_px),
        width=3 * side_px * side_px,
        features=features,
        make_tower=make,
        bundle=bundle,
        spec=spec,
        preprocess=preprocess,
    )


def as_float32(cached: NDArray[np.float16]) -> torch.Tensor:
    """Cached rows `[B, W]` fp32; numpy takes ten times as long for the same bytes."""
    return torch.from_numpy(cached).to(torch.float32)


def seen_rows(
    tower: TrainedTower | None, values: NDArray[np.float16], rows: Rows
) -> NDArray[np.float32]:
    """Features `[B, F]` fp32 of cached rows, as serving would compute them."""
    if tower is None:
        return as_float32(values[rows]).numpy()
    tower.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = as_float32(values[rows[start : start + _ROWS_AT_ONCE]])
            parts.append(tower(some).numpy())
    return np.concatenate(parts)


def keep_tower(
    front: Front, tower: TrainedTower | None, folder: Path, *, name: str, licence: str
) -> Bundle:
    """The bundle of the tower behind which heads were trained; a trained one is written first."""
    if tower is None:
        if front.bundle is None:
            raise ValueError("a tower without trained weights was not trained")
        return front.bundle
    # Of an earlier try at the end of this run: the heads' bundle was not written then.
    shutil.rmtree(folder / TOWER, ignore_errors=True)
    write_trained(
        folder / TOWER,
        name=f"{name}-tower",
        tower=tower.tower,
        spec=front.spec,
        preprocess=front.preprocess,
        licence=licence,
    )
    return read_bundle(folder / TOWER)


def _untrained(config: EmbedderConfig) -> tuple[TowerSpec, Preprocess]:
    asked = config.train_tower
    spec = TowerSpec.parse(config.tower, pretrained=None, **(asked.arguments if asked else {}))
    if asked is None or asked.blocks != "all" or asked.size_px is None:
        raise BadRequest(
            f"{config.tower} is a network without trained weights: set train_tower.size_px and "
            'leave train_tower.blocks at "all", or name a bundle made by `pinpoint bundles import`'
        )
    stated = suggested_preprocess(spec)
    return spec, Preprocess(
        size_px=asked.size_px, resize="shorter", mean=stated.mean, std=stated.std
    )


def _bare(bundle: Bundle) -> Bundle:
    contract = bundle.contract
    if bundle.weights is None or contract.heads is not None or bundle.weights.name == HEADS_FILE:
        raise BadRequest(
            f"{contract.name} is no bare tower with weights of its own; bring one in with "
            "`pinpoint bundles import` or `pull`"
        )
    return bundle


def _frozen(bundle: Bundle, settings: Settings) -> Front:
    contract = bundle.contract
    device, batch = choose_device(settings.encoder.device), settings.encoder.encode_batch
    width = contract.dims["image"]
    return Front(
        encode=tower_features(bundle, device, batch),
        digest=digest(contract, settings.media.rendition_px),
        width=width,
        features=width,
        make_tower=None,
        bundle=bundle,
        spec=contract.tower,
        preprocess=contract.preprocess,
    )
