"""Reranker network: candidates attend to their evidence, then to each other; scores and offsets.

    evidence of a candidate ─cross-attention (a set, never empty)─→ candidate token
    [query, null, candidates] ─self-attention with distance bias─→ scores and offsets

Queries, keys and values: Vaswani et al., arXiv 1706.03762; attention over sets: Lee et al., "Set
Transformer", arXiv 1810.00825. The best sign of a correct candidate is its contrast with the other
candidates of its query, so features are standardized over the candidates that are present.
Letters: B queries, K candidates, E evidence images of a candidate, D vector width, H hidden width,
A heads, T = K + 2 tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from pinpoint.nets.bundle.specs import RerankerSpec
from pinpoint.nets.embedder.blocks import ResidualBlock
from pinpoint.nets.reranker.features import (
    NUM_CANDIDATE_FEATURES,
    NUM_EVIDENCE_FEATURES,
    NUM_QUERY_FEATURES,
    OUTLIER_Z,
    UNKNOWN_KIND,
    RerankBatch,
    candidate_features,
    evidence_features,
    no_match_features,
    pairwise_km,
)
from pinpoint.records import VOTE_TEMPERATURE

_NUM_EXTRA_TOKENS: Final = 2
"""Query and null tokens, before the candidate tokens."""
_NUM_CENTERS: Final = 12
_INITIAL_STAY_LOGIT: Final = 3.0
"""Initial attention logit of the candidate's own position, relative to evidence images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankTensors:
    """Output of the network, all fp32."""

    logits: torch.Tensor
    """Logits `[B, K]`; minus infinity for absent candidates."""
    no_match_logit: torch.Tensor
    """Logit of "none of these", `[B]`."""
    offset_km: torch.Tensor
    """Offset of the refined position, east and north, `[B, K, 2]`, shorter than `max_offset_km`."""
    attention: torch.Tensor
    """Attention weight of each evidence image, `[B, K, E]`."""


class EvidenceAttention(nn.Module):
    """Attention of a candidate to its evidence set, which always contains a learned null token."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.empty = nn.Parameter(torch.randn(width) * 0.1)
        self.norm, self.norm_set = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask, self.key, self.value, self.leave = (nn.Linear(width, width) for _ in range(4))
        self.block = ResidualBlock(width)

    def forward(
        self, tokens: torch.Tensor, photos: torch.Tensor, mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens `[B, K, H]`, images `[B, K, E, H]` → tokens, and attention weights `[B, K, E]`."""
        empty = self.empty.expand(*photos.shape[:2], 1, -1)
        keys_values = self.norm_set(torch.cat([photos, empty], dim=2))
        query = self.ask(self.norm(tokens)).unflatten(-1, (self.heads, -1))
        key, value = (
            net(keys_values).unflatten(-1, (self.heads, -1)) for net in (self.key, self.value)
        )
        logits = torch.einsum("bkah,bkeah->bkae", query, key) / math.sqrt(query.shape[-1])
        masked = ~F.pad(mask, (0, 1), value=True)
        share = logits.masked_fill(masked[:, :, None], -math.inf).softmax(-1)
        attended = torch.einsum("bkae,bkeah->bkah", share, value).flatten(-2)
        return self.block(tokens + self.leave(attended)), share.mean(2)[..., :-1]


class TokenAttention(nn.Module):
    """Self-attention over the tokens of a query, with a bias for each pair and head."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.enter, self.leave = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.block = ResidualBlock(width)

    def forward(self, tokens: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Tokens `[B, T, H]`, bias `[B, A, T, T]` with minus infinity for absent tokens."""
        parts = self.enter(self.norm(tokens)).unflatten(-1, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        updated: torch.Tensor = self.block(tokens + self.leave(attended.transpose(1, 2).flatten(2)))
        return updated


class DistanceBias(nn.Module):
    """Learned bias by distance per head; a learned constant for pairs without a distance."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.register_buffer("centers", torch.linspace(-2.0, 4.3, _NUM_CENTERS), persistent=False)
        self.curve = nn.Linear(_NUM_CENTERS, heads)
        self.apart = nn.Parameter(torch.zeros(heads, _NUM_EXTRA_TOKENS, 2))
        nn.init.zeros_(self.curve.weight)

    def forward(self, km: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Distances `[B, K, K]` and presence mask `[B, K]` to a bias `[B, A, T, T]`."""
        centers = self.get_buffer("centers")
        log_km = (km + 0.01).log10()[..., None]
        basis = torch.exp(-((log_km - centers) / (centers[1] - centers[0])).square())
        bias = F.pad(
            self.curve(basis).permute(0, 3, 1, 2), (_NUM_EXTRA_TOKENS, 0, _NUM_EXTRA_TOKENS, 0)
        )
        size = bias.shape[-1]
        row_bias, column_bias = self.apart.unbind(-1)
        extra_bias = torch.zeros(
            row_bias.shape[0], size, size, dtype=bias.dtype, device=bias.device
        )
        extra_bias[:, :, :_NUM_EXTRA_TOKENS] = row_bias[:, None]
        extra_bias[:, :_NUM_EXTRA_TOKENS, _NUM_EXTRA_TOKENS:] = column_bias[:, :, None]
        masked = ~F.pad(present, (_NUM_EXTRA_TOKENS, 0), value=True)
        return (bias + extra_bias).masked_fill(masked[:, None, None], -math.inf)


class RerankerNetwork(nn.Module):
    """Scores, no-match logits and refined positions of candidates; see the module docstring.

    Nothing is computed over the batch and padding is masked, so the output for a query depends
    neither on the batch nor on padding (to 1e-4).

    Args:
        spec: Widths and depths.
    """

    def __init__(self, spec: RerankerSpec) -> None:
        super().__init__()
        self.spec = spec
        width, heads = spec.width, spec.heads
        names = ("query", "image", "gps", "photo") if spec.use_embeddings else ()
        self.of = nn.ModuleDict({name: nn.Linear(spec.dim, width) for name in names})
        self.query_kinds = nn.Embedding(UNKNOWN_KIND + 1, width)
        self.candidate_numbers = _make_mlp(NUM_CANDIDATE_FEATURES, width)
        self.photo_numbers = _make_mlp(NUM_EVIDENCE_FEATURES, width)
        self.null = nn.Parameter(torch.randn(width) * 0.1)
        self.null_numbers = _make_mlp(NUM_QUERY_FEATURES, width)
        self.bias = DistanceBias(heads)
        self.over_evidence = nn.ModuleList(
            EvidenceAttention(width, heads) for _ in range(spec.evidence_blocks)
        )
        self.over_tokens = nn.ModuleList(
            TokenAttention(width, heads) for _ in range(spec.candidate_blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.score, self.null_score = nn.Linear(width, 1), nn.Linear(width, 1)
        self.plain = nn.Linear(NUM_CANDIDATE_FEATURES, 1, bias=False)
        self.pull, self.pulled = nn.Linear(width, width), nn.Linear(width, width)
        self.stay = nn.Parameter(torch.tensor(_INITIAL_STAY_LOGIT))
        # The initial ranking is that of retrieval; training learns corrections to it.
        nn.init.zeros_(self.plain.weight)
        with torch.no_grad():
            self.plain.weight[0, OUTLIER_Z] = 1.0 / VOTE_TEMPERATURE

    def forward(self, batch: RerankBatch) -> RerankTensors:
        """Rerank queries; in fp32, also under autocast."""
        with torch.autocast(device_type=batch.query.device.type, enabled=False):
            query, image, gps, evidence = (
                F.normalize(vectors.float(), dim=-1)
                for vectors in (batch.query, batch.image, batch.gps, batch.evidence)
            )
            distance_km = pairwise_km(batch.position)
            similarity = torch.einsum("bd,bkd->bk", query, image)
            photo_features, set_features = evidence_features(
                batch, query, image, evidence, similarity
            )
            features = candidate_features(batch, query, gps, similarity, distance_km, set_features)
            tokens = self.candidate_numbers(features)
            photos = self.photo_numbers(photo_features)
            query_token = self.query_kinds(batch.query_kind)
            if self.spec.use_embeddings:
                scale = math.sqrt(self.spec.dim)
                tokens = tokens + self.of["image"](image * scale) + self.of["gps"](gps * scale)
                photos = photos + self.of["photo"](evidence * scale)
                query_token = query_token + self.of["query"](query * scale)
            attention = similarity.new_zeros(batch.evidence_present.shape)
            for attend in self.over_evidence:
                tokens, attention = attend(tokens, photos, batch.evidence_present)
            null_token = self.null + self.null_numbers(
                no_match_features(batch, query, evidence, similarity)
            )
            tokens = torch.cat([torch.stack([query_token, null_token], dim=1), tokens], dim=1)
            bias = self.bias(distance_km, batch.present)
            for attend in self.over_tokens:
                tokens = attend(tokens, bias)
            tokens = self.norm(tokens)
            candidate_tokens = tokens[:, _NUM_EXTRA_TOKENS:]
            scores = (self.score(candidate_tokens) + self.plain(features)).squeeze(-1)
            return RerankTensors(
                logits=scores.masked_fill(~batch.present, -math.inf),
                no_match_logit=self.null_score(tokens[:, 1]).squeeze(-1),
                offset_km=self._offset_km(batch, candidate_tokens, photos),
                attention=attention,
            )

    def _offset_km(
        self, batch: RerankBatch, tokens: torch.Tensor, photos: torch.Tensor
    ) -> torch.Tensor:
        """Weighted mean of the offsets to the evidence: never farther than the evidence."""
        pull = torch.einsum("bkh,bkeh->bke", self.pull(tokens), self.pulled(photos))
        pull = (pull / math.sqrt(tokens.shape[-1])).masked_fill(~batch.evidence_present, -math.inf)
        stay = self.stay.expand(*pull.shape[:2], 1)
        share = torch.cat([pull, stay], dim=-1).softmax(-1)[..., :-1]
        bearing = torch.deg2rad(batch.bearing_deg)
        direction_km = (
            torch.stack([bearing.sin(), bearing.cos()], dim=-1)
            * batch.evidence_distance_m[..., None]
            / 1_000.0
        )
        offset_km = (
            share[..., None] * direction_km.masked_fill(~batch.evidence_present[..., None], 0.0)
        ).sum(2)
        squared_length = offset_km.square().sum(-1, keepdim=True)
        return offset_km / (1.0 + squared_length / self.spec.max_offset_km**2).sqrt()


def _make_mlp(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.GELU(), nn.Linear(width, width))
