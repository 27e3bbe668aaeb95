"""Patch features of images: a few of each image for the centers, all of them for its vector.

Letters: B images, T patch features per image, K of them sampled, C channels, A width of the
aggregated vector.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from pinpoint.arrays import Floats32
from pinpoint.nets.bundle.aggregated_bundles import open_feature_maps, require_tower
from pinpoint.nets.bundle.bundles import Bundle
from pinpoint.nets.bundle.contract import Preprocess
from pinpoint.nets.runtime import choose_device
from pinpoint.nets.towers.aggregation import Aggregation
from pinpoint.nets.towers.feature_maps import FeatureMaps, LocalMap, layer_channels
from pinpoint.nets.towers.preprocess import preprocess_images
from pinpoint.records import Pixels
from pinpoint.training.vocabulary.config import VocabularyConfig
from pinpoint.training.vocabulary.fitting import describe_aggregation, to_torch

_PROJECT_ROWS = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchFeatureSource:
    """The layers of a tower up to the aggregated one, with the preprocessing of serving.

    Images are encoded one by one, as `AggregatedTower` does it: the numbers of an image do not
    depend on other images.
    """

    maps: FeatureMaps
    preprocess: Preprocess
    channels: int
    """C."""
    device: torch.device

    @classmethod
    def open(cls, tower: Bundle, layer: str | None, device: str) -> PatchFeatureSource:
        """Load the tower of a bundle.

        Raises:
            BadBundleError: The bundle has no network or has heads, the weights do not fit the
                tower, or it has no such layer.
            ConfigurationError: The device does not exist.
        """
        require_tower(tower)
        maps = open_feature_maps(tower, layer)
        preprocess = tower.contract.preprocess
        channels = layer_channels(maps, preprocess)
        torch_device = choose_device(device)
        maps.to(torch_device)
        return cls(maps=maps, preprocess=preprocess, channels=channels, device=torch_device)

    def sample(self, images: Sequence[Pixels], count: int, seed: int) -> NDArray[np.float16]:
        """K patch features of each image, at unit length, `[B, K * C]`.

        Which ones depends on the seed and on the pixels, not on the order of the images.

        Args:
            images: `[H, W, 3]` uint8.
            count: K; features are repeated where an image has fewer.
            seed: Of the choice.
        """
        rows = np.empty((len(images), count * self.channels), dtype=np.float16)
        for row, image in enumerate(images):
            features = F.normalize(self._extract(image).features[0].float(), dim=1).cpu().numpy()
            random = np.random.default_rng([seed, zlib.crc32(image.tobytes())])
            chosen = random.choice(len(features), count, replace=len(features) < count)
            rows[row] = features[np.sort(chosen)].ravel()
        return rows

    def open_aggregation(
        self, tensors: Mapping[str, Floats32], config: VocabularyConfig
    ) -> Aggregation:
        """The aggregation of learned tensors, on the device of this source."""
        spec = describe_aggregation(tensors, config, feature_dim=self.channels, license="unwritten")
        return Aggregation(spec, to_torch(tensors), "learned").to(self.device)

    @torch.inference_mode()
    def aggregate(self, images: Sequence[Pixels], aggregations: Sequence[Aggregation]) -> Floats32:
        """Vectors of images by several aggregations, side by side: `[B, sum of D]`."""
        rows = []
        for image in images:
            local = self._extract(image)
            rows.append(torch.cat([aggregate(local) for aggregate in aggregations], dim=1))
        vectors: Floats32 = torch.cat(rows).cpu().numpy()
        return vectors

    def project(self, vectors: Floats32, aggregation: Aggregation) -> Floats32:
        """The PCA of an aggregation, `[N, A]` to `[N, D]`, as serving computes it."""
        blocks = [
            aggregation.project(
                torch.from_numpy(vectors[start : start + _PROJECT_ROWS]).to(self.device)
            ).cpu()
            for start in range(0, len(vectors), _PROJECT_ROWS)
        ]
        return torch.cat(blocks).numpy()

    @torch.inference_mode()
    def _extract(self, image: Pixels) -> LocalMap:
        return self.maps.extract(preprocess_images([image], self.preprocess, self.device))
