"""The run: every labeled query goes through the real search flow, in every arm.

    query ─read→ bytes ─encode→ vector ─locate→ unfiltered
                                       └locate, exclusions→ excluded        ─append→ row

A photo is decoded and encoded once. A missing or broken photo gives a row with a reason. Errors
that affect all following queries (the index is gone, or has vectors of another bundle) end the run.
A restarted run resumes where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final
from uuid import UUID

from pinpoint.errors import BadPhotoError, BadRequestError, TooLargeError
from pinpoint.evaluation.labels.labels import LabeledQueries, LabeledQuery
from pinpoint.evaluation.run import run_manifest
from pinpoint.evaluation.run.concurrency import ordered_map
from pinpoint.evaluation.run.rows import (
    EXCLUDED,
    UNFILTERED,
    ArmRow,
    QueryRow,
    ResultLog,
    build_arm_row,
    build_query_row,
)
from pinpoint.media.checks import RejectedFileError
from pinpoint.media.files import read_bytes, sha256
from pinpoint.ports import Database, Decoder, Encoder, Reranker, VectorIndex
from pinpoint.progress import ProgressCallback
from pinpoint.records import (
    IMAGE_CHANNEL,
    NEAR_DUPLICATE_COSINE,
    SOURCE_KINDS,
    Exclusions,
    IndexFilter,
    SearchFilter,
    Vector,
)
from pinpoint.search import consistency, pipeline
from pinpoint.search.candidates_and_evidence import (
    EncodedPhotos,
    encode_photos,
    resolve_query_exclusions,
)
from pinpoint.search.context import QueryPhoto, SearchContext
from pinpoint.search.stopwatch import Stopwatch
from pinpoint.search.verifier import Verifier
from pinpoint.settings import SearchSettings

EXCLUDABLE: Final = ("self", "creator", "sequence", "near-duplicate")
"""Gallery rows that can be excluded: same bytes, same creator, same sequence, near-duplicates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationComponents:
    """Components of the search flow."""

    decoder: Decoder
    encoder: Encoder
    index: VectorIndex
    database: Database
    search: SearchSettings
    max_bytes: int
    reranker: Reranker | None = None
    """Reranker of the bundle, if it has one."""
    verifier: Verifier | None = None
    """Compares queries with gallery images; None if their stored files cannot be reached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Settings of a run."""

    organization_id: UUID
    images: Path
    search_filter: SearchFilter = field(default_factory=SearchFilter)
    ranker: str = "vote"
    exclude: tuple[str, ...] = EXCLUDABLE
    """Values of `EXCLUDABLE`; if empty, there is no arm `excluded`."""
    unfiltered: bool = True
    """Whether there is an arm `unfiltered`; without it the run takes half the time."""
    near_duplicate_cosine: float = NEAR_DUPLICATE_COSINE
    filters: tuple[tuple[str, str], ...] = ()
    """Label filters `(stratum or kind, value)`; several values of one stratum are alternatives."""
    max_queries: int | None = None
    """Evaluate only this many queries, the first ones after filtering."""
    verify_candidates: int = 0
    """Number of candidates that are compared by local features; 0 disables verification."""


def evaluate(
    labeled: LabeledQueries,
    folder: Path,
    *,
    config: RunConfig,
    components: EvaluationComponents,
    planet: Mapping[str, Any] | None = None,
    concurrency: int = 1,
    on_progress: ProgressCallback = lambda completed, total: None,
) -> dict[str, Any]:
    """Evaluate every query that has no row yet, and append its row in `folder`.

    Args:
        labeled: The labeled queries.
        folder: Folder of the run; created, or resumed if it contains the same run.
        config: Settings of the run.
        components: Components of the search flow.
        planet: Identity of a synthetic planet.
        concurrency: Number of concurrent queries. Rows do not depend on it; timings include
            queueing.
        on_progress: Called with the number of completed queries and the total.

    Returns:
        The manifest of the run.

    Raises:
        ConflictError: The folder contains another run.
        BadRequestError: The settings are invalid.
        BadBundleError: The index contains vectors of another bundle.
        UnavailableError: A service of the stack does not respond.
    """
    _check_config(config, components)
    queries = _select_queries(labeled, config)
    run = run_manifest.build_manifest(
        labeled,
        queries,
        filters={name: " or ".join(values) for name, values in _stratum_filters(config).items()},
        gallery=describe_gallery(config, components),
        settings=describe_settings(config, components),
        planet=planet,
    )
    run_manifest.write_or_check(folder, run)
    with ResultLog(folder, vector_width(components)) as log:
        pending = [number for number in range(len(queries)) if number not in log.finished]
        on_progress(log.count, len(queries))
        evaluate_query = partial(
            _evaluate_query, queries=queries, config=config, components=components
        )
        for row, vector in ordered_map(evaluate_query, pending, concurrency):
            slot = None if vector is None else log.next_vector()
            log.append(replace(row, vector=slot), vector)
            on_progress(log.count, len(queries))
    return run


def vector_width(components: EvaluationComponents) -> int:
    """Dimension D of the query vectors."""
    return components.encoder.contract.dims[IMAGE_CHANNEL]


def build_context(config: RunConfig, components: EvaluationComponents) -> SearchContext:
    """Context of one query in the search flow; its stopwatch starts now."""
    return SearchContext(
        organization_id=config.organization_id,
        decoder=components.decoder,
        encoder=components.encoder,
        index=components.index,
        database=components.database,
        settings=components.search.model_copy(
            update={"verify_candidates": config.verify_candidates}
        ),
        verifier=components.verifier,
        reranker=components.reranker,
    )


def exclusions_for(query: LabeledQuery, file_sha256: str, config: RunConfig) -> Exclusions:
    """Exclusions for one query, according to the settings of the run."""
    creator = query.creator if "creator" in config.exclude else None
    sequence = query.sequence if "sequence" in config.exclude else None
    return Exclusions(
        hashes=(file_sha256,) if "self" in config.exclude else (),
        creators=() if creator is None else (creator,),
        sequences=(sequence,) if sequence is not None else (),
        near_duplicate_cosine=(
            config.near_duplicate_cosine if "near-duplicate" in config.exclude else None
        ),
    )


def _select_queries(labeled: LabeledQueries, config: RunConfig) -> tuple[LabeledQuery, ...]:
    """The queries that match the filters.

    Raises:
        BadRequestError: No query matches.
    """
    filters = _stratum_filters(config)
    chosen = tuple(
        query
        for query in labeled.queries
        if all(_stratum_value(query, name) in values for name, values in filters.items())
    )
    if not chosen and config.filters:
        strata = sorted({name for query in labeled.queries for name in query.strata} | {"kind"})
        raise BadRequestError(
            f"no query has {', '.join(f'{name}={value}' for name, value in config.filters)}; "
            f"available strata are {', '.join(strata)}"
        )
    return chosen[: config.max_queries]


def _stratum_filters(config: RunConfig) -> dict[str, list[str]]:
    """Allowed values of each filtered stratum."""
    return {
        name: [value for stratum, value in config.filters if stratum == name]
        for name, _ in config.filters
    }


def _stratum_value(query: LabeledQuery, name: str) -> str | None:
    return query.query_kind if name == "kind" else query.strata.get(name)


def _check_config(config: RunConfig, components: EvaluationComponents) -> None:
    unknown = [name for name in config.exclude if name not in EXCLUDABLE]
    if unknown:
        raise BadRequestError(
            f"cannot exclude {', '.join(unknown)}; there are {', '.join(EXCLUDABLE)}"
        )
    unknown_kinds = [kind for kind in config.search_filter.source_kinds if kind not in SOURCE_KINDS]
    if unknown_kinds:
        raise BadRequestError(
            f"no source kind {', '.join(unknown_kinds)}; there are {', '.join(SOURCE_KINDS)}"
        )
    if config.ranker not in pipeline.RANKER_NAMES:
        raise BadRequestError(
            f"no ranker {config.ranker!r}; there are {', '.join(pipeline.RANKER_NAMES)}"
        )
    if config.ranker == pipeline.RERANK and components.reranker is None:
        raise BadRequestError(
            f"bundle {components.encoder.contract.name} has no reranker; `pinpoint train reranker` "
            "makes one, or name a bundle that has one"
        )
    if config.verify_candidates > 0 and components.verifier is None:
        raise BadRequestError("verification needs the stored files of the gallery images")
    if not (config.unfiltered or config.exclude):
        raise BadRequestError(
            "nothing to evaluate: both the arm `unfiltered` and all exclusions are disabled"
        )
    if not config.images.is_dir():
        raise BadRequestError(f"{config.images} is not a folder of images")
    if not 0 < config.near_duplicate_cosine <= 1:
        raise BadRequestError(
            f"the near-duplicate cosine must be in (0, 1], not {config.near_duplicate_cosine}"
        )


def describe_gallery(config: RunConfig, components: EvaluationComponents) -> dict[str, Any]:
    """Identity of the gallery; an index of another bundle is rejected before the first query."""
    contract = components.encoder.contract
    info = consistency.require_same_model(components.index, contract)
    return {
        "organization": str(config.organization_id),
        "bundle": contract.name,
        "bundle_digest": contract.digest,
        "bundle_note": contract.note,
        "index_engine": info.engine,
        "index_build": info.build,
        "images": components.index.count(IndexFilter(organization_id=config.organization_id)),
    }


def describe_settings(config: RunConfig, components: EvaluationComponents) -> dict[str, Any]:
    """Ranker, filter, exclusions and search settings of a run."""
    reranker = components.reranker if config.ranker == pipeline.RERANK else None
    return {
        "ranker": config.ranker,
        **({} if reranker is None else {"reranker": reranker.digest}),
        "source_kinds": list(config.search_filter.source_kinds),
        "sources": [str(source_id) for source_id in config.search_filter.source_ids],
        "exclude": sorted(config.exclude),
        **({} if config.unfiltered else {"unfiltered": False}),
        "near_duplicate_cosine": (
            config.near_duplicate_cosine if "near-duplicate" in config.exclude else None
        ),
        "search": components.search.model_dump(exclude={"verify_candidates"}),
        **({"verify": config.verify_candidates} if config.verify_candidates else {}),
    }


def _evaluate_query(
    number: int,
    *,
    queries: Sequence[LabeledQuery],
    config: RunConfig,
    components: EvaluationComponents,
) -> tuple[QueryRow, Vector | None]:
    """Evaluate one query in every arm; returns a row with a problem if its photo is unreadable."""
    query, started = queries[number], perf_counter()
    watch = Stopwatch()
    file_sha256: str | None = None
    try:
        with watch.stage("read"):
            data = read_bytes(config.images / query.file, components.max_bytes)
            file_sha256 = sha256(data)
        photo = QueryPhoto(data=data, file=query.file, kind=query.query_kind)
        encoded = encode_photos([photo], components.decoder, components.encoder, watch)
    except (RejectedFileError, BadPhotoError, TooLargeError) as error:
        detail = error.detail if isinstance(error, RejectedFileError) else error.message
        row = build_query_row(number, query, file_sha256, problem=(error.reason, detail))
        return row, None
    shared_ms = watch.timings_ms()
    locate = partial(_locate_in_arm, encoded, query, config=config, components=components)
    arms = {UNFILTERED: locate(None)} if config.unfiltered else {}
    if config.exclude:
        arms[EXCLUDED] = locate(exclusions_for(query, file_sha256, config))
    shared_ms["total"] = round((perf_counter() - started) * 1e3, 3)
    return build_query_row(number, query, file_sha256, timings=shared_ms, arms=arms), encoded.vector


def _locate_in_arm(
    encoded: EncodedPhotos,
    query: LabeledQuery,
    exclusions: Exclusions | None,
    *,
    config: RunConfig,
    components: EvaluationComponents,
) -> ArmRow:
    """Run the search flow for an encoded query."""
    context = build_context(config, components)
    excluded = 0
    if exclusions is not None:
        # Resolved here instead of in the flow, to count them; the flow then has nothing to resolve.
        exclusions = resolve_query_exclusions(exclusions, context)
        excluded = len(exclusions.ids)
    answer = pipeline.locate_encoded(
        encoded.vector,
        config.search_filter,
        context,
        raw_vector=encoded.raw_vector,
        kind=query.query_kind,
        exclusions=exclusions,
        ranker=config.ranker,
        pixels=encoded.pixels,
    )
    return build_arm_row(answer, excluded, query.ground_truth)
