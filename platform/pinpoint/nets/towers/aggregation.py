"""Aggregation: the patch features of a layer become one vector per image, in fp32.

Letters: B images, T patch features per image, C their channels, L channels after the local PCA,
M centers, A width of the aggregated vector, D width of the result.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from pinpoint.errors import BadBundleError
from pinpoint.nets.bundle.specs import AggregationSpec, aggregation_shapes
from pinpoint.nets.towers.backbone import Tower
from pinpoint.nets.towers.feature_maps import FeatureMaps, LocalMap

_MIN_ACTIVATION = 1e-6
"""Lower bound of activations in the generalized mean, whose power needs positive numbers."""


class Aggregation(nn.Module):
    """`[B, T, C]` to unit vectors `[B, D]`.

    Args:
        spec: Kind and widths.
        tensors: Vocabulary and PCA, as `aggregation_shapes` lists them.
        where: The file, for messages.

    Raises:
        BadBundleError: Tensors are missing, unknown, of another shape or not finite.
    """

    def __init__(
        self, spec: AggregationSpec, tensors: Mapping[str, torch.Tensor], where: str
    ) -> None:
        super().__init__()
        self.spec = spec
        _check_tensors(spec, tensors, where)
        self.centers: torch.Tensor
        self.mean: torch.Tensor
        self.local_mean: torch.Tensor
        self.local_components: torch.Tensor
        self._scaled: torch.Tensor
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.to(torch.float32))
        if spec.whitening_power is not None:
            scale = tensors["variances"].to(torch.float64) ** (-spec.whitening_power / 2)
            components = tensors["components"].to(torch.float64) * scale[:, None]
            self.register_buffer("_scaled", components.to(torch.float32), persistent=False)

    def forward(self, local: LocalMap) -> torch.Tensor:
        """Aggregate patch features.

        Raises:
            BadBundleError: They have another number of channels, or there is no class token.
        """
        features, prefix = local.features.to(torch.float32), local.prefix.to(torch.float32)
        if features.shape[2] != self.spec.feature_dim:
            raise BadBundleError(
                f"the contract states {self.spec.feature_dim} channels for layer "
                f"{self.spec.layer or 'at the end'}, the tower gives {features.shape[2]}"
            )
        return self.project(F.normalize(self._aggregate_features(features, prefix), dim=1))

    def reduce(self, features: torch.Tensor) -> torch.Tensor:
        """Patch features at unit length, then the local PCA if there is one: `[…, C]` to `[…, L]`.

        The unit length makes a bright and a dark patch of the same texture equal.
        """
        features = F.normalize(features, dim=-1)
        if self.spec.local_dim is None:
            return features
        return (features - self.local_mean) @ self.local_components.T

    def project(self, aggregated: torch.Tensor) -> torch.Tensor:
        """PCA with whitening power if there is one, `[B, A]` to `[B, D]`, at unit length.

        Jégou and Chum, "Negative evidences and co-occurrences in image retrieval: the benefit of
        PCA and whitening", ECCV 2012.
        """
        if self.spec.whitening_power is None:
            return aggregated
        return F.normalize((aggregated - self.mean) @ self._scaled.T, dim=1)

    def _aggregate_features(self, features: torch.Tensor, prefix: torch.Tensor) -> torch.Tensor:
        if self.spec.kind == "vlad":
            return vlad(self.reduce(features), self.centers)
        if self.spec.kind == "cls":
            if prefix.shape[1] == 0:
                raise BadBundleError("the layer has no class token, which the kind `cls` reads")
            return prefix[:, 0]
        if self.spec.gem_power is not None:
            return generalized_mean(features, self.spec.gem_power)
        return features.mean(dim=1)


def generalized_mean(features: torch.Tensor, power: float) -> torch.Tensor:
    """Generalized mean over the patch features of each channel, `[B, T, C]` to `[B, C]`.

    The greatest activation of the channel is factored out. Its ratio to the others is at most 1, so
    that no power overflows, and at least one ratio is 1, so that the mean does not vanish.

    Args:
        features: Numbers below 1e-6 count as 1e-6.
        power: At least 1.
    """
    positive = features.clamp(min=_MIN_ACTIVATION)
    greatest = positive.amax(dim=1, keepdim=True)
    means = ((positive / greatest) ** power).mean(dim=1)
    return greatest[:, 0] * means ** (1.0 / power)


def vlad(features: torch.Tensor, centers: torch.Tensor) -> torch.Tensor:
    """Sums of residuals to the nearest centers, normalized within each center, `[B, M * L]`.

    Args:
        features: `[B, T, L]`.
        centers: `[M, L]`.
    """
    # The nearest center minimizes |c|² - 2 x·c; |x|² is the same for all.
    distances = centers.square().sum(dim=1) - 2.0 * (features @ centers.T)
    assignment = F.one_hot(distances.argmin(dim=2), len(centers)).to(features.dtype)
    sums = assignment.transpose(1, 2) @ features
    residuals = sums - assignment.sum(dim=1)[:, :, None] * centers
    return F.normalize(residuals, dim=2).flatten(start_dim=1)


class AggregatedTower(Tower):
    """A tower whose contract names the aggregation: `[B, 3, S, S]` to unit vectors `[B, D]`.

    Args:
        tower: The tower; its network is changed, see `FeatureMaps`.
        aggregation: Aggregates the patch features of a layer.

    Raises:
        BadBundleError: The tower has no such layer.
    """

    def __init__(self, tower: Tower, aggregation: Aggregation) -> None:
        super().__init__(tower.network)
        self.aggregation = aggregation
        self._maps = FeatureMaps(tower.network, aggregation.spec.layer)
        self._one_by_one = aggregation.spec.kind == "vlad"

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """`[B, 3, S, S]` to `[B, D]`; with `vlad` one image after the other.

        Hard assignment is not continuous. The kernels of another batch shape add in another order,
        and a patch feature between two centers may then change its center. The same shape for
        every image gives the same bits in every batch.
        """
        if not self._one_by_one:
            return self._embed(pixels)
        rows = [self._embed(pixels[row : row + 1]) for row in range(len(pixels))]
        return torch.cat(rows) if rows else pixels.new_empty(0, self.aggregation.spec.dim)

    def _embed(self, pixels: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.aggregation(self._maps.extract(pixels))
        return vectors


def _check_tensors(spec: AggregationSpec, tensors: Mapping[str, torch.Tensor], where: str) -> None:
    """Check that the tensors are exactly those that the contract requires.

    Raises:
        BadBundleError: The message names the tensor.
    """
    shapes = aggregation_shapes(spec)
    for name in sorted(set(shapes) | set(tensors)):
        if name not in shapes:
            raise BadBundleError(f"aggregation {where} has an unknown tensor {name}")
        if name not in tensors:
            raise BadBundleError(f"aggregation {where} lacks tensor {name}")
        shape = tuple(tensors[name].shape)
        if shape != shapes[name]:
            raise BadBundleError(
                f"aggregation {where}: tensor {name} is {list(shape)}, "
                f"the contract states {list(shapes[name])}"
            )
        if not bool(torch.isfinite(tensors[name]).all()):
            raise BadBundleError(f"aggregation {where}: tensor {name} is not finite")
    if "variances" in tensors and bool((tensors["variances"] <= 0).any()):
        raise BadBundleError(f"aggregation {where}: variances must be positive")
