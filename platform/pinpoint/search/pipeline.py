"""The flows `locate` and `similar`.

locate:  photo ─decode→ pixels ─encode→ vector ─retrieve→ [Candidate] ─one read→ [Evidence]
         ─rank→ [Ranked] ─calibrate→ posterior, if calibrated ─decide→ Answer
similar: photo or gallery image ─→ vector ─retrieve→ [SimilarGroup]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final
from uuid import UUID

from pinpoint.errors import BadRequestError, ModelMismatchError
from pinpoint.ports import Database, Decoder, Encoder, Reranker, VectorIndex
from pinpoint.records import (
    GPS_CHANNEL,
    IMAGE_CHANNEL,
    Answer,
    Candidate,
    Contract,
    Evidence,
    Exclusions,
    RankedCandidate,
    Ranking,
    SearchFilter,
    SimilarResult,
    SourceKind,
    Vector,
)
from pinpoint.search import (
    answer,
    consistency,
    evidence,
    exclusion_filter,
    grouping,
    posterior,
    query,
    rerank,
    retrieve,
    vote,
)
from pinpoint.search.stopwatch import Stopwatch
from pinpoint.settings import SearchSettings

Ranker = Callable[
    [Vector, Sequence[Candidate], Mapping[UUID, Sequence[Evidence]]], tuple[RankedCandidate, ...]
]
RANKERS: Final[Mapping[str, Ranker]] = {vote.NAME: vote.rank_by_vote, vote.TOP1: vote.rank_top1}
"""Rankers that need no weights, by the name used in answers."""
RERANK: Final = rerank.NAME
RANKER_NAMES: Final = (*RANKERS, RERANK)


def locate(
    data: bytes,
    *,
    file: str,
    limits: SearchFilter,
    organization_id: UUID,
    kind: SourceKind | None,
    decoder: Decoder,
    encoder: Encoder,
    index: VectorIndex,
    database: Database,
    settings: SearchSettings,
    reranker: Reranker | None = None,
    exclusions: Exclusions | None = None,
) -> Answer:
    """Locate a photo and return the answer with its evidence.

    Args:
        data: The photo's bytes, untrusted until decoded.
        file: File name, for messages.
        limits: Search filter: area, time and sources.
        organization_id: Organization of the gallery.
        kind: Source kind of the query, if known; selects the encoder's adapter.
        decoder: Decodes the bytes.
        encoder: Encodes the image.
        index: Returns candidates.
        database: Returns evidence, names and licenses; one read.
        settings: Search settings.
        reranker: Ranks the candidates, if the bundle has one; otherwise they vote.
        exclusions: Images treated as absent from the gallery; None in production.

    Raises:
        BadPhotoError: The bytes are not an accepted image.
        TooLargeError: The image exceeds a limit.
        ModelMismatchError: The index contains vectors of another bundle.
        UnavailableError: The index or the database does not respond.
    """
    watch = Stopwatch()
    vector = encode_photo(data, file=file, kind=kind, decoder=decoder, encoder=encoder, watch=watch)
    return locate_encoded(
        vector,
        limits=limits,
        organization_id=organization_id,
        contract=encoder.contract,
        index=index,
        database=database,
        settings=settings,
        kind=kind,
        reranker=reranker,
        exclusions=exclusions,
        watch=watch,
    )


def locate_encoded(
    vector: Vector,
    *,
    limits: SearchFilter,
    organization_id: UUID,
    contract: Contract,
    index: VectorIndex,
    database: Database,
    settings: SearchSettings,
    kind: SourceKind | None = None,
    reranker: Reranker | None = None,
    exclusions: Exclusions | None = None,
    ranker: str | None = None,
    watch: Stopwatch | None = None,
) -> Answer:
    """Locate from the vector `[D]`: all of `locate` except decoding and encoding.

    The contract is that of the bundle that made the vector. The ranker is one of `RANKER_NAMES`;
    None selects the reranker if there is one, otherwise the vote. Without a running stopwatch,
    timings start here. All other arguments are as in `locate`.

    Raises:
        BadRequestError: The reranker is requested by name, but there is none.
        ModelMismatchError: As `locate`.
        UnavailableError: As `locate`.
    """
    active_reranker = _select_reranker(ranker, reranker, contract)
    watch = watch or Stopwatch()
    resolved = _resolve_exclusions(exclusions, organization_id, database, watch)
    find = partial(
        retrieve.retrieve_candidates, vector, index=index, limits=limits, settings=settings
    )
    with watch.stage("retrieve"):
        gps = GPS_CHANNEL in contract.dims
        find = partial(find, organization_id=organization_id, exclusions=resolved, gps=gps)
        fetch_from = index if active_reranker else None
        info, ((candidates, exclusions), points) = consistency.read_consistently(
            index,
            contract,
            lambda info: rerank.fetch_candidate_vectors(find(info=info), fetch_from),
        )
    with database.read(organization_id) as reader:
        with watch.stage("evidence"):
            nearby = evidence.fetch_evidence(
                candidates,
                vector=vector,
                reader=reader,
                contract=contract.digest,
                limits=limits,
                radius_m=(active_reranker or settings).evidence_radius_m,
                per_kind=(active_reranker or settings).evidence_per_kind,
                exclusions=exclusions,
            )
        with watch.stage("rank"):
            first_ranker = ranker if active_reranker is None else vote.TOP1
            ranking = _rank_without_weights(first_ranker, vector, candidates, nearby)
            if active_reranker is not None:
                judgement = active_reranker.judge(vector, kind, candidates, nearby, points)
                ranking = rerank.order_by_reranker(ranking.ranked, candidates, judgement)
        with watch.stage("decide"):
            believed = posterior.calibrate_result(ranking, contract, limits, settings, kind=kind)
            decision = answer.decide_answer(
                ranking.ranked, believed, reader=reader, cited=settings.max_citations
            )
    return answer.build_answer(
        decision,
        contract,
        watch.read(),
        ranker=ranking.ranker,
        reason=ranking.reason,
        engine=info.engine,
        build=info.build,
    )


def similar(
    data: bytes | None,
    *,
    image_id: UUID | None = None,
    file: str,
    limits: SearchFilter,
    organization_id: UUID,
    limit: int,
    per_group: int = 3,
    kind: SourceKind | None = None,
    include_self: bool = False,
    exclude_group: bool = False,
    decoder: Decoder,
    encoder: Encoder,
    index: VectorIndex,
    database: Database,
    settings: SearchSettings,
) -> SimilarResult:
    """Find the images most similar to a photo or to a gallery image.

    Args:
        data: The photo's bytes; None if `image_id` is given.
        image_id: A gallery image instead of a photo.
        file: File name of the photo, for messages.
        limits: Search filter.
        organization_id: Organization of the gallery.
        limit: Number of groups (panoramas, sequences, otherwise single images) on the page.
        per_group: Number of images per group on the page.
        kind: Source kind of the photo, if known.
        include_self: Include the gallery image among the hits.
        exclude_group: Exclude the panorama or sequence of the gallery image.
        decoder: As `locate`.
        encoder: As `locate`.
        index: As `locate`.
        database: As `locate`; read only for `image_id`.
        settings: As `locate`.

    Raises:
        BadRequestError: Photo and image are both given or both missing, or a limit is below 1.
        NotFoundError: The organization has no such image.
        ConflictError: The image is not in the index yet.
        BadPhotoError: As `locate`.
        TooLargeError: As `locate`.
        ModelMismatchError: As `locate`.
        UnavailableError: As `locate`.
    """
    if limit < 1 or per_group < 1:
        raise BadRequestError(f"limit ({limit}) and per_group ({per_group}) must be at least 1")
    watch = Stopwatch()
    info_before = consistency.require_same_model(index, encoder.contract)
    where = retrieve.to_index_filter(organization_id, limits)
    if image_id is not None and data is None:
        with watch.stage("fetch"):
            image = query.fetch_image_query(
                image_id, organization_id, index=index, database=database
            )
        vector = image.vectors[IMAGE_CHANNEL]
        where = grouping.restrict_to_neighbors_of(
            where, image, include_self=include_self, exclude_group=exclude_group
        )
    elif data is not None and image_id is None:
        vector = encode_photo(
            data, file=file, kind=kind, decoder=decoder, encoder=encoder, watch=watch
        )
    else:
        raise BadRequestError("give either a photo or the id of an image in the gallery")
    find_groups = partial(grouping.group_hits, vector, index=index, where=where, settings=settings)
    with watch.stage("retrieve"):
        info, groups = consistency.read_consistently(
            index,
            encoder.contract,
            lambda info: find_groups(info=info, limit=limit, per_group=per_group),
        )
    if image_id is not None and info.build != info_before.build:
        raise ModelMismatchError("the index changed during the query; retry")
    return SimilarResult(
        groups=groups,
        bundle=encoder.contract.name,
        index_build=info.build,
        timings_ms=watch.read(),
    )


def encode_photo(
    data: bytes,
    *,
    file: str,
    kind: SourceKind | None,
    decoder: Decoder,
    encoder: Encoder,
    watch: Stopwatch,
) -> Vector:
    """Run the first two stages of both flows: bytes to vector `[D]`; arguments as `locate`.

    Raises:
        BadPhotoError: As `locate`.
        TooLargeError: As `locate`.
    """
    with watch.stage("decode"):
        pixels = query.decode_query(data, file=file, decoder=decoder)
    with watch.stage("encode"):
        return encoder.encode_query(pixels, kind)


def _select_reranker(
    ranker: str | None, reranker: Reranker | None, contract: Contract
) -> Reranker | None:
    """The reranker, unless another ranker is requested or there is none."""
    if ranker == rerank.NAME and reranker is None:
        raise BadRequestError(f"{contract.name}: {rerank.NO_RERANKER}")
    return reranker if ranker in (None, rerank.NAME) else None


def _resolve_exclusions(
    exclusions: Exclusions | None, organization_id: UUID, database: Database, watch: Stopwatch
) -> Exclusions | None:
    """The exclusions with hashes, creators and sequences replaced by ids."""
    if exclusions is None:
        return None
    with watch.stage("exclude"):
        return exclusion_filter.resolve_exclusions(
            exclusions, organization_id=organization_id, database=database
        )


def _rank_without_weights(
    ranker: str | None,
    vector: Vector,
    candidates: Sequence[Candidate],
    evidence_by_candidate: Mapping[UUID, Sequence[Evidence]],
) -> Ranking:
    """Rank with a ranker that needs no weights: the requested one, otherwise the vote.

    Before a reranker it is `top1`, the cheapest, because the reranker computes all masses.
    """
    name = ranker or vote.NAME
    ranked = RANKERS[name](vector, candidates, evidence_by_candidate)
    return Ranking(ranked=ranked, ranker=name, reason=None if ranker else rerank.NO_RERANKER)
