"""MegaLoc: own implementation for the published weights.

Berton and Masone, "MegaLoc: One Retrieval to Place Them All", 2025, arXiv 2502.17237. DINOv2
ViT-B/14, then the optimal-transport aggregation of Izquierdo and Civera, "Optimal Transport
Aggregation for Visual Place Recognition" (SALAD), CVPR 2024, and a linear layer. Whether vectors
equal the published ones can only be checked with the published file (docs: import a bundle).
Letters: B images, C channels, N patches, M clusters, L channels of a cluster, G of the class token.
"""

from __future__ import annotations

import math
from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from pinpoint.nets.place_recognition.dinov2 import (
    CLASS_TOKENS,
    DINO_BASE,
    DinoSize,
    DinoV2,
    patch_map,
)
from pinpoint.nets.place_recognition.state_names import NameTable

MEGALOC_NAMES: Final[NameTable] = (
    (r"backbone\.(?:model\.)?mask_token$", None),
    # The first release had one more level.
    (r"backbone\.model\.", "backbone."),
    (r"aggregator\.agg\.dust_bin$", "aggregation.dustbin"),
    (r"aggregator\.agg\.token_features\.([02])\.", r"aggregation.token_layers.\1."),
    (r"aggregator\.agg\.cluster_features\.0\.", "aggregation.feature_layers.0."),
    # Number 1 is the dropout of training, which our network does not have.
    (r"aggregator\.agg\.cluster_features\.3\.", "aggregation.feature_layers.2."),
    (r"aggregator\.agg\.score\.0\.", "aggregation.score_layers.0."),
    (r"aggregator\.agg\.score\.3\.", "aggregation.score_layers.2."),
    (r"aggregator\.linear\.", "projection."),
)

_ITERATIONS = 3
"""Of Sinkhorn's algorithm, in training and here: the weights depend on it."""


class TransportAggregation(nn.Module):
    """Patches are distributed over clusters by optimal transport; each cluster sums its share."""

    def __init__(
        self, channels: int, *, clusters: int, dim: int, token_dim: int, hidden: int
    ) -> None:
        super().__init__()
        self.token_layers = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, token_dim)
        )
        self.feature_layers = _pointwise_layers(channels, hidden, dim)
        self.score_layers = _pointwise_layers(channels, hidden, clusters)
        self.dustbin = nn.Parameter(torch.tensor(1.0))

    def forward(self, features: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
        """Map `[B, C, h, w]` and class token `[B, C]` to unit vectors `[B, G + L · M]`.

        Raises:
            ValueError: There are not more patches than clusters.
        """
        local = self.feature_layers(features).flatten(2)
        assignment = transport_assignment(self.score_layers(features).flatten(2), self.dustbin)
        clusters = torch.einsum("bln,bmn->blm", local, assignment)
        parts = [
            F.normalize(self.token_layers(token), dim=1),
            F.normalize(clusters, dim=1).flatten(1),
        ]
        return F.normalize(torch.cat(parts, dim=1), dim=1)


class MegaLoc(nn.Module):
    """`[B, 3, S, S]` to unit vectors `[B, 8448]`; S is a multiple of 14 px, at least 126."""

    def __init__(
        self,
        size: DinoSize = DINO_BASE,
        *,
        clusters: int = 64,
        cluster_dim: int = 256,
        token_dim: int = 256,
        hidden: int = 512,
        dim: int = 8448,
    ) -> None:
        super().__init__()
        self.num_prefix_tokens = CLASS_TOKENS
        self.backbone = DinoV2(size)
        self.aggregation = TransportAggregation(
            size.width, clusters=clusters, dim=cluster_dim, token_dim=token_dim, hidden=hidden
        )
        self.projection = nn.Linear(clusters * cluster_dim + token_dim, dim)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """See the class.

        Raises:
            ValueError: A side is not a multiple of 14 px, or the image is too small.
        """
        tokens = self.backbone(pixels)
        vectors = self.aggregation(patch_map(tokens, pixels), tokens[:, 0])
        return F.normalize(self.projection(vectors), dim=1)


def transport_assignment(scores: torch.Tensor, dustbin: torch.Tensor) -> torch.Tensor:
    """Share of each patch that goes to each cluster, by Sinkhorn's algorithm in log space.

    Cuturi, "Sinkhorn Distances", NIPS 2013; the dustbin is that of Sarlin et al., CVPR 2020. Each
    patch has mass 1, each cluster takes 1, and the dustbin takes the other N - M. The last step
    scales the patches, so the shares of a patch and of the dustbin sum to 1; each image is
    independent of the others.

    Args:
        scores: `[B, M, N]`, higher is closer.
        dustbin: Score of the dustbin for every patch, one number.

    Returns:
        `[B, M, N]`, without the dustbin.

    Raises:
        ValueError: There are not more patches than clusters.
    """
    images, clusters, patches = scores.shape
    if patches <= clusters:
        raise ValueError(
            f"{patches} patches cannot be distributed over {clusters} clusters: images must have "
            "more patches than there are clusters, so take a larger input"
        )
    costs = torch.cat([scores, dustbin.expand(images, 1, patches)], dim=1)
    log_mass = torch.zeros(1, clusters + 1, 1, dtype=scores.dtype, device=scores.device)
    log_mass[:, -1] = math.log(patches - clusters)
    of_clusters = torch.zeros_like(costs[:, :, :1])
    of_patches = torch.zeros_like(costs[:, :1])
    for _ in range(_ITERATIONS):
        of_clusters = log_mass - torch.logsumexp(costs + of_patches, dim=2, keepdim=True)
        of_patches = -torch.logsumexp(costs + of_clusters, dim=1, keepdim=True)
    return torch.exp(costs + of_clusters + of_patches)[:, :-1]


def _pointwise_layers(channels: int, hidden: int, dim: int) -> nn.Sequential:
    """The same two layers for every patch."""
    return nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, dim, 1))
