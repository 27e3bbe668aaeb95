"""Rows of a run, appended one by one as they finish and read again where a run was broken off.

A row is one question with its answer in every arm. `rows.jsonl` holds one JSON object a line;
`vectors.f16` holds the queries' vectors, little-endian fp16, at the places that the rows name. A
vector is written before its row, so whatever a crash cuts off is cut off at the end of both.
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

from pinpoint.errors import BadRequest
from pinpoint.evaluation.labels import Question
from pinpoint.geo.areas import holds
from pinpoint.geo.points import lat_lon
from pinpoint.records import Answer, Asked, Candidate, Point, Vector

ROWS: Final = "rows.jsonl"
VECTORS: Final = "vectors.f16"
SERVED: Final = "served"
"""The gallery as it is: what a user is told."""
EXCLUDED: Final = "excluded"
"""The gallery without what knows the photo: its own row, author, sequence, near-duplicates."""
_BYTES_PER_VALUE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRow:
    """What one arm answered to one question; lists are `[K]`, candidates best score first."""

    lat: float | None
    lon: float | None
    radii_m: Mapping[str, float]
    """Radius of the stated region by its share of the mass: `{"0.5": …, "0.9": …}`."""
    calibrated: bool
    ranker: str
    index_build: str | None
    bundle: str
    """Digest."""
    excluded: int
    """Gallery rows that were named beforehand; near-duplicates come on top."""
    top1_id: str | None
    candidate_lat: list[float]
    candidate_lon: list[float]
    candidate_score: list[float]
    candidate_mass: list[float]
    candidate_kind: list[str]
    candidate_channels: list[str]
    """The channels that found it: `image`, `gps` or `image+gps`."""
    timings_ms: Mapping[str, float]
    asked: Asked | None
    """What the decision was made from: what a calibration is fitted on."""
    abstained: str | None
    stratum: str | None
    """The calibration's, where one was used; what follows is empty where none was."""
    within: Mapping[str, float]
    """Stated probability by distance from the answer in km."""
    elsewhere: float | None
    unsupported: float | None
    area_km2: Mapping[str, float]
    """Of the densest areas, by their share."""
    area_holds: Mapping[str, float]
    """1 where that area holds the truth, else 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One question, what went wrong with it, and its answers."""

    number: int
    """Place among the questions, from 0."""
    file: str
    lat: float
    lon: float
    """The truth."""
    creator: str | None
    sequence: str | None
    kind: str | None
    areas: Mapping[str, str | None]
    strata: Mapping[str, str]
    sha256: str | None
    problem: str | None
    """Why there is no answer: `missing_file`, or one of the decoder's reasons."""
    detail: str | None
    vector: int | None
    """Place of the query's vector in `vectors.f16`."""
    timings_ms: Mapping[str, float]
    """Reading, decoding and encoding, which all arms share; `total` is the whole row."""
    arms: Mapping[str, ArmRow]
    """Empty where there is a problem."""


def arm_row(answer: Answer, excluded: int, truth: Point) -> ArmRow:
    """An answer as a row keeps it; `excluded` rows were named beforehand."""
    calibrated, posterior = answer.believed, answer.believed.belief
    areas = () if posterior is None else posterior.areas
    truth_position = lat_lon([truth])
    ranked = sorted(answer.ranked, key=lambda entry: entry.candidate.rank)
    return ArmRow(
        lat=None if answer.point is None else answer.point.lat,
        lon=None if answer.point is None else answer.point.lon,
        radii_m={f"{region.mass:g}": region.radius_m for region in answer.regions},
        calibrated=answer.calibrated,
        ranker=answer.ranker,
        index_build=answer.index_build,
        bundle=answer.bundle_digest,
        excluded=excluded,
        top1_id=str(ranked[0].candidate.id) if ranked else None,
        candidate_lat=[entry.candidate.point.lat for entry in ranked],
        candidate_lon=[entry.candidate.point.lon for entry in ranked],
        candidate_score=[entry.candidate.score for entry in ranked],
        candidate_mass=[entry.mass for entry in ranked],
        candidate_kind=[entry.candidate.kind for entry in ranked],
        candidate_channels=[_format_channels(entry.candidate) for entry in ranked],
        timings_ms=answer.timings_ms,
        asked=calibrated.asked,
        abstained=calibrated.abstained,
        stratum=None if posterior is None else posterior.stratum,
        within={} if posterior is None else {f"{km:g}": p for km, p in posterior.within.items()},
        elsewhere=None if posterior is None else posterior.elsewhere,
        unsupported=None if posterior is None else posterior.unsupported,
        area_km2={f"{area.share:g}": area.area_km2 for area in areas},
        area_holds={
            f"{area.share:g}": float(holds(np.array(area.boxes), truth_position)[0])
            for area in areas
        },
    )


def question_row(
    number: int,
    query: Question,
    file_sha256: str | None,
    *,
    problem: tuple[str, str] = ("", ""),
    timings: Mapping[str, float] | None = None,
    arms: Mapping[str, ArmRow] | None = None,
) -> Row:
    """A question with its answers, or with the problem of its photo: reason and detail.

    Where its vector lies is known when it is written.
    """
    return Row(
        number=number,
        file=query.file,
        lat=query.truth.lat,
        lon=query.truth.lon,
        creator=query.creator,
        sequence=query.sequence,
        kind=query.kind,
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


class RowLog:
    """The rows of a run on disk; opening it mends what a crash left.

    Args:
        folder: Of the run.
        width: D, the width of the queries' vectors.

    Raises:
        BadRequest: The files cannot be mended.
    """

    def __init__(self, folder: Path, width: int) -> None:
        self._width = width
        finished, vectors, end = _scan_rows(folder / ROWS)
        self._finished = finished
        self._vectors = vectors
        vector_bytes = vectors * width * _BYTES_PER_VALUE
        if vectors and (folder / VECTORS).stat().st_size < vector_bytes:
            raise BadRequest(f"{folder / VECTORS} has lost vectors; start in another folder")
        self._rows_file = _open_for_append(folder / ROWS, end)
        self._vectors_file = _open_for_append(folder / VECTORS, vector_bytes)

    @property
    def finished(self) -> frozenset[int]:
        """Numbers of the questions that have their row."""
        return frozenset(self._finished)

    @property
    def count(self) -> int:
        """How many questions have their row."""
        return len(self._finished)

    def next_vector(self) -> int:
        """The place that the next vector will have."""
        return self._vectors

    def append(self, row: Row, vector: Vector | None) -> None:
        """Write one row; `vector` is None exactly where the row names no place for one."""
        if vector is not None:
            self._vectors_file.write(np.asarray(vector, dtype="<f2").tobytes())
            self._vectors_file.flush()
            self._vectors += 1
        line = json.dumps(asdict(row), ensure_ascii=False, allow_nan=False) + "\n"
        self._rows_file.write(line.encode())
        self._rows_file.flush()
        self._finished.add(row.number)

    def close(self) -> None:
        """Make everything durable and close the files."""
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
    """Rows as they were written, in the order in which they finished."""
    with (folder / ROWS).open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def read_vectors(folder: Path, width: int) -> NDArray[np.float16]:
    """The queries' vectors, `[M, D]`, by the places that rows name."""
    return np.fromfile(folder / VECTORS, dtype="<f2").reshape(-1, width)


def asked_of(stored: Mapping[str, Any]) -> Asked:
    """What a decision was made from, as a row keeps it."""
    points = tuple((float(lat), float(lon)) for lat, lon in stored["points"])
    return Asked(**{**stored, "points": points, "logits": tuple(stored["logits"])})


def _scan_rows(path: Path) -> tuple[set[int], int, int]:
    """Numbers of the rows, how many vectors they name, and where the last whole line ends.

    Raises:
        BadRequest: A line that is not the last one is no row.
    """
    finished: set[int] = set()
    vectors, end = 0, 0
    if not path.exists():
        return finished, vectors, end
    with path.open("rb") as file:
        for line_number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break  # cut off while it was written: it is asked again
            try:
                row = json.loads(line)
                finished.add(int(row["number"]))
            except (ValueError, KeyError, TypeError) as error:
                raise BadRequest(f"{path}, line {line_number} is no row: {error}") from error
            vectors += row["vector"] is not None
            end += len(line)
    return finished, vectors, end


def _open_for_append(path: Path, end: int) -> Any:
    """A file to append to, cut to what it holds for certain."""
    file = path.open("r+b" if path.exists() else "w+b")
    file.truncate(end)
    file.seek(end)
    return file
