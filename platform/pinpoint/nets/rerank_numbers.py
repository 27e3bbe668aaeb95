"""A question as tensors, and the numbers in it that a reranker reads.

Whether a candidate is likely is mostly seen in how it stands out among the others of its question,
so numbers are standardised over what is there; raw cosines mean another thing behind each tower.
Letters: B questions, K candidates, E evidence photos of a candidate, D width of vectors, N numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

import torch
import torch.nn.functional as F

from pinpoint.geo.points import EARTH_RADIUS_M
from pinpoint.records import KINDS

UNKNOWN_KIND: Final = len(KINDS)
"""Code of a query whose kind nobody said."""
WORTH: Final = 0.7
"""Temperature of a candidate's own worth, as of the vote."""
_VOTE_KM: Final = (0.1, 1.0, 25.0, 200.0)
_COUNT_KM: Final = (1.0, 25.0, 200.0)
_LEAST_SPREAD: Final = 1e-4
_OF_SET: Final = 5
CANDIDATE_NUMBERS: Final = 14 + len(_VOTE_KM) + len(_COUNT_KM) + (1 + _OF_SET) * len(KINDS)
STANDS_OUT: Final = 1
"""Which of them says how far its picture stands out."""
EVIDENCE_NUMBERS: Final = 13 + len(KINDS)
QUESTION_NUMBERS: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Questions as tensors; what is not there is masked, and its numbers mean nothing."""

    query: torch.Tensor
    """`[B, D]`."""
    query_kind: torch.Tensor
    """`[B]` codes of `KINDS`, or `UNKNOWN_KIND`."""
    image: torch.Tensor
    """Of candidates, `[B, K, D]`."""
    gps: torch.Tensor
    """Vectors of their places `[B, K, D]`; zeros where the space has none."""
    position: torch.Tensor
    """`[B, K, 2]` latitude, longitude, degrees, float64."""
    kind: torch.Tensor
    """`[B, K]` codes."""
    found: torch.Tensor
    """Which channel brought it, image and gps, `[B, K, 2]` bool."""
    present: torch.Tensor
    """`[B, K]` bool."""
    near: torch.Tensor
    """Vectors of the evidence, `[B, K, E, D]`."""
    near_kind: torch.Tensor
    """`[B, K, E]` codes."""
    away_m: torch.Tensor
    """From the candidate, `[B, K, E]`."""
    bearing_deg: torch.Tensor
    """`[B, K, E]`."""
    age_years: torch.Tensor
    """Between candidate and evidence, `[B, K, E]`; below 0 where not known."""
    near_present: torch.Tensor
    """`[B, K, E]` bool."""

    def to(self, device: torch.device) -> Asked:
        """The same on another device."""
        return Asked(**{each.name: getattr(self, each.name).to(device) for each in fields(self)})


def standard(values: torch.Tensor, there: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    """Distance from the mean in spreads over what is there; zeros elsewhere and without spread."""
    count = there.sum(dims, keepdim=True).clamp(min=1)
    mean = (values * there).sum(dims, keepdim=True) / count
    gap = (values - mean) * there
    spread = (gap.square().sum(dims, keepdim=True) / count).sqrt()
    return gap / spread.clamp(min=_LEAST_SPREAD)


def highest(values: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """The largest of what is there along the last axis, kept as an axis; 0 for nothing."""
    found = values.masked_fill(~there, -math.inf).amax(-1, keepdim=True)
    return torch.where(there.any(-1, keepdim=True), found, torch.zeros_like(found))


def apart_km(position: torch.Tensor) -> torch.Tensor:
    """Great-circle distances between candidates, `[B, K, 2]` degrees to `[B, K, K]` fp32."""
    lat, lon = torch.deg2rad(position.double()).unbind(-1)
    xyz = torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()], dim=-1)
    chord = (xyz[:, :, None] - xyz[:, None]).square().sum(-1).sqrt()
    arc_m = 2.0 * EARTH_RADIUS_M * torch.asin((chord / 2.0).clamp(max=1.0))
    return (arc_m / 1_000.0).float()


def _of_channel(like: torch.Tensor, there: torch.Tensor) -> list[torch.Tensor]:
    """What one channel says of each candidate, `[B, K]` each: how it stands among the others."""
    zeroed = like * there
    above = ((zeroed[:, None] > zeroed[:, :, None]) & there[:, None]).sum(-1)
    gap = (zeroed - highest(like, there)) * there
    return [zeroed, standard(like, there, (1,)), 10.0 * gap, (1.0 + above).log() * there]


def of_candidates(
    asked: Asked,
    query: torch.Tensor,
    gps: torch.Tensor,
    like: torch.Tensor,
    km: torch.Tensor,
    said: list[torch.Tensor],
) -> torch.Tensor:
    """A candidate's numbers `[B, K, N]`: channels, kind, and how densely its place is voted for."""
    there = asked.present
    by_place = torch.einsum("bd,bkd->bk", query, gps)
    placed = there & gps.any(-1)
    image, place = _of_channel(like, there), _of_channel(by_place, placed)
    worth = (image[1] / WORTH).masked_fill(~there, -math.inf).softmax(-1).nan_to_num()
    others = there[:, None].float()
    votes = [
        (worth[:, None] * torch.exp(-km / scale)).sum(-1).clamp(min=1e-6).log()
        for scale in _VOTE_KM
    ]
    counts = [((km <= reach) * others).sum(-1).log1p() for reach in _COUNT_KM]
    brought = asked.found.float().unbind(-1)
    kinds = F.one_hot(asked.kind, len(KINDS)).float().unbind(-1)
    known = (asked.query_kind != UNKNOWN_KIND)[:, None].expand_as(there)
    other = known & (asked.kind != asked.query_kind[:, None])
    rows = [*image, *brought, *place, placed.float(), worth, *kinds, known.float(), other.float()]
    return torch.stack([*rows, *votes, *counts, *said], dim=-1) * there[..., None]


def of_evidence(
    asked: Asked,
    query: torch.Tensor,
    image: torch.Tensor,
    near: torch.Tensor,
    like: torch.Tensor,
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Numbers of each evidence photo `[B, K, E, N]`, and of each candidate's sets, by kind."""
    there = asked.near_present
    alike = torch.einsum("bd,bked->bke", query, near)
    # Evidence is mostly of wrong places: it tells, kind by kind, what chance looks like.
    of_kind = [there & (asked.near_kind == code) for code in range(len(KINDS))]
    stands = torch.stack([standard(alike, own, (1, 2)) for own in of_kind]).sum(0)
    away = torch.log1p(asked.away_m.clamp(min=0.0) / 10.0)
    turn = torch.deg2rad(asked.bearing_deg)
    dated = asked.age_years >= 0
    known = (asked.query_kind != UNKNOWN_KIND)[:, None, None]
    rows = [
        alike,
        stands,
        10.0 * (alike - like[..., None]),
        torch.einsum("bkd,bked->bke", image, near),
        away,
        turn.sin(),
        turn.cos(),
        (asked.near_kind != asked.kind[..., None]).float(),
        (known & (asked.near_kind != asked.query_kind[:, None, None])).float(),
        dated.float(),
        torch.log1p(asked.age_years.clamp(min=0.0)) * dated,
        *F.one_hot(asked.near_kind, len(KINDS)).float().unbind(-1),
        known.expand_as(there).float(),
        torch.exp(-asked.away_m / 1_000.0),
    ]
    said: list[torch.Tensor] = []
    for own in of_kind:
        count = own.sum(-1)
        said += [
            (count == 0).float(),
            torch.log1p(count.float()),
            highest(stands, own).squeeze(-1),
            (stands * own).sum(-1) / count.clamp(min=1),
            highest(-away, own).squeeze(-1),
        ]
    return torch.stack(rows, dim=-1) * there[..., None], said


def of_question(
    asked: Asked, query: torch.Tensor, near: torch.Tensor, like: torch.Tensor
) -> torch.Tensor:
    """What tells that nothing fits, `[B, 7]`: cosines as they are, which candidates do not keep.

    The best one, its lead, the spread, how many; then means: of candidates, of places by their
    worth, and of all evidence. One picture may be alike by chance, a whole place is not.
    """
    there = asked.present
    best = like.masked_fill(~there, -1.0).topk(min(2, like.shape[1]), dim=1).values
    count = there.sum(1).clamp(min=1)
    mean = (like * there).sum(1) / count
    spread = (((like - mean[:, None]) * there).square().sum(1) / count).sqrt()
    worth = (standard(like, there, (1,)) / WORTH).masked_fill(~there, -math.inf)
    worth = worth.softmax(-1).nan_to_num()
    around = asked.near_present
    alike = torch.einsum("bd,bked->bke", query, near) * around
    photos = around.sum(-1)
    place = (like * there + alike.sum(-1)) / (1 + photos)
    every = alike.sum((1, 2)) / photos.sum(1).clamp(min=1)
    rows = [best[:, 0], 10.0 * (best[:, 0] - best[:, -1]), 10.0 * spread, count.log() / 4]
    return torch.stack([*rows, mean, (worth * place).sum(1), every], 1)
