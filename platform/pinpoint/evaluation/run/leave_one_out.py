"""Leave-one-out run: gallery images are the queries, and what belongs to them is left out.

sample ─fetch→ vector ─locate, exclusions→ answer ─append→ row

Vectors come from the index, so no photo is read. Two arms of queries share one sample:

covered    the image's own row, panorama, capture, sequence, creator and near-duplicates are left
           out; the gallery still has an image within 25 km.
uncovered  everything within a radius is left out too, so that no answer can be right.

Not every gallery allows every exclusion: without the images of its only creator a gallery is empty.
Each source gets the strictest scope that leaves other images around most of its images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from pinpoint.errors import BadRequestError
from pinpoint.evaluation.labels.labels import LabeledQuery
from pinpoint.evaluation.run import run_manifest
from pinpoint.evaluation.run.concurrency import ordered_map
from pinpoint.evaluation.run.evaluate import (
    EvaluationComponents,
    RunConfig,
    build_context,
    describe_gallery,
    describe_settings,
    vector_width,
)
from pinpoint.evaluation.run.rows import (
    EXCLUDED,
    QueryRow,
    ResultLog,
    build_arm_row,
    build_query_row,
)
from pinpoint.metrics.geolocation import CITY_KM
from pinpoint.progress import ProgressCallback
from pinpoint.records import (
    GPS_CHANNEL,
    SOURCE_KINDS,
    Circle,
    Exclusions,
    GallerySample,
    Pixels,
)
from pinpoint.search import pipeline
from pinpoint.search.candidates_and_evidence import (
    EncodedPhotos,
    count_gallery_images,
    resolve_query_exclusions,
)
from pinpoint.search.context import SearchContext

PROTOCOL: Final = "gallery"
"""Name of the protocol in the manifest of a run."""
EXCLUSION_SCOPES: Final = ("creator", "sequence", "capture")
"""Exclusion scopes, the strictest first; each contains the following ones. `capture` is the
panorama and the images taken within seconds."""
COVERED, UNCOVERED = "calibration", "null-train"
"""Roles of the queries, as those of a synthetic planet."""
CAPTURE_S: Final = 30.0
"""Images of one creator and sequence this close in time show the same scene."""
_MIN_SHARE: Final = 0.5
"""A scope is used if it leaves other images in the cells of this share of the images; an uncovered
query is used if this share of the gallery remains."""
TOO_FEW_IMAGES: Final = "too_few_images_remain"
NOT_INDEXED: Final = "not_indexed"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveOneOutConfig:
    """Settings of a leave-one-out run."""

    max_queries: int = 2_000
    """Maximum number of covered queries, divided among the source kinds."""
    max_uncovered: int = 1_000
    """Maximum number of uncovered queries."""
    uncovered_radius_km: float = 50.0
    """Radius of the circle that is left out around an uncovered query."""
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaveOneOutQuery:
    """A gallery image as a query."""

    sample: GallerySample
    scope: str
    is_uncovered: bool


def run_leave_one_out(
    folder: Path,
    *,
    options: LeaveOneOutConfig,
    config: RunConfig,
    components: EvaluationComponents,
    concurrency: int = 1,
    on_progress: ProgressCallback = lambda completed, total: None,
) -> dict[str, Any]:
    """Ask every sampled query that has no row yet, and append its row in `folder`.

    Args:
        folder: Folder of the run; created, or resumed if it contains the same run.
        options: Size of the sample, radius and seed.
        config: Organization, search filter, ranker and near-duplicate cosine.
        components: Components of the search flow.
        concurrency: Number of concurrent queries. Rows do not depend on it.
        on_progress: Called with the number of completed queries and the total.

    Returns:
        The manifest of the run.

    Raises:
        ConflictError: The folder contains another run.
        BadRequestError: The radius is below 25 km, or the gallery has no images.
        UnavailableError: A service of the stack does not respond.
    """
    if options.uncovered_radius_km < CITY_KM:
        raise BadRequestError(
            f"the radius of uncovered queries must be at least {CITY_KM:g} km, the distance that "
            f"defines coverage, not {options.uncovered_radius_km:g} km"
        )
    queries = _draw_queries(options, config, components)
    run = _build_manifest(queries, options, config, components)
    run_manifest.write_or_check(folder, run)
    num_images = run["gallery"]["images"]
    ask = partial(
        _ask_query,
        queries=queries,
        radius_m=1e3 * options.uncovered_radius_km,
        num_images=num_images,
        config=config,
        components=components,
    )
    with ResultLog(folder, vector_width(components)) as log:
        pending = [number for number in range(len(queries)) if number not in log.finished]
        on_progress(log.count, len(queries))
        for row in ordered_map(ask, pending, concurrency):
            log.append(row, None)
            on_progress(log.count, len(queries))
    return run


def choose_scopes(samples: Sequence[GallerySample]) -> dict[str, str]:
    """The strictest scope of each source that leaves other images around most of its images.

    Args:
        samples: Sample of the gallery.

    Returns:
        Name of the source → one of `EXCLUSION_SCOPES`.
    """
    scopes = {}
    for source in sorted({sample.source for sample in samples}):
        rows = [sample for sample in samples if sample.source == source]
        by_creator = sum(
            sample.creator is not None and sample.images_in_cell > sample.creator_images_in_cell
            for sample in rows
        )
        by_sequence = sum(
            sample.sequence is not None and sample.images_in_cell > sample.sequence_images_in_cell
            for sample in rows
        )
        if by_creator >= _MIN_SHARE * len(rows):
            scopes[source] = "creator"
        elif by_sequence >= _MIN_SHARE * len(rows):
            scopes[source] = "sequence"
        else:
            scopes[source] = "capture"
    return scopes


def _draw_queries(
    options: LeaveOneOutConfig, config: RunConfig, components: EvaluationComponents
) -> list[LeaveOneOutQuery]:
    """Covered queries, then uncovered ones: the first images of the same sample."""
    kinds = config.search_filter.source_kinds or SOURCE_KINDS
    with components.database.read(config.organization_id) as reader:
        samples = reader.sample_images(
            per_kind=max(1, options.max_queries // len(kinds)),
            seed=options.seed,
            source_kinds=kinds,
            source_ids=config.search_filter.source_ids,
        )
    if not samples:
        raise BadRequestError("the gallery has no indexed images that could be queries")
    scopes = choose_scopes(samples)
    covered = [
        LeaveOneOutQuery(sample=sample, scope=scopes[sample.source], is_uncovered=False)
        for sample in samples
    ]
    uncovered = [
        replace(query, is_uncovered=True)
        for kind in kinds
        for query in [q for q in covered if q.sample.source_kind == kind][
            : options.max_uncovered // len(kinds)
        ]
    ]
    return covered + uncovered


def _build_manifest(
    queries: Sequence[LeaveOneOutQuery],
    options: LeaveOneOutConfig,
    config: RunConfig,
    components: EvaluationComponents,
) -> dict[str, Any]:
    """Manifest with the fields of a labeled run, and what was left out."""
    labeled = [_to_labeled(query) for query in queries]
    scopes = {query.sample.source: query.scope for query in queries}
    return run_manifest.build_gallery_manifest(
        PROTOCOL,
        labeled,
        gallery=describe_gallery(config, components),
        settings={
            **describe_settings(config, components),
            "uncovered_radius_km": options.uncovered_radius_km,
            "capture_s": CAPTURE_S,
            "seed": options.seed,
            "scopes": scopes,
        },
    )


def _to_labeled(query: LeaveOneOutQuery) -> LabeledQuery:
    sample = query.sample
    return LabeledQuery(
        file=str(sample.image_id),
        ground_truth=sample.point,
        creator=_independent_unit(query),
        sequence=sample.sequence,
        query_kind=sample.source_kind,
        areas={},
        strata={
            "role": UNCOVERED if query.is_uncovered else COVERED,
            "source": sample.source,
            "scope": query.scope,
        },
    )


def _independent_unit(query: LeaveOneOutQuery) -> str | None:
    """Name of the group within which queries resemble each other; None if it is the query alone.

    With few creators, the sequences of one creator are the groups.
    """
    sample = query.sample
    if query.scope == "creator":
        return sample.creator or sample.sequence
    return sample.sequence if query.scope == "sequence" else None


def _ask_query(
    number: int,
    *,
    queries: Sequence[LeaveOneOutQuery],
    radius_m: float,
    num_images: int,
    config: RunConfig,
    components: EvaluationComponents,
) -> QueryRow:
    """Row of one query, or the reason why it cannot be asked."""
    query, started = queries[number], perf_counter()
    labeled = _to_labeled(query)
    points = components.index.fetch([query.sample.image_id], vectors=True)
    if not points:
        problem = (NOT_INDEXED, "the image is no longer in the index")
        return build_query_row(number, labeled, query.sample.sha256, problem=problem)
    context = build_context(config, components)
    exclusions = resolve_query_exclusions(
        _find_exclusions(query, radius_m, config, context), context
    )
    if query.is_uncovered:
        remaining = count_gallery_images(config.search_filter, context, exclusions)
        if remaining < _MIN_SHARE * num_images:
            detail = f"{remaining} of {num_images} images are outside the circle"
            problem = (TOO_FEW_IMAGES, detail)
            return build_query_row(number, labeled, query.sample.sha256, problem=problem)
    is_covered = not query.is_uncovered and _is_covered(query, exclusions, config, context)
    answer = pipeline.locate_encoded(
        EncodedPhotos(
            vectors={
                channel: vector
                for channel, vector in points[0].vectors.items()
                if channel != GPS_CHANNEL
            },
            pixels=tuple(_read_pixels(query, config, components)),
        ),
        config.search_filter,
        context,
        kind=query.sample.source_kind,
        exclusions=exclusions,
        ranker=config.ranker,
    )
    arm = build_arm_row(answer, len(exclusions.ids), query.sample.point)
    strata = {**labeled.strata, "covered": "true" if is_covered else "false"}
    return build_query_row(
        number,
        replace(labeled, strata=strata),
        query.sample.sha256,
        timings={"total": round((perf_counter() - started) * 1e3, 3)},
        arms={EXCLUDED: arm},
    )


def _read_pixels(
    query: LeaveOneOutQuery, config: RunConfig, components: EvaluationComponents
) -> tuple[Pixels, ...]:
    """Pixels of the query image for verification; none if it is disabled or the file is gone."""
    if config.verify_candidates == 0 or components.verifier is None:
        return ()
    with components.database.read(config.organization_id) as reader:
        image = reader.images([query.sample.image_id]).get(query.sample.image_id)
    if image is None or image.uri is None:
        return ()
    pixels = components.verifier.pixels.read(image.uri, [image])
    return tuple(pixels.values())


def _find_exclusions(
    query: LeaveOneOutQuery, radius_m: float, config: RunConfig, context: SearchContext
) -> Exclusions:
    """What is left out for a query."""
    sample = query.sample
    with context.database.read(config.organization_id) as reader:
        ids = reader.same_capture_ids(sample.image_id, CAPTURE_S)
    by_creator = query.scope == "creator" and sample.creator is not None
    by_sequence = query.scope != "capture" and sample.sequence is not None
    return Exclusions(
        ids=tuple(ids),
        hashes=(sample.sha256,),
        creators=(sample.creator,) if by_creator and sample.creator else (),
        sequences=(sample.sequence,) if by_sequence and sample.sequence else (),
        near_duplicate_cosine=config.near_duplicate_cosine,
        circle=Circle(center=sample.point, radius_m=radius_m) if query.is_uncovered else None,
    )


def _is_covered(
    query: LeaveOneOutQuery, exclusions: Exclusions, config: RunConfig, context: SearchContext
) -> bool:
    """Whether the gallery still has an image within 25 km."""
    area = Circle(center=query.sample.point, radius_m=1e3 * CITY_KM)
    return count_gallery_images(replace(config.search_filter, circle=area), context, exclusions) > 0
