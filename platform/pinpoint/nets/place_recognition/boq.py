"""Bag of Queries: own implementation for the published weights, on DINOv2 or ResNet50.

Ali-bey, Chaib-draa and Giguère, "BoQ: A Place is Worth a Bag of Learnable Queries", CVPR 2024,
arXiv 2405.07364. Learned queries read the feature map by attention, after each of two transformer
layers. Whether vectors equal the published ones can only be checked with the published file (docs:
import a bundle). Letters: B images, C channels, N positions of the map, Q queries of a block, K
queries of all blocks, R rows of the result.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

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
from pinpoint.nets.towers.torchvision_ops import allow_torchvision

BOQ_NAMES: Final[NameTable] = (
    # The published network takes the last block's output without this norm.
    (r"backbone\.dino\.(?:mask_token$|norm\.)", None),
    (r"backbone\.dino\.", "backbone."),
    (r"backbone\.net\.", "backbone."),
    (r"aggregator\.proj_c\.", "aggregation.projection."),
    (r"aggregator\.norm_input\.", "aggregation.norm."),
    (r"aggregator\.boqs\.(\d+)\.encoder\.", r"aggregation.blocks.\1.encoder."),
    (r"aggregator\.boqs\.(\d+)\.queries$", r"aggregation.blocks.\1.queries"),
    (r"aggregator\.boqs\.(\d+)\.self_attn\.", r"aggregation.blocks.\1.query_attention."),
    (r"aggregator\.boqs\.(\d+)\.norm_q\.", r"aggregation.blocks.\1.query_norm."),
    (r"aggregator\.boqs\.(\d+)\.cross_attn\.", r"aggregation.blocks.\1.map_attention."),
    (r"aggregator\.boqs\.(\d+)\.norm_out\.", r"aggregation.blocks.\1.result_norm."),
    (r"aggregator\.fc\.", "aggregation.mixing."),
)

_HEAD_CHANNELS = 64
"""Channels of an attention head."""


class QueryBlock(nn.Module):
    """One transformer layer over the map, then learned queries that read it."""

    def __init__(self, channels: int, queries: int) -> None:
        super().__init__()
        heads = channels // _HEAD_CHANNELS
        self.encoder = nn.TransformerEncoderLayer(
            channels, heads, dim_feedforward=4 * channels, dropout=0.0, batch_first=True
        )
        self.queries = nn.Parameter(torch.randn(1, queries, channels))
        self.query_attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.query_norm = nn.LayerNorm(channels)
        self.map_attention = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.result_norm = nn.LayerNorm(channels)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`[B, N, C]` to the next map `[B, N, C]` and what the queries read, `[B, Q, C]`."""
        features = self.encoder(features)
        # The queries attend to each other. That does not depend on the image, so it is computed
        # once for the batch.
        context, _ = self.query_attention(
            self.queries, self.queries, self.queries, need_weights=False
        )
        queries = self.query_norm(self.queries + context).expand(len(features), -1, -1)
        results, _ = self.map_attention(queries, features, features, need_weights=False)
        return features, self.result_norm(results)


class QueryAggregation(nn.Module):
    """The blocks in sequence; a linear layer mixes the results of all queries into R rows."""

    def __init__(
        self, channels: int, *, projected: int, queries: int, blocks: int, rows: int
    ) -> None:
        super().__init__()
        self.projection = nn.Conv2d(channels, projected, kernel_size=3, padding=1)
        self.norm = nn.LayerNorm(projected)
        self.blocks = nn.ModuleList(QueryBlock(projected, queries) for _ in range(blocks))
        self.mixing = nn.Linear(blocks * queries, rows)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map `[B, C, h, w]` to unit vectors `[B, C · R]`."""
        tokens = self.norm(self.projection(features).flatten(2).transpose(1, 2))
        results = []
        for block in self.blocks:
            tokens, result = block(tokens)
            results.append(result)
        mixed = self.mixing(torch.cat(results, dim=1).transpose(1, 2))
        return F.normalize(mixed.flatten(1), dim=1)


class BoqDinoV2(nn.Module):
    """`[B, 3, S, S]` to unit vectors `[B, 12288]`; S is a multiple of 14 px."""

    def __init__(
        self,
        size: DinoSize = DINO_BASE,
        *,
        projected: int = 384,
        queries: int = 64,
        blocks: int = 2,
        rows: int = 32,
    ) -> None:
        super().__init__()
        self.num_prefix_tokens = CLASS_TOKENS
        self.backbone = DinoV2(size, final_norm=False)
        self.aggregation = QueryAggregation(
            size.width, projected=projected, queries=queries, blocks=blocks, rows=rows
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """See the class.

        Raises:
            ValueError: A side is not a multiple of 14 px.
        """
        vectors: torch.Tensor = self.aggregation(patch_map(self.backbone(pixels), pixels))
        return vectors


class BoqResNet50(nn.Module):
    """`[B, 3, S, S]` to unit vectors `[B, 16384]`; any S."""

    def __init__(
        self, *, projected: int = 512, queries: int = 64, blocks: int = 2, rows: int = 32
    ) -> None:
        super().__init__()
        allow_torchvision()
        # `Any`: timm's network has no types that mypy could use.
        network: Any = importlib.import_module("timm").create_model("resnet50", num_classes=0)
        # Without the last of four stages, as published.
        self.backbone = nn.Sequential(
            network.conv1,
            network.bn1,
            network.act1,
            network.maxpool,
            network.layer1,
            network.layer2,
            network.layer3,
        )
        self.aggregation = QueryAggregation(
            network.feature_info[3]["num_chs"],
            projected=projected,
            queries=queries,
            blocks=blocks,
            rows=rows,
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        vectors: torch.Tensor = self.aggregation(self.backbone(pixels))
        return vectors
