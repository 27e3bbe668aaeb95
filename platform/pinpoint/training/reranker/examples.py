"""Training examples of a reranker: queries as the real search flow answers them, cached on disk.

    photo ─encoded→ vector ─retrieve→ candidates ─balanced→ candidates, evidence ─written→ row
                      │                             └ other localities lose as much as the true one
                      └ its own row, creator, sequence and near-duplicates are excluded

Rows refer to gallery photos by id; their vectors are fetched once, for all rows, from the index.
Letters: N queries, K candidates, U gallery photos, D width of vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from pinpoint.errors import BadPhotoError, TooLargeError
from pinpoint.evaluation.labels.labels import LabeledQuery
from pinpoint.evaluation.run.concurrency import ordered_map
from pinpoint.evaluation.run.evaluate import (
    EvaluationComponents,
    RunConfig,
    build_context,
    exclusions_for,
)
from pinpoint.geo.cells import cell_ids
from pinpoint.geo.points import EARTH_RADIUS_M, LatLonArray, lat_lon, unit_xyz
from pinpoint.media.checks import RejectedFileError
from pinpoint.media.files import read_bytes, sha256
from pinpoint.nets.reranker.inputs import EmbeddingTable, InputRow, InputShape, row_dtype, write_row
from pinpoint.progress import ProgressCallback
from pinpoint.records import IMAGE_CHANNEL, RAW_CHANNEL, SOURCE_KINDS, Circle, Exclusions
from pinpoint.search import consistency
from pinpoint.search.candidate_slots import CandidateSlots, divide_slots
from pinpoint.search.candidates_and_evidence import (
    count_gallery_images,
    encode_photo_channels,
    find_candidates_and_evidence,
)
from pinpoint.search.context import EvidenceSettings, QueryPhoto
from pinpoint.search.pipeline import RANKERS
from pinpoint.training.core.samples import Samples, texts
from pinpoint.training.embedder.feature_files import FeatureFiles, write_or_check_manifest
from pinpoint.training.reranker.example_photos import photos_of
from pinpoint.training.reranker.leakage_balance import EvidenceByCandidate, balance_exclusions

IN_GALLERY_RADIUS_M: Final = 25_000.0
"""A query is in the gallery if an image is within this distance of its ground truth."""
_FORMAT: Final = 6
_CHUNK: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingQuery:
    """A training query, and the folder of its photo."""

    query: LabeledQuery
    images: Path
    query_set: int = 0
    """Index of the configured set of queries that it belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleGallery:
    """The gallery that is searched, and the search settings."""

    config: RunConfig
    """Organization, search filter and exclusions."""
    components: EvaluationComponents
    """Components; their search settings give the number of candidates."""
    evidence_radius_m: float
    evidence_per_kind: int
    balanced: bool
    """Whether other localities lose as much as the true one (`balance_exclusions`): in training,
    not in measurements."""
    concurrency: int = 1
    """Number of queries run concurrently; it changes no row."""

    @property
    def shape(self) -> InputShape:
        """Shape of a row."""
        return InputShape(
            dim=self.components.encoder.contract.dims["image"],
            candidates=self.components.search.candidates,
            per_kind=self.evidence_per_kind,
        )

    def candidate_slots(self, candidates: int) -> CandidateSlots:
        """Slots for that many candidates, divided among channels as the search divides them."""
        return divide_slots(self.components.search, candidates, self.components.encoder.contract)

    def describe(self) -> dict[str, Any]:
        """The values that identify the gallery and the way it is searched."""
        info, limits = self.components.index.info(), self.config.search_filter
        return {
            "bundle": self.components.encoder.contract.digest,
            "organization": str(self.config.organization_id),
            "kinds": list(limits.source_kinds),
            "sources": [str(source_id) for source_id in limits.source_ids],
            "points": info.points,
            "search": self.components.search.model_dump(),
            "evidence": [self.evidence_radius_m, self.evidence_per_kind],
            "balanced": self.balanced,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """All queries as rows, and the photos that the rows refer to."""

    rows: InputRow
    """`[N]` of `example_type`, memory-mapped; zeros where a photo cannot be read."""
    rejected: Mapping[int, str]
    """Reason by row."""
    photos: EmbeddingTable
    hidden: NDArray[np.bool_]
    """Candidates that are hidden in training, `[N, K]`."""
    slots: CandidateSlots | None = None
    """Number of candidates that the network receives; None gives it all."""

    def hide_near(self, positions: LatLonArray, radius_m: float) -> Examples:
        """The same examples, with every candidate within a radius of one of the positions hidden.

        Args:
            positions: `[P, 2]` degrees.
            radius_m: Up to some hundred km.
        """
        max_chord = 2.0 * np.sin(radius_m / EARTH_RADIUS_M / 2.0)
        chords, _ = cKDTree(unit_xyz(positions)).query(unit_xyz(self.rows["position"]))
        return replace(self, hidden=self.rows["present"] & (chords <= max_chord))


def example_type(shape: InputShape) -> np.dtype[Any]:
    """A row as in serving, plus ground truth; its size is an even number of bytes."""
    fields = [(name, *_field_type(row_dtype(shape)[name])) for name in row_dtype(shape).names or ()]
    fields += [
        ("ground_truth", "f8", 2),
        ("in_gallery", "?", len(SOURCE_KINDS)),
        ("vote_choice", "i2"),
    ]
    odd = np.dtype(fields).itemsize % 2
    return np.dtype([*fields, ("even", "u1", 1)] if odd else fields)


def _field_type(field: np.dtype[Any]) -> tuple[Any, ...]:
    return field.subdtype if field.subdtype else (field, ())


def split_table(training_queries: Sequence[TrainingQuery], resolution: int) -> Samples:
    """The queries as a table, so that they are split as the embedder's samples are."""
    queries = [entry.query for entry in training_queries]
    positions = lat_lon([query.ground_truth for query in queries])
    files = [entry.images / entry.query.file for entry in training_queries]
    return Samples(
        ids=texts([f"{entry.query_set}/{entry.query.file}" for entry in training_queries]),
        files=texts([str(file) for file in files]),
        sizes=np.array([_file_size(file) for file in files], dtype=np.int64),
        lat=positions[:, 0].copy(),
        lon=positions[:, 1].copy(),
        kinds=texts([query.query_kind or "" for query in queries]),
        creators=texts([query.creator or "" for query in queries]),
        sequences=texts([query.sequence or "" for query in queries]),
        cells=cell_ids(positions, [resolution])[:, 0],
        resolution=resolution,
        # Training does not read their bytes: labels have no hashes, and the query is the full
        # photo.
        hashes=texts([""] * len(queries)),
        faces=texts([""] * len(queries)),
        panoramas=texts([""] * len(queries)),
    )


def _file_size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def cache_examples(
    folder: Path,
    training_queries: Sequence[TrainingQuery],
    table: Samples,
    gallery: ExampleGallery,
    on_progress: ProgressCallback = lambda completed, total: None,
) -> Examples:
    """Run every query that has no row yet and store its row; an interrupted run is resumed.

    Args:
        folder: Folder of the cache.
        training_queries: `[N]`.
        table: The same queries, from `split_table`.
        gallery: The gallery that is searched.
        on_progress: Called with the number of completed queries and of all queries.

    Raises:
        ConflictError: The folder holds other examples, or another process writes there.
        BadBundleError: The index holds vectors of another bundle.
        UnavailableError: A component of the stack does not respond.
    """
    consistency.require_same_model(gallery.components.index, gallery.components.encoder.contract)
    kind = example_type(gallery.shape)
    width = kind.itemsize // 2
    identity = {
        "format": _FORMAT,
        "table": table.fingerprint(),
        "count": len(table),
        "width": width,
        **gallery.describe(),
    }
    files = FeatureFiles(
        folder, len(table), width, write_or_check_manifest(folder, identity, _CHUNK)
    )
    with files.writing() as writer:
        completed = sum(len(files.rows(number)) for number in writer.done)
        on_progress(completed, len(table))
        for number in [chunk for chunk in range(files.chunks) if chunk not in writer.done]:
            chunk_rows = files.rows(number)
            rows = np.zeros(len(chunk_rows), dtype=kind)
            rejected: dict[int, str] = {}
            pending = ((rows[index], training_queries[row]) for index, row in enumerate(chunk_rows))
            reasons = ordered_map(
                lambda item: _write_example(*item, gallery), pending, gallery.concurrency
            )
            for row, reason in zip(chunk_rows, reasons, strict=True):
                if reason is not None:
                    rejected[row] = reason
            # The bytes of the rows are stored unchanged in a file of float16 numbers.
            writer.write(number, rows.view(np.float16).reshape(len(chunk_rows), width), rejected)
            completed += len(chunk_rows)
            on_progress(completed, len(table))
    values, rejected_rows = files.read()
    examples: InputRow = np.asarray(values).view(kind).reshape(len(table))
    return Examples(
        rows=examples,
        rejected=rejected_rows,
        photos=photos_of(folder, examples, gallery.shape.dim, gallery.components),
        hidden=np.zeros(examples["present"].shape, dtype=np.bool_),
    )


def _write_example(row: Any, training_query: TrainingQuery, gallery: ExampleGallery) -> str | None:
    """Write the row of one query, or return why its photo cannot be used."""
    query, config, components = training_query.query, gallery.config, gallery.components
    context = build_context(config, components)
    try:
        data = read_bytes(training_query.images / query.file, components.max_bytes)
        photo = QueryPhoto(data=data, file=query.file, kind=query.query_kind)
        vectors = encode_photo_channels(
            photo, components.decoder, components.encoder, context.stopwatch
        )
    except (RejectedFileError, BadPhotoError, TooLargeError) as error:
        return error.reason
    vector = vectors[IMAGE_CHANNEL]
    requested = exclusions_for(query, sha256(data), config)
    with find_candidates_and_evidence(
        vector,
        config.search_filter,
        context,
        evidence_settings=EvidenceSettings(gallery.evidence_radius_m, gallery.evidence_per_kind),
        raw_vector=vectors.get(RAW_CHANNEL),
        exclusions=requested,
    ) as retrieved:
        candidates = retrieved.candidates
        evidence_by_candidate: EvidenceByCandidate = retrieved.evidence
        if gallery.balanced:
            candidates, evidence_by_candidate = balance_exclusions(
                query,
                candidates,
                evidence_by_candidate,
                requested=requested,
                resolved=retrieved.exclusions,
                reader=retrieved.reader,
                fetch_evidence=retrieved.fetch_evidence,
            )
    write_row(row, vector, query.query_kind, candidates, evidence_by_candidate)
    row["ground_truth"] = (query.ground_truth.lat, query.ground_truth.lon)
    row["in_gallery"] = _kinds_in_gallery(query, retrieved.exclusions, gallery)
    best = RANKERS["vote"](vector, candidates, evidence_by_candidate)[:1]
    row["vote_choice"] = candidates.index(best[0].candidate) if best else -1
    return None


def _kinds_in_gallery(
    query: LabeledQuery, exclusions: Exclusions, gallery: ExampleGallery
) -> list[bool]:
    """For each kind, whether an image that is not excluded is near the ground truth."""
    limits, context = (
        gallery.config.search_filter,
        build_context(gallery.config, gallery.components),
    )
    near_ground_truth = replace(
        limits, circle=Circle(center=query.ground_truth, radius_m=IN_GALLERY_RADIUS_M)
    )
    searched = limits.source_kinds or SOURCE_KINDS
    return [
        kind in searched
        and count_gallery_images(
            replace(near_ground_truth, source_kinds=(kind,)), context, exclusions
        )
        > 0
        for kind in SOURCE_KINDS
    ]
