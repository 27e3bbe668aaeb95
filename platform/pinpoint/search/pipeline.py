"""Locate and similar, as recipes.

locate:  photo ─decode→ pixels ─encode→ vector ─retrieve→ [Candidate] ─one read→ [Evidence]
         ─rank→ [Ranked] ─believe→ probabilities, where calibrated ─decide→ Answer
similar: photo, or an image of the gallery ─→ vector ─retrieve→ [SimilarGroup]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final
from uuid import UUID

from pinpoint.errors import BadRequest, OtherContract
from pinpoint.ports import Database, Decoder, Encoder, Reranker, VectorIndex
from pinpoint.records import (
    GPS_CHANNEL,
    IMAGE_CHANNEL,
    Answer,
    Candidate,
    Contract,
    Evidence,
    Exclusions,
    Limits,
    Ranked,
    Ranking,
    Similar,
    SourceKind,
    Vector,
)
from pinpoint.search import (
    answer,
    builds,
    evidence,
    exclude,
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
    [Vector, Sequence[Candidate], Mapping[UUID, Sequence[Evidence]]], tuple[Ranked, ...]
]
RANKERS: Final[Mapping[str, Ranker]] = {vote.NAME: vote.rank, vote.TOP1: vote.top1}
"""Rankers that need no weights, by the name that an answer gives."""
RERANK: Final = rerank.NAME
RANKER_NAMES: Final = (*RANKERS, RERANK)


def locate(
    data: bytes,
    *,
    file: str,
    limits: Limits,
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
    """Say where a photo was taken, and what speaks for it.

    Args:
        data: The photo's bytes, hostile until decoded.
        file: Its name, for messages.
        limits: Where, when and in which sources to look.
        organization_id: Whose gallery.
        kind: What sort of picture it is, where known; chooses the encoder's adapter.
        decoder: Reads the bytes.
        encoder: Looks at the picture.
        index: Finds candidates.
        database: Finds evidence, names and licences; one read.
        settings: How much of each.
        reranker: Judges the candidates, where the bundle has one; else they vote.
        exclusions: What is as if it were not in the gallery; None in serving.

    Raises:
        BadPhoto: The bytes are no picture we accept.
        TooLarge: The picture is over a limit.
        OtherContract: The index holds vectors of another bundle.
        Unavailable: The index or the database does not answer.
    """
    watch = Stopwatch()
    vector = encoded(data, file=file, kind=kind, decoder=decoder, encoder=encoder, watch=watch)
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
    limits: Limits,
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
    """Locate from the vector `[D]` on: all of `locate` but decoding and encoding.

    The contract is of the bundle that made the vector. The ranker is one of `RANKER_NAMES`; None
    takes the reranker where there is one, else the vote. Without a stopwatch that runs already,
    timings start here. Everything else is as for `locate`.

    Raises:
        BadRequest: The reranker is asked for by name, and there is none.
        OtherContract: As `locate`, and so `Unavailable`.
    """
    judge = _judge(ranker, reranker, contract)
    watch = watch or Stopwatch()
    resolved = _resolved(exclusions, organization_id, database, watch)
    find = partial(retrieve.candidates, vector, index=index, limits=limits, settings=settings)
    with watch.stage("retrieve"):
        gps = GPS_CHANNEL in contract.dims
        ask = partial(find, organization_id=organization_id, exclusions=resolved, gps=gps)
        info, ((candidates, exclusions), points) = builds.of_one_build(
            index, contract, lambda info: rerank.seen(ask(info=info), index if judge else None)
        )
    with database.read(organization_id) as reader:
        with watch.stage("evidence"):
            near = evidence.gather(
                candidates,
                vector=vector,
                reader=reader,
                contract=contract.digest,
                limits=limits,
                radius_m=(judge or settings).evidence_radius_m,
                per_kind=(judge or settings).evidence_per_kind,
                exclusions=exclusions,
            )
        with watch.stage("rank"):
            ranking = _ranking(ranker if judge is None else vote.TOP1, vector, candidates, near)
            if judge is not None:
                said = judge.judge(vector, kind, candidates, near, points)
                ranking = rerank.ranking(ranking.ranked, candidates, said)
        with watch.stage("decide"):
            believed = posterior.believed(ranking, contract, limits, settings, kind=kind)
            decision = answer.decide(ranking.ranked, believed, reader=reader, cited=settings.cited)
    by, why, ms = ranking.ranker, ranking.reason, watch.read()
    return answer.composed(
        decision, contract, ms, ranker=by, reason=why, engine=info.engine, build=info.build
    )


def similar(
    data: bytes | None,
    *,
    image_id: UUID | None = None,
    file: str,
    limits: Limits,
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
) -> Similar:
    """Find the images that look most like a photo, or like an image of the gallery.

    Args:
        data: The photo's bytes; None where `image_id` is given.
        image_id: An image of the gallery instead of a photo.
        file: The photo's name, for messages.
        limits: What may be found.
        organization_id: Whose gallery.
        limit: Groups (panoramas, sequences, else single images) on the page.
        per_group: Images of one group on the page.
        kind: What sort of picture the photo is, where known.
        include_self: Leave the gallery image itself among the hits.
        exclude_group: Leave out the gallery image's whole panorama or sequence.
        decoder: As `locate`.
        encoder: As `locate`.
        index: As `locate`.
        database: As `locate`; asked only for `image_id`.
        settings: As `locate`.

    Raises:
        BadRequest: Neither or both of photo and image, or nothing is to be shown.
        NotFound: This organisation has no such image.
        Conflict: The image is not in the index yet.
        BadPhoto: As `locate`, and so `TooLarge`, `OtherContract` and `Unavailable`.
    """
    if limit < 1 or per_group < 1:
        raise BadRequest(f"limit ({limit}) and per_group ({per_group}) must be at least 1")
    watch = Stopwatch()
    before = builds.fitting(index, encoder.contract)
    where = retrieve.where(organization_id, limits)
    if image_id is not None and data is None:
        with watch.stage("fetch"):
            own = query.of_image(image_id, organization_id, index=index, database=database)
        vector = own.vectors[IMAGE_CHANNEL]
        where = grouping.beside(where, own, include_self=include_self, exclude_group=exclude_group)
    elif data is not None and image_id is None:
        vector = encoded(data, file=file, kind=kind, decoder=decoder, encoder=encoder, watch=watch)
    else:
        raise BadRequest("give either a photo or the id of an image in the gallery")
    find = partial(grouping.groups, vector, index=index, where=where, settings=settings)
    with watch.stage("retrieve"):
        info, groups = builds.of_one_build(
            index,
            encoder.contract,
            lambda info: find(info=info, limit=limit, per_group=per_group),
        )
    if image_id is not None and info.build != before.build:
        raise OtherContract("the index was switched under the question; ask again")
    return Similar(
        groups=groups,
        bundle=encoder.contract.name,
        index_build=info.build,
        timings_ms=watch.read(),
    )


def encoded(
    data: bytes,
    *,
    file: str,
    kind: SourceKind | None,
    decoder: Decoder,
    encoder: Encoder,
    watch: Stopwatch,
) -> Vector:
    """The first two stages of both flows: bytes to vector `[D]`; arguments as `locate`.

    Raises:
        BadPhoto: As `locate`.
        TooLarge: As `locate`.
    """
    with watch.stage("decode"):
        pixels = query.pixels(data, file=file, decoder=decoder)
    with watch.stage("encode"):
        return encoder.encode_query(pixels, kind)


def _judge(ranker: str | None, reranker: Reranker | None, contract: Contract) -> Reranker | None:
    """The reranker, unless another ranker is asked for or there is none."""
    if ranker == rerank.NAME and reranker is None:
        raise BadRequest(f"{contract.name}: {rerank.MISSING}")
    return reranker if ranker in (None, rerank.NAME) else None


def _resolved(
    exclusions: Exclusions | None, organization_id: UUID, database: Database, watch: Stopwatch
) -> Exclusions | None:
    """The exclusions with every row that can be named beforehand named by its id."""
    if exclusions is None:
        return None
    with watch.stage("exclude"):
        return exclude.resolve(exclusions, organization_id=organization_id, database=database)


def _ranking(
    ranker: str | None,
    vector: Vector,
    candidates: Sequence[Candidate],
    near: Mapping[UUID, Sequence[Evidence]],
) -> Ranking:
    """By a ranker that needs no weights: the one asked for, else the vote.

    A reranker gives all masses itself; before it the cheapest one brings the evidence along.
    """
    name = ranker or vote.NAME
    ranked = RANKERS[name](vector, candidates, near)
    return Ranking(ranked=ranked, ranker=name, reason=None if ranker else rerank.MISSING)
