"""The stage `verify`: which images are compared with the query, and what verified matches change.

A verified match is evidence and certainty: both images show the same surfaces. It moves candidates
only if the threshold of the gallery says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from pinpoint.ports import CatalogReader
from pinpoint.records import Citation, Image, ImageMatch, RankedCandidate, Ranking


def read_candidates(
    ranking: Ranking, reader: CatalogReader, limit: int
) -> dict[UUID, Image | None]:
    """Rows of the best `limit` candidates; None for deleted ones."""
    ids = [entry.candidate.id for entry in ranking.ranked[:limit]]
    images = reader.images(ids)
    return {image_id: images.get(image_id) for image_id in ids}


def read_citations(
    citations: Sequence[Citation], reader: CatalogReader, matches: Mapping[UUID, ImageMatch]
) -> dict[UUID, Image | None]:
    """Rows of the cited images without a match; None for deleted ones."""
    ids = [citation.image_id for citation in citations if citation.image_id not in matches]
    images = reader.images(ids) if ids else {}
    return {image_id: images.get(image_id) for image_id in ids}


def put_verified_first(ranking: Ranking, matches: Mapping[UUID, ImageMatch]) -> Ranking:
    """The ranking with verified candidates first, those with the most inliers leading.

    The weights, and a reranker's logits, stay in their order: the first candidate gets the highest
    ones. Candidates that are not verified keep their order.
    """

    def sort_key(entry: RankedCandidate) -> tuple[bool, int]:
        match = matches.get(entry.candidate.id)
        if match is None or not match.verification.verified:
            return (True, 0)
        return (False, -match.verification.inliers)

    ordered = sorted(ranking.ranked, key=sort_key)
    return replace(
        ranking,
        ranked=tuple(
            replace(entry, weight=place.weight, rerank_logit=place.rerank_logit)
            for entry, place in zip(ordered, ranking.ranked, strict=True)
        ),
    )
