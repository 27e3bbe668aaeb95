"""What a query did with the images that the index returned, for an explanation of its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from uuid import UUID

from pinpoint.geo.distance import geodesic_m
from pinpoint.records import ChannelScore, Hit, Point, SourceKind

MAX_DROPPED: Final = 50
"""Maximum number of dropped images in a trace; the best ones are kept."""

DropReason = Literal["redundant", "no_slot"]
"""`redundant`: closer than `dedupe_m` to a candidate of its kind and group, which has a better
score. `no_slot`: other images filled the slots of its kind and channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedHit:
    """An image that the index returned and that is no candidate."""

    id: UUID
    source_kind: SourceKind
    point: Point
    reason: DropReason
    kept_id: UUID | None
    """The candidate that it is redundant to."""
    channels: Mapping[str, ChannelScore]
    """Score and rank in each channel that returned it."""


@dataclass(slots=True)
class SearchTrace:
    """Trace of one query; retrieval writes it if the caller passes one."""

    num_hits: dict[str, int] = field(default_factory=dict)
    """Number of images that each channel returned."""
    num_dropped: int = 0
    dropped: list[DroppedHit] = field(default_factory=list)
    """The best `MAX_DROPPED`, by their best rank in a channel."""

    def record_hits(
        self,
        hits_by_channel: Mapping[str, Sequence[Hit]],
        candidates: Sequence[Hit],
        *,
        dedupe_m: float,
    ) -> None:
        """Record the hits of a retrieval that are no candidates, and why."""
        candidate_ids = {hit.id for hit in candidates}
        channels: dict[UUID, dict[str, ChannelScore]] = {}
        dropped: dict[UUID, Hit] = {}
        for channel, hits in hits_by_channel.items():
            self.num_hits[channel] = len(hits)
            for rank, hit in enumerate(hits):
                if hit.id not in candidate_ids:
                    dropped[hit.id] = hit
                    score = ChannelScore(score=hit.similarity, rank=rank)
                    channels.setdefault(hit.id, {})[channel] = score
        best_ranks = {
            id_: min(score.rank or 0 for score in scores.values())
            for id_, scores in channels.items()
        }
        ordered = sorted(dropped.values(), key=lambda hit: (best_ranks[hit.id], hit.order))
        self.num_dropped = len(ordered)
        self.dropped = [
            _explain_drop(hit, channels[hit.id], candidates, dedupe_m)
            for hit in ordered[:MAX_DROPPED]
        ]


def _explain_drop(
    hit: Hit, channels: Mapping[str, ChannelScore], candidates: Sequence[Hit], dedupe_m: float
) -> DroppedHit:
    kept_id = next(
        (
            kept.id
            for kept in candidates
            if (kept.kind, kept.group) == (hit.kind, hit.group)
            and geodesic_m(kept.point, hit.point) <= dedupe_m
        ),
        None,
    )
    return DroppedHit(
        id=hit.id,
        source_kind=hit.kind,
        point=hit.point,
        reason="no_slot" if kept_id is None else "redundant",
        kept_id=kept_id,
        channels=channels,
    )
