"""The flows `locate` and `similar`.

locate:  photo ─decode→ pixels ─encode→ vector ─retrieve→ [Candidate] ─one read→ [Evidence]
         ─rank→ [Ranked] ─verify→ [ImageMatch] ─calibrate→ posterior, if calibrated ─decide→ Answer
similar: a search (`gallery_search`) for one photo or gallery image
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final
from uuid import UUID

from pinpoint.errors import InvalidRequestError
from pinpoint.ports import CatalogReader, Reranker
from pinpoint.records import (
    IMAGE_CHANNEL,
    RAW_CHANNEL,
    Answer,
    Candidate,
    Contract,
    Evidence,
    Exclusions,
    Image,
    ImageMatch,
    IndexInfo,
    Pixels,
    RankedCandidate,
    Ranking,
    SearchFilter,
    SimilarResult,
    SourceKind,
    Vector,
)
from pinpoint.search import (
    answer,
    claims,
    posterior,
    rerank,
    verify,
    vote,
)
from pinpoint.search.candidates_and_evidence import (
    CandidatesAndEvidence,
    EncodedPhotos,
    encode_photos,
    find_candidates_and_evidence,
)
from pinpoint.search.context import EvidenceSettings, QueryPhoto, SearchContext
from pinpoint.search.gallery_search import SearchRequest, search_gallery
from pinpoint.search.query_vector import GalleryQuery
from pinpoint.search.verifier import QueryVerification
from pinpoint.search.visible_hits import list_warnings
from pinpoint.settings import SearchSettings

Ranker = Callable[
    [Vector, Sequence[Candidate], Mapping[UUID, Sequence[Evidence]]], tuple[RankedCandidate, ...]
]
RANKERS: Final[Mapping[str, Ranker]] = {
    vote.VOTE_RANKER: vote.rank_by_vote,
    vote.TOP1: vote.rank_top1,
}
"""Rankers that need no weights, by the name used in answers."""
RERANK: Final = rerank.RERANK_RANKER
RANKER_NAMES: Final = (*RANKERS, RERANK)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarRequest:
    """A query of `similar`: a photo or a gallery image, and the size of the page."""

    query: QueryPhoto | UUID
    """A photo, or the id of a gallery image."""
    limit: int
    """Number of groups (panoramas, sequences, otherwise single images) on the page."""
    per_group: int = 3
    """Number of images per group on the page."""
    include_self: bool = False
    """Include the gallery image among the hits."""
    exclude_group: bool = False
    """Exclude the panorama or sequence of the gallery image."""


def locate(
    photos: QueryPhoto | Sequence[QueryPhoto],
    search_filter: SearchFilter,
    context: SearchContext,
    *,
    exclusions: Exclusions | None = None,
) -> Answer:
    """Locate a photo, or several photos of one place, and return the answer with its evidence.

    Args:
        photos: The photo, or several photos of one place, which are one query.
        search_filter: Search filter: area, time and sources.
        context: Gallery, components and settings of the query.
        exclusions: Images treated as absent from the gallery; None in production.

    Raises:
        BadPhotoError: The bytes are not an accepted image.
        TooLargeError: The image exceeds a limit.
        ModelMismatchError: The index contains vectors of another bundle.
        UnavailableError: The index or the database does not respond.
    """
    query_photos = [photos] if isinstance(photos, QueryPhoto) else photos
    encoded = encode_photos(query_photos, context.decoder, context.encoder, context.stopwatch)
    located = locate_encoded(
        encoded, search_filter, context, kind=query_photos[0].kind, exclusions=exclusions
    )
    return claims.add_claims(located, encoded.claims)


def locate_encoded(
    query_vectors: Vector | EncodedPhotos,
    search_filter: SearchFilter,
    context: SearchContext,
    *,
    kind: SourceKind | None = None,
    exclusions: Exclusions | None = None,
    ranker: str | None = None,
) -> Answer:
    """Locate from vectors: all of `locate` except decoding and encoding.

    Args:
        query_vectors: Encoded photos, or only the query `[D]` of the channel `image`, from the
            encoder of the context. Without a vector of the channel `raw` that channel is not
            searched; without pixels no candidate is verified.
        search_filter: As `locate`.
        context: As `locate`.
        kind: Source kind of the photo, if known.
        exclusions: As `locate`.
        ranker: One of `RANKER_NAMES`; None selects the reranker if there is one, otherwise the
            vote.

    Raises:
        InvalidRequestError: The reranker is requested by name, but there is none.
        ModelMismatchError: As `locate`.
        UnavailableError: As `locate`.
    """
    contract, settings, stopwatch = context.encoder.contract, context.settings, context.stopwatch
    reranker = _select_reranker(ranker, context.reranker, contract)
    encoded = _as_encoded(query_vectors)
    vector, pixels = encoded.vector, encoded.pixels
    verification = _open_verification(pixels, context)
    with find_candidates_and_evidence(
        vector,
        search_filter,
        context,
        evidence_settings=_select_evidence_settings(settings, reranker),
        raw_vector=encoded.vectors.get(RAW_CHANNEL),
        exclusions=exclusions,
        with_vectors=reranker is not None,
    ) as retrieved:
        with stopwatch.stage("rank"):
            if reranker is None:
                ranking = _rank_without_weights(ranker, vector, retrieved)
            else:
                ranking = _rank_with_reranker(reranker, vector, kind, retrieved)
        decide = partial(
            _make_decision,
            search_filter=search_filter,
            context=context,
            kind=kind,
            num_photos=max(1, len(pixels)),
        )
        if verification is None:
            decision = decide(ranking, retrieved.reader)
            return _build_answer(decision, ranking, retrieved.snapshot, context)
        images = verify.read_candidates(ranking, retrieved.reader, settings.verify_candidates)
    # Outside the transaction: decoding may take seconds, and connections are few.
    ranking, decision = _verify_and_decide(verification, ranking, images, decide, context)
    return _build_answer(decision, ranking, retrieved.snapshot, context, verification)


def similar(
    request: SimilarRequest, search_filter: SearchFilter, context: SearchContext
) -> SimilarResult:
    """Find the images most similar to a photo or to a gallery image.

    Args:
        request: Photo or image, and size of the page.
        search_filter: As `locate`.
        context: As `locate`. The database is read only for a gallery image.

    Raises:
        InvalidRequestError: A limit is below 1.
        NotFoundError: The organization has no such image.
        ConflictError: The image is not in the index yet.
        BadPhotoError: As `locate`.
        TooLargeError: As `locate`.
        ModelMismatchError: As `locate`.
        UnavailableError: As `locate`.
    """
    return search_gallery(
        SearchRequest(
            query=GalleryQuery(photos=[request.query])
            if isinstance(request.query, QueryPhoto)
            else GalleryQuery(image_ids=[request.query]),
            limit=request.limit,
            per_group=request.per_group,
            include_self=request.include_self,
            exclude_group=request.exclude_group,
        ),
        search_filter,
        context,
    )


def _open_verification(
    pixels: Sequence[Pixels], context: SearchContext
) -> QueryVerification | None:
    """The verification of a query; None if it is disabled or there are no pixels."""
    if context.verifier is None or context.settings.verify_candidates == 0 or not pixels:
        return None
    return context.verifier.open_query(pixels, context.organization_id)


def _verify_and_decide(
    verification: QueryVerification,
    ranking: Ranking,
    images: Mapping[UUID, Image | None],
    decide: Callable[..., answer.Decision],
    context: SearchContext,
) -> tuple[Ranking, answer.Decision]:
    """Verify the best candidates, decide, and verify the other cited images.

    Args:
        verification: Verification of the query.
        ranking: Ranking of all candidates.
        images: Rows of the best candidates.
        decide: `_make_decision` with all arguments but ranking, reader and matches.
        context: Gallery, components and settings of the query.

    Returns:
        The ranking, in which verified candidates come first if the gallery's threshold says so,
        and the decision.
    """
    with context.stopwatch.stage("verify"):
        verification.verify(images)
        if verification.threshold.reorders_candidates:
            ranking = verify.put_verified_first(ranking, verification.matches)
    with context.database.read(context.organization_id) as reader:
        decision = decide(ranking, reader, verification.matches)
        cited_images = verify.read_citations(decision.citations, reader, verification.matches)
    with context.stopwatch.stage("verify"):
        verification.verify(cited_images)
    return ranking, decision


def _build_answer(
    decision: answer.Decision,
    ranking: Ranking,
    snapshot: IndexInfo,
    context: SearchContext,
    verification: QueryVerification | None = None,
) -> Answer:
    """Build the answer record with its provenance."""
    return answer.build_answer(
        decision,
        answer.Provenance(
            contract=context.encoder.contract,
            ranker=ranking.ranker,
            reason=ranking.fallback_reason,
            matches={} if verification is None else verification.matches,
            verification_threshold=None if verification is None else verification.threshold,
            engine=snapshot.engine,
            build=snapshot.build,
            warnings=list_warnings(context),
        ),
        context.stopwatch.timings_ms(),
    )


def _make_decision(
    ranking: Ranking,
    reader: CatalogReader,
    matches: Mapping[UUID, ImageMatch] = MappingProxyType({}),
    *,
    search_filter: SearchFilter,
    context: SearchContext,
    kind: SourceKind | None,
    num_photos: int,
) -> answer.Decision:
    """Calibrate a ranking, decide, and cite."""
    with context.stopwatch.stage("decide"):
        calibrated = posterior.calibrate_result(
            ranking,
            context.encoder.contract,
            search_filter,
            context.settings,
            kind=kind,
            num_photos=num_photos,
            matches=matches,
        )
        return answer.decide_answer(
            ranking.ranked, calibrated, reader=reader, cited=context.settings.max_citations
        )


def _as_encoded(query_vectors: Vector | EncodedPhotos) -> EncodedPhotos:
    """Encoded photos; a single vector is that of the channel `image`."""
    if isinstance(query_vectors, EncodedPhotos):
        return query_vectors
    return EncodedPhotos(vectors={IMAGE_CHANNEL: query_vectors})


def _select_reranker(
    ranker: str | None, reranker: Reranker | None, contract: Contract
) -> Reranker | None:
    """The reranker, unless another ranker is requested or there is none."""
    if ranker == rerank.RERANK_RANKER and reranker is None:
        raise InvalidRequestError(f"{contract.name}: {rerank.NO_RERANKER}")
    return reranker if ranker in (None, rerank.RERANK_RANKER) else None


def _select_evidence_settings(
    settings: SearchSettings, reranker: Reranker | None
) -> EvidenceSettings:
    """A reranker gets as much evidence as in its training."""
    if reranker is None:
        return EvidenceSettings(settings.evidence_radius_m, settings.evidence_per_kind)
    return EvidenceSettings(reranker.evidence_radius_m, reranker.evidence_per_kind)


def _rank_without_weights(
    ranker: str | None, vector: Vector, retrieved: CandidatesAndEvidence
) -> Ranking:
    """Rank with the requested ranker of `RANKERS`, otherwise with the vote."""
    name = ranker or vote.VOTE_RANKER
    ranked = RANKERS[name](vector, retrieved.candidates, retrieved.evidence)
    return Ranking(
        ranked=ranked, ranker=name, fallback_reason=None if ranker else rerank.NO_RERANKER
    )


def _rank_with_reranker(
    reranker: Reranker, vector: Vector, kind: SourceKind | None, retrieved: CandidatesAndEvidence
) -> Ranking:
    """Rank with the reranker of the bundle."""
    output = reranker.rerank(
        vector, kind, retrieved.candidates, retrieved.evidence, retrieved.vectors
    )
    unranked = vote.attach_evidence(vector, retrieved.candidates, retrieved.evidence)
    return rerank.order_by_reranker(unranked, retrieved.candidates, output)
