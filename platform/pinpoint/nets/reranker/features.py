"""Reranker features: a query as tensors, and the features computed from them.

The best sign of a correct candidate is its contrast with the other candidates of its query.
Features are therefore standardized over the candidates that are present; the scale of raw cosines
depends on the tower.
Letters: B queries, K candidates, E evidence images of a candidate, D vector width, N features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

import torch
import torch.nn.functional as F

from pinpoint.geo.points import EARTH_RADIUS_M
from pinpoint.records import SOURCE_KINDS, VOTE_TEMPERATURE

UNKNOWN_KIND: Final = len(SOURCE_KINDS)
"""Code of a query of unknown kind."""
_VOTE_SCALES_KM: Final = (0.1, 1.0, 25.0, 200.0)
_COUNT_RADII_KM: Final = (1.0, 25.0, 200.0)
_MIN_SPREAD: Final = 1e-4
_NUM_SET_FEATURES: Final = 5
NUM_CANDIDATE_FEATURES: Final = (
    14 + len(_VOTE_SCALES_KM) + len(_COUNT_RADII_KM) + (1 + _NUM_SET_FEATURES) * len(SOURCE_KINDS)
)
OUTLIER_Z: Final = 1
"""Index of the standardized image similarity among them."""
NUM_EVIDENCE_FEATURES: Final = 13 + len(SOURCE_KINDS)
NUM_QUERY_FEATURES: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class RerankBatch:
    """Queries as tensors; absent entries are masked and their values are undefined."""

    query: torch.Tensor
    """`[B, D]`."""
    query_kind: torch.Tensor
    """`[B]` codes of `SOURCE_KINDS`, or `UNKNOWN_KIND`."""
    image: torch.Tensor
    """Vectors of candidates, `[B, K, D]`."""
    gps: torch.Tensor
    """Vectors of their positions `[B, K, D]`; zeros if the space has none."""
    position: torch.Tensor
    """`[B, K, 2]` latitude, longitude, degrees, float64."""
    kind: torch.Tensor
    """`[B, K]` codes."""
    in_channel: torch.Tensor
    """Whether the channels image and gps retrieved it, `[B, K, 2]` bool."""
    present: torch.Tensor
    """`[B, K]` bool."""
    evidence: torch.Tensor
    """Vectors of the evidence, `[B, K, E, D]`."""
    evidence_kind: torch.Tensor
    """`[B, K, E]` codes."""
    evidence_distance_m: torch.Tensor
    """Distance from the candidate, `[B, K, E]`."""
    bearing_deg: torch.Tensor
    """`[B, K, E]`."""
    age_years: torch.Tensor
    """Between candidate and evidence, `[B, K, E]`; below 0 if unknown."""
    evidence_present: torch.Tensor
    """`[B, K, E]` bool."""

    def to(self, device: torch.device) -> RerankBatch:
        """Copy to another device."""
        return RerankBatch(
            **{field.name: getattr(self, field.name).to(device) for field in fields(self)}
        )


def standardize(values: torch.Tensor, mask: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    """z-scores over masked-in values; zeros elsewhere and if all values are equal."""
    count = mask.sum(dims, keepdim=True).clamp(min=1)
    mean = (values * mask).sum(dims, keepdim=True) / count
    deviation = (values - mean) * mask
    spread = (deviation.square().sum(dims, keepdim=True) / count).sqrt()
    return deviation / spread.clamp(min=_MIN_SPREAD)


def masked_max(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Masked maximum over the last axis, which is kept; 0 if the mask is empty."""
    maximum = values.masked_fill(~mask, -math.inf).amax(-1, keepdim=True)
    return torch.where(mask.any(-1, keepdim=True), maximum, torch.zeros_like(maximum))


def pairwise_km(position: torch.Tensor) -> torch.Tensor:
    """Great-circle distances between candidates, `[B, K, 2]` degrees to `[B, K, K]` fp32."""
    lat, lon = torch.deg2rad(position.double()).unbind(-1)
    xyz = torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], dim=-1)
    chord = (xyz[:, :, None] - xyz[:, None]).square().sum(-1).sqrt()
    arc_m = 2.0 * EARTH_RADIUS_M * torch.asin((chord / 2.0).clamp(max=1.0))
    return (arc_m / 1_000.0).float()


def _channel_features(similarity: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
    """Features of one channel, `[B, K]` each: similarity, z-score, gap to the best, log rank."""
    masked = similarity * mask
    above = ((masked[:, None] > masked[:, :, None]) & mask[:, None]).sum(-1)
    gap = (masked - masked_max(similarity, mask)) * mask
    return [masked, standardize(similarity, mask, (1,)), 10.0 * gap, (1.0 + above).log() * mask]


def candidate_features(
    batch: RerankBatch,
    query: torch.Tensor,
    gps: torch.Tensor,
    similarity: torch.Tensor,
    distance_km: torch.Tensor,
    set_features: list[torch.Tensor],
) -> torch.Tensor:
    """Candidate features `[B, K, N]`: channels, kind, and vote density around the candidate."""
    mask = batch.present
    gps_similarity = torch.einsum("bd,bkd->bk", query, gps)
    gps_mask = mask & gps.any(-1)
    image_features, gps_features = (
        _channel_features(similarity, mask),
        _channel_features(gps_similarity, gps_mask),
    )
    weight = (
        (image_features[1] / VOTE_TEMPERATURE)
        .masked_fill(~mask, -math.inf)
        .softmax(-1)
        .nan_to_num()
    )
    others = mask[:, None].float()
    votes = [
        (weight[:, None] * torch.exp(-distance_km / scale)).sum(-1).clamp(min=1e-6).log()
        for scale in _VOTE_SCALES_KM
    ]
    counts = [((distance_km <= radius) * others).sum(-1).log1p() for radius in _COUNT_RADII_KM]
    channels = batch.in_channel.float().unbind(-1)
    kinds = F.one_hot(batch.kind, len(SOURCE_KINDS)).float().unbind(-1)
    kind_known = (batch.query_kind != UNKNOWN_KIND)[:, None].expand_as(mask)
    other_kind = kind_known & (batch.kind != batch.query_kind[:, None])
    features = [
        *image_features,
        *channels,
        *gps_features,
        gps_mask.float(),
        weight,
        *kinds,
        kind_known.float(),
        other_kind.float(),
    ]
    return torch.stack([*features, *votes, *counts, *set_features], dim=-1) * mask[..., None]


def evidence_features(
    batch: RerankBatch,
    query: torch.Tensor,
    image: torch.Tensor,
    evidence: torch.Tensor,
    similarity: torch.Tensor,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Features of evidence images `[B, K, E, N]`, and of each candidate's sets by kind."""
    mask = batch.evidence_present
    photo_similarity = torch.einsum("bd,bked->bke", query, evidence)
    # Most evidence is at wrong locations, so it estimates the chance level of each kind.
    kind_masks = [mask & (batch.evidence_kind == code) for code in range(len(SOURCE_KINDS))]
    outlier_score = torch.stack(
        [standardize(photo_similarity, kind_mask, (1, 2)) for kind_mask in kind_masks]
    ).sum(0)
    log_distance = torch.log1p(batch.evidence_distance_m.clamp(min=0.0) / 10.0)
    bearing = torch.deg2rad(batch.bearing_deg)
    dated = batch.age_years >= 0
    kind_known = (batch.query_kind != UNKNOWN_KIND)[:, None, None]
    features = [
        photo_similarity,
        outlier_score,
        10.0 * (photo_similarity - similarity[..., None]),
        torch.einsum("bkd,bked->bke", image, evidence),
        log_distance,
        bearing.sin(),
        bearing.cos(),
        (batch.evidence_kind != batch.kind[..., None]).float(),
        (kind_known & (batch.evidence_kind != batch.query_kind[:, None, None])).float(),
        dated.float(),
        torch.log1p(batch.age_years.clamp(min=0.0)) * dated,
        *F.one_hot(batch.evidence_kind, len(SOURCE_KINDS)).float().unbind(-1),
        kind_known.expand_as(mask).float(),
        torch.exp(-batch.evidence_distance_m / 1_000.0),
    ]
    set_features: list[torch.Tensor] = []
    for kind_mask in kind_masks:
        count = kind_mask.sum(-1)
        set_features += [
            (count == 0).float(),
            torch.log1p(count.float()),
            masked_max(outlier_score, kind_mask).squeeze(-1),
            (outlier_score * kind_mask).sum(-1) / count.clamp(min=1),
            masked_max(-log_distance, kind_mask).squeeze(-1),
        ]
    return torch.stack(features, dim=-1) * mask[..., None], set_features


def no_match_features(
    batch: RerankBatch, query: torch.Tensor, evidence: torch.Tensor, similarity: torch.Tensor
) -> torch.Tensor:
    """Features of the no-match candidate, `[B, 7]`, from raw cosines.

    Candidate features are standardized and lose the absolute level. Best cosine, its lead, spread,
    number of candidates; then means over candidates, over locations by weight, and over all
    evidence. One image can be similar by chance, but not all images of a location.
    """
    mask = batch.present
    best = similarity.masked_fill(~mask, -1.0).topk(min(2, similarity.shape[1]), dim=1).values
    count = mask.sum(1).clamp(min=1)
    mean = (similarity * mask).sum(1) / count
    spread = (((similarity - mean[:, None]) * mask).square().sum(1) / count).sqrt()
    weight = (standardize(similarity, mask, (1,)) / VOTE_TEMPERATURE).masked_fill(~mask, -math.inf)
    weight = weight.softmax(-1).nan_to_num()
    photo_mask = batch.evidence_present
    photo_similarity = torch.einsum("bd,bked->bke", query, evidence) * photo_mask
    photo_count = photo_mask.sum(-1)
    mean_with_evidence = (similarity * mask + photo_similarity.sum(-1)) / (1 + photo_count)
    evidence_mean = photo_similarity.sum((1, 2)) / photo_count.sum(1).clamp(min=1)
    features = [best[:, 0], 10.0 * (best[:, 0] - best[:, -1]), 10.0 * spread, count.log() / 4]
    return torch.stack([*features, mean, (weight * mean_with_evidence).sum(1), evidence_mean], 1)
