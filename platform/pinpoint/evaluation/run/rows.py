"""Append-only rows of a run, with recovery after an interruption.

A row is one query with its answer in every arm. `rows.jsonl` contains one JSON object per line;
`vectors.f16` contains the query vectors, little-endian fp16, at the indices given in the rows. A
vector is written before its row, so a crash truncates only the end of both files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from pinpoint.errors import BadRequestError, describe_cause
from pinpoint.evaluation.labels.labels import LabeledQuery
from pinpoint.geo.hdr import contains_positions
from pinpoint.geo.points import lat_lon
from pinpoint.records import Answer, Candidate, Point, QueryFeatures, Vector

ROWS_FILE: Final = "rows.jsonl"
VECTORS_FILE: Final = "vectors.f16"
UNFILTERED: Final = "unfiltered"
"""The full gallery, as users are served."""
EXCLUDED: Final = "excluded"
"""The gallery without images that leak the answer: same bytes, creator, sequence, near-copy."""
_BYTES_PER_VALUE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRow:
    """Answer of one arm to one query; lists are `[K]`, candidates best score first."""

    lat: float | None
    lon: float | None
    radii_m: Mapping[str, float]
    """Radius of the credible disc by its stated probability: `{"0.5": …, "0.9": …}`."""
    calibrated: bool
    ranker: str
    index_build: str | None
    bundle: str
    """Digest."""
    excluded: int
    """Number of gallery rows excluded by id before the search, without near-duplicates."""
    top1_id: str | None
    candidate_lat: list[float]
    candidate_lon: list[float]
    candidate_score: list[float]
    candidate_weight: list[float]
    candidate_source_kind: list[str]
    candidate_channels: list[str]
    """Channels that retrieved the candidate: `image`, `gps` or `image+gps`."""
    candidate_inliers: list[int | None]
    """Inliers of the candidate with the query; None if they were not compared."""
    candidate_spread: list[float | None]
    """Spread of these inliers."""
    timings_ms: Mapping[str, float]
    features: QueryFeatures | None
    """Features of the decision, on which a calibration is fitted."""
    abstention_reason: str | None
    calibration_group: str | None
    """Group of the calibration; without a calibration this and the following fields are empty."""
    probability_within_km: Mapping[str, float]
    """Stated probability by distance from the answer in km."""
    p_outside_candidates: float | None
    p_not_in_gallery: float | None
    credible_region_km2: Mapping[str, float]
    """Area of the credible regions, by their probability."""
    credible_region_covers: Mapping[str, float]
    """1 if that region contains the ground truth, else 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryRow:
    """One query with its answers, or with the problem of its photo."""

    number: int
    """Index of the query, from 0."""
    file: str
    lat: float
    lon: float
    """Ground truth (`lat`, `lon`), degrees."""
    creator: str | None
    sequence: str | None
    query_kind: str | None
    areas: Mapping[str, str | None]
    strata: Mapping[str, str]
    sha256: str | None
    problem: str | None
    """Reason for a missing answer: `missing_file`, or a reason of the decoder."""
    detail: str | None
    vector: int | None
    """Index of the query vector in `vectors.f16`."""
    timings_ms: Mapping[str, float]
    """Time of reading, decoding and encoding, shared by all arms; `total` is the whole row."""
    arms: Mapping[str, ArmRow]
    """Empty if there is a problem."""


def build_arm_row(answer: Answer, excluded: int, ground_truth: Point) -> ArmRow:
    """Convert an answer for storage; `excluded` is the number of rows excluded by id."""
    calibrated, posterior = answer.calibrated_result, answer.calibrated_result.posterior
    regions = () if posterior is None else posterior.credible_regions
    ground_truth_position = lat_lon([ground_truth])
    ranked = sorted(answer.ranked, key=lambda entry: entry.candidate.rank)
    compared = [answer.matches.get(entry.candidate.id) for entry in ranked]
    matches = [None if entry is None else entry.match for entry in compared]
    return ArmRow(
        lat=None if answer.point is None else answer.point.lat,
        lon=None if answer.point is None else answer.point.lon,
        radii_m={f"{region.probability:g}": region.radius_m for region in answer.credible_discs},
        calibrated=answer.calibrated,
        ranker=answer.ranker,
        index_build=answer.index_build,
        bundle=answer.bundle_digest,
        excluded=excluded,
        top1_id=str(ranked[0].candidate.id) if ranked else None,
        candidate_lat=[entry.candidate.point.lat for entry in ranked],
        candidate_lon=[entry.candidate.point.lon for entry in ranked],
        candidate_score=[entry.candidate.score for entry in ranked],
        candidate_weight=[entry.weight for entry in ranked],
        candidate_source_kind=[entry.candidate.source_kind for entry in ranked],
        candidate_channels=[_format_channels(entry.candidate) for entry in ranked],
        candidate_inliers=[None if match is None else match.inliers for match in matches],
        candidate_spread=[None if match is None else match.spread for match in matches],
        timings_ms=answer.timings_ms,
        features=calibrated.features,
        abstention_reason=calibrated.abstention_reason,
        calibration_group=None if posterior is None else posterior.stratum,
        probability_within_km={}
        if posterior is None
        else {f"{km:g}": p for km, p in posterior.probability_within_km.items()},
        p_outside_candidates=None if posterior is None else posterior.p_outside_candidates,
        p_not_in_gallery=None if posterior is None else posterior.p_not_in_gallery,
        credible_region_km2={f"{region.probability:g}": region.area_km2 for region in regions},
        credible_region_covers={
            f"{region.probability:g}": float(
                contains_positions(np.array(region.boxes), ground_truth_position)[0]
            )
            for region in regions
        },
    )


def build_query_row(
    number: int,
    query: LabeledQuery,
    file_sha256: str | None,
    *,
    problem: tuple[str, str] = ("", ""),
    timings: Mapping[str, float] | None = None,
    arms: Mapping[str, ArmRow] | None = None,
) -> QueryRow:
    """Row of a query with its answers, or with the problem of its photo: reason and detail.

    The index of the vector is set when the row is written.
    """
    return QueryRow(
        number=number,
        file=query.file,
        lat=query.ground_truth.lat,
        lon=query.ground_truth.lon,
        creator=query.creator,
        sequence=query.sequence,
        query_kind=query.query_kind,
        areas=query.areas,
        strata=query.strata,
        sha256=file_sha256,
        problem=problem[0] or None,
        detail=problem[1] or None,
        vector=None,
        timings_ms=timings or {},
        arms=arms or {},
    )


def _format_channels(candidate: Candidate) -> str:
    return "+".join(
        name for name, channel_score in candidate.channels.items() if channel_score.rank is not None
    )


class ResultLog:
    """The rows of a run on disk; opening them repairs files truncated by a crash.

    Args:
        folder: Folder of the run.
        width: Dimension D of the query vectors.

    Raises:
        BadRequestError: The files cannot be repaired.
    """

    def __init__(self, folder: Path, width: int) -> None:
        self._width = width
        finished, vectors, end = _scan_rows(folder / ROWS_FILE)
        self._finished = finished
        self._vectors = vectors
        vector_bytes = vectors * width * _BYTES_PER_VALUE
        if vectors and (folder / VECTORS_FILE).stat().st_size < vector_bytes:
            raise BadRequestError(
                f"{folder / VECTORS_FILE} lacks vectors; start again in another folder"
            )
        self._rows_file = _open_for_append(folder / ROWS_FILE, end)
        self._vectors_file = _open_for_append(folder / VECTORS_FILE, vector_bytes)

    @property
    def finished(self) -> frozenset[int]:
        """Indices of the queries that have a row."""
        return frozenset(self._finished)

    @property
    def count(self) -> int:
        """Number of queries that have a row."""
        return len(self._finished)

    def next_vector(self) -> int:
        """Index of the next vector."""
        return self._vectors

    def append(self, row: QueryRow, vector: Vector | None) -> None:
        """Append one row; `vector` is None exactly if `row.vector` is None."""
        if vector is not None:
            self._vectors_file.write(np.asarray(vector, dtype="<f2").tobytes())
            self._vectors_file.flush()
            self._vectors += 1
        line = json.dumps(asdict(row), ensure_ascii=False, allow_nan=False) + "\n"
        self._rows_file.write(line.encode())
        self._rows_file.flush()
        self._finished.add(row.number)

    def close(self) -> None:
        """Sync the files to disk and close them."""
        for file in (self._vectors_file, self._rows_file):
            os.fsync(file.fileno())
            file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Read the stored rows, in the order of completion."""
    with (folder / ROWS_FILE).open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def read_vectors(folder: Path, width: int) -> NDArray[np.float16]:
    """Read the query vectors, `[M, D]`; rows refer to them by index."""
    return np.fromfile(folder / VECTORS_FILE, dtype="<f2").reshape(-1, width)


def read_decision_features(stored: Mapping[str, Any]) -> QueryFeatures:
    """Restore the features of a decision from a stored row."""
    positions = tuple((float(lat), float(lon)) for lat, lon in stored["positions"])
    return QueryFeatures(**{**stored, "positions": positions, "logits": tuple(stored["logits"])})


def _scan_rows(path: Path) -> tuple[set[int], int, int]:
    """Indices of the rows, number of their vectors, and end offset of the last complete line.

    Raises:
        BadRequestError: A line before the last one is not a row.
    """
    finished: set[int] = set()
    vectors, end = 0, 0
    if not path.exists():
        return finished, vectors, end
    with path.open("rb") as file:
        for line_number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break  # truncated while it was written: the query is evaluated again
            try:
                row = json.loads(line)
                finished.add(int(row["number"]))
            except (ValueError, KeyError, TypeError) as error:
                raise BadRequestError(
                    f"{path}, line {line_number} is not a row: {describe_cause(error)}"
                ) from error
            vectors += row["vector"] is not None
            end += len(line)
    return finished, vectors, end


def _open_for_append(path: Path, end: int) -> Any:
    """Open a file for appending, truncated to its valid length."""
    file = path.open("r+b" if path.exists() else "w+b")
    file.truncate(end)
    file.seek(end)
    return file
