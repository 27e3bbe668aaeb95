"""The reranker: candidates look at their evidence, then at each other, and each gets a score.

    evidence of a candidate ─attended by it (a set, never empty)─→ candidate token
    [query, null, candidates] ─self-attention, biased by distance─→ a score each, and a way to go

Queries, keys and values: Vaswani et al., arXiv 1706.03762; a set that a query attends: Lee et al.,
"Set Transformer", arXiv 1810.00825. Whether a candidate is likely is mostly seen in how its numbers
stand out among the others of its question, so numbers are standardised in here, over what is there.
Letters: B questions, K candidates, E evidence photos of a candidate, D width of vectors, H width
inside, A heads, T = K + 2 tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from pinpoint.nets.blocks import ResidualBlock
from pinpoint.nets.rerank_numbers import (
    CANDIDATE_NUMBERS,
    EVIDENCE_NUMBERS,
    QUESTION_NUMBERS,
    STANDS_OUT,
    UNKNOWN_KIND,
    WORTH,
    Asked,
    apart_km,
    of_candidates,
    of_evidence,
    of_question,
)
from pinpoint.nets.specs import RerankerSpec

_TOKENS: Final = 2
"""Query and null, before the candidates."""
_CENTRES: Final = 12
_STAY: Final = 3.0
"""How much stronger than a photo of the evidence the candidate's own place pulls at first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the net says, all fp32."""

    scores: torch.Tensor
    """Logits `[B, K]`; minus infinity where there is no candidate."""
    null: torch.Tensor
    """Logit of "none of these", `[B]`."""
    offset_km: torch.Tensor
    """From each candidate to the better place, east and north, `[B, K, 2]`, below `reach_km`."""
    heard: torch.Tensor
    """Share of a candidate's attention that each evidence photo has, `[B, K, E]`."""


class EvidenceAttention(nn.Module):
    """A candidate attends its set of evidence; the empty set is a learned photo, always there."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.empty = nn.Parameter(torch.randn(width) * 0.1)
        self.norm, self.norm_set = nn.LayerNorm(width), nn.LayerNorm(width)
        self.ask, self.key, self.value, self.leave = (nn.Linear(width, width) for _ in range(4))
        self.block = ResidualBlock(width)

    def forward(
        self, tokens: torch.Tensor, photos: torch.Tensor, there: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens `[B, K, H]`, photos `[B, K, E, H]` → tokens, and shares `[B, K, E]`."""
        empty = self.empty.expand(*photos.shape[:2], 1, -1)
        seen = self.norm_set(torch.cat([photos, empty], dim=2))
        ask = self.ask(self.norm(tokens)).unflatten(-1, (self.heads, -1))
        key, value = (net(seen).unflatten(-1, (self.heads, -1)) for net in (self.key, self.value))
        logits = torch.einsum("bkah,bkeah->bkae", ask, key) / math.sqrt(ask.shape[-1])
        hidden = ~F.pad(there, (0, 1), value=True)
        share = logits.masked_fill(hidden[:, :, None], -math.inf).softmax(-1)
        told = torch.einsum("bkae,bkeah->bkah", share, value).flatten(-2)
        return self.block(tokens + self.leave(told)), share.mean(2)[..., :-1]


class TokenAttention(nn.Module):
    """Self-attention over the tokens of a question, with a bias for each pair and head."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.enter, self.leave = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.block = ResidualBlock(width)

    def forward(self, tokens: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """Tokens `[B, T, H]`, bias `[B, A, T, T]` with minus infinity on what is not there."""
        parts = self.enter(self.norm(tokens)).unflatten(-1, (3, self.heads, -1))
        ask, key, value = parts.permute(2, 0, 3, 1, 4)
        told = F.scaled_dot_product_attention(ask, key, value, attn_mask=bias)
        grown: torch.Tensor = self.block(tokens + self.leave(told.transpose(1, 2).flatten(2)))
        return grown


class DistanceBias(nn.Module):
    """A learned function of distance for each head; a learned number for pairs without any."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.linspace(-2.0, 4.3, _CENTRES), persistent=False)
        self.curve = nn.Linear(_CENTRES, heads)
        self.apart = nn.Parameter(torch.zeros(heads, _TOKENS, 2))
        nn.init.zeros_(self.curve.weight)

    def forward(self, km: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
        """Distances `[B, K, K]` and who is there `[B, K]` to a bias `[B, A, T, T]`."""
        centres = self.get_buffer("centres")
        place = (km + 0.01).log10()[..., None]
        hills = torch.exp(-((place - centres) / (centres[1] - centres[0])).square())
        bias = F.pad(self.curve(hills).permute(0, 3, 1, 2), (_TOKENS, 0, _TOKENS, 0))
        size = bias.shape[-1]
        to, back = self.apart.unbind(-1)
        known = torch.zeros(to.shape[0], size, size, dtype=bias.dtype, device=bias.device)
        known[:, :, :_TOKENS] = to[:, None]
        known[:, :_TOKENS, _TOKENS:] = back[:, :, None]
        hidden = ~F.pad(present, (_TOKENS, 0), value=True)
        return (bias + known).masked_fill(hidden[:, None, None], -math.inf)


class Reranker(nn.Module):
    """Scores, a null and refinements of a question's candidates; see the top of this file.

    Every question is judged by itself: nothing is computed over the batch, and padding is masked
    wherever numbers meet, so the answer depends neither on batch nor on padding (to 1e-4).

    Args:
        spec: Widths and depths.
    """

    def __init__(self, spec: RerankerSpec) -> None:
        super().__init__()
        self.spec = spec
        width, heads = spec.width, spec.heads
        names = ("query", "image", "gps", "photo") if spec.vectors else ()
        self.of = nn.ModuleDict({name: nn.Linear(spec.dim, width) for name in names})
        self.query_kinds = nn.Embedding(UNKNOWN_KIND + 1, width)
        self.candidate_numbers = _mlp(CANDIDATE_NUMBERS, width)
        self.photo_numbers = _mlp(EVIDENCE_NUMBERS, width)
        self.null = nn.Parameter(torch.randn(width) * 0.1)
        self.null_numbers = _mlp(QUESTION_NUMBERS, width)
        self.bias = DistanceBias(heads)
        self.over_evidence = nn.ModuleList(
            EvidenceAttention(width, heads) for _ in range(spec.evidence_blocks)
        )
        self.over_tokens = nn.ModuleList(
            TokenAttention(width, heads) for _ in range(spec.candidate_blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.score, self.null_score = nn.Linear(width, 1), nn.Linear(width, 1)
        self.plain = nn.Linear(CANDIDATE_NUMBERS, 1, bias=False)
        self.pull, self.pulled = nn.Linear(width, width), nn.Linear(width, width)
        self.stay = nn.Parameter(torch.tensor(_STAY))
        # It starts as retrieval's own order: what is learned is where that is wrong.
        nn.init.zeros_(self.plain.weight)
        with torch.no_grad():
            self.plain.weight[0, STANDS_OUT] = 1.0 / WORTH

    def forward(self, asked: Asked) -> Judged:
        """Judge questions; in fp32, also where autocast is on."""
        with torch.autocast(device_type=asked.query.device.type, enabled=False):
            query, image, gps, near = (
                F.normalize(each.float(), dim=-1)
                for each in (asked.query, asked.image, asked.gps, asked.near)
            )
            km = apart_km(asked.position)
            like = torch.einsum("bd,bkd->bk", query, image)
            photo_numbers, said = of_evidence(asked, query, image, near, like)
            numbers = of_candidates(asked, query, gps, like, km, said)
            tokens = self.candidate_numbers(numbers)
            photos = self.photo_numbers(photo_numbers)
            first = self.query_kinds(asked.query_kind)
            if self.spec.vectors:
                scale = math.sqrt(self.spec.dim)
                tokens = tokens + self.of["image"](image * scale) + self.of["gps"](gps * scale)
                photos = photos + self.of["photo"](near * scale)
                first = first + self.of["query"](query * scale)
            heard = like.new_zeros(asked.near_present.shape)
            for attend in self.over_evidence:
                tokens, heard = attend(tokens, photos, asked.near_present)
            none = self.null + self.null_numbers(of_question(asked, query, near, like))
            tokens = torch.cat([torch.stack([first, none], dim=1), tokens], dim=1)
            bias = self.bias(km, asked.present)
            for each in self.over_tokens:
                tokens = each(tokens, bias)
            tokens = self.norm(tokens)
            own = tokens[:, _TOKENS:]
            scores = (self.score(own) + self.plain(numbers)).squeeze(-1)
            return Judged(
                scores=scores.masked_fill(~asked.present, -math.inf),
                null=self.null_score(tokens[:, 1]).squeeze(-1),
                offset_km=self._offset_km(asked, own, photos),
                heard=heard,
            )

    def _offset_km(self, asked: Asked, own: torch.Tensor, photos: torch.Tensor) -> torch.Tensor:
        """A mean of the ways to the evidence, weighted by what pulls: never beyond the photos."""
        pull = torch.einsum("bkh,bkeh->bke", self.pull(own), self.pulled(photos))
        pull = (pull / math.sqrt(own.shape[-1])).masked_fill(~asked.near_present, -math.inf)
        stay = self.stay.expand(*pull.shape[:2], 1)
        share = torch.cat([pull, stay], dim=-1).softmax(-1)[..., :-1]
        turn = torch.deg2rad(asked.bearing_deg)
        way = torch.stack([turn.sin(), turn.cos()], dim=-1) * asked.away_m[..., None] / 1_000.0
        way_km = (share[..., None] * way.masked_fill(~asked.near_present[..., None], 0.0)).sum(2)
        length = way_km.square().sum(-1, keepdim=True)
        return way_km / (1.0 + length / self.spec.reach_km**2).sqrt()


def _mlp(numbers: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(numbers, width), nn.GELU(), nn.Linear(width, width))
