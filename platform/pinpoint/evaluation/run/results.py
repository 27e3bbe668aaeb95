"""Results of a run: writes `results.parquet`, one row per query and arm, and reads it as columns.

Letters: N queries, K = maximum number of candidates, best score first, NaN padded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pinpoint.arrays import Flags, Floats
from pinpoint.atomic_files import open_atomic
from pinpoint.errors import BadRequestError, describe_cause
from pinpoint.evaluation.metrics.placeholders import placeholder_groups
from pinpoint.evaluation.run.rows import EXCLUDED, UNFILTERED, read_rows, read_vectors
from pinpoint.iteration import batched
from pinpoint.metrics.conventions import distances_km

RESULTS_FILE: Final = "results.parquet"
MISSING_FILE: Final = "missing_file"
"""Problem of a missing image; every other problem is an unreadable image."""
_BLOCK_ROWS: Final = 1_000
"""Queries in memory while the file is written."""


_TEXT_MAP: Final = pa.map_(pa.string(), pa.string())
_NUMBER_MAP: Final = pa.map_(pa.string(), pa.float64())
_QUERY_COLUMNS: Final[Mapping[str, pa.DataType]] = {
    "number": pa.int32(),
    "file": pa.string(),
    "lat": pa.float64(),
    "lon": pa.float64(),
    "creator": pa.string(),
    "sequence": pa.string(),
    "query_kind": pa.string(),
    "areas": _TEXT_MAP,
    "strata": _TEXT_MAP,
    "sha256": pa.string(),
    "problem": pa.string(),
    "detail": pa.string(),
    "placeholder": pa.int32(),
}
_ANSWER_COLUMNS: Final[Mapping[str, pa.DataType]] = {
    "radii_m": _NUMBER_MAP,
    "calibrated": pa.bool_(),
    "ranker": pa.string(),
    "index_build": pa.string(),
    "bundle": pa.string(),
    "excluded": pa.int32(),
    "top1_id": pa.string(),
    "candidate_lat": pa.list_(pa.float64()),
    "candidate_lon": pa.list_(pa.float64()),
    "candidate_score": pa.list_(pa.float64()),
    "candidate_weight": pa.list_(pa.float64()),
    "candidate_source_kind": pa.list_(pa.string()),
    "candidate_channels": pa.list_(pa.string()),
    "candidate_inliers": pa.list_(pa.int32()),
    "candidate_spread": pa.list_(pa.float64()),
    "timings_ms": _NUMBER_MAP,
    "abstention_reason": pa.string(),
    "calibration_group": pa.string(),
    "probability_within_km": _NUMBER_MAP,
    "p_outside_candidates": pa.float64(),
    "p_not_in_gallery": pa.float64(),
    "credible_region_km2": _NUMBER_MAP,
    "credible_region_covers": _NUMBER_MAP,
}
_SCHEMA: Final = pa.schema(
    [
        *_QUERY_COLUMNS.items(),
        ("photo_ms", _NUMBER_MAP),
        ("arm", pa.string()),
        ("answer_lat", pa.float64()),
        ("answer_lon", pa.float64()),
        ("error_geodesic_km", pa.float64()),
        *_ANSWER_COLUMNS.items(),
    ]
)
"""`placeholder` is the number of the placeholder group; `photo_ms` is shared by all arms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm's answers as columns, `[N]` in the order of the labels."""

    name: str
    files: Sequence[str]
    ground_truth: Floats
    """`[N, 2]`."""
    answers: Floats
    """`[N, 2]`, NaN without an answer."""
    problems: Sequence[str | None]
    creators: Sequence[str | None]
    areas: Sequence[Mapping[str, str | None]]
    strata: Sequence[Mapping[str, str]]
    """Includes `kind`."""
    placeholder: Flags
    calibrated: Flags
    excluded: Floats
    """Number of gallery rows excluded by id before the search; NaN without an answer."""
    radii_m: Mapping[str, Floats]
    """Radius of the credible disc by its stated probability."""
    candidates: Floats
    """`[N, K, 2]`."""
    weights: Floats
    """`[N, K]`."""
    scores: Floats
    """`[N, K]`."""
    abstention_reasons: Sequence[str | None]
    calibration_groups: Sequence[str | None]
    """Stratum of the calibration; None if the answer is uncalibrated."""
    probability_within_km: Mapping[str, Floats]
    """Stated probability by distance from the answer in km."""
    p_not_in_gallery: Floats
    """Stated probability that the gallery does not cover the position; if missing, that
    of a position near no candidate."""
    credible_region_km2: Mapping[str, Floats]
    """Area of the credible regions, by their probability."""
    credible_region_covers: Mapping[str, Floats]
    """1 if that region contains the ground truth, else 0; NaN without a region."""
    photo_ms: Floats
    """Time of reading, decoding and encoding, shared by all arms; NaN without an answer."""
    flow_ms: Floats
    """Time of the rest of the search flow in this arm."""
    row_ms: Floats
    """Time of the whole row, all arms together."""

    @property
    def readable(self) -> Flags:
        """Mask of the queries with a readable photo."""
        return np.array([problem is None for problem in self.problems], dtype=np.bool_)


def write_results(folder: Path, run: Mapping[str, Any], width: int) -> Path:
    """Write `results.parquet` from the rows of a run, and mark placeholders.

    Args:
        folder: Folder of the run.
        run: Manifest of the run; stored in the metadata of the file.
        width: Dimension D of the query vectors.
    """
    groups = _find_placeholders(folder, width)
    settings = run["settings"]
    arm_requested = {
        UNFILTERED: settings.get("unfiltered", True),
        EXCLUDED: bool(settings["exclude"]),
    }
    arms = [name for name, requested in arm_requested.items() if requested]
    schema = _SCHEMA.with_metadata({"pinpoint.run": json.dumps(run)})
    # Not durable: made again from the rows of the run.
    with (
        open_atomic(folder / RESULTS_FILE, durable=False) as file,
        pq.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        for block in batched(read_rows(folder), _BLOCK_ROWS):
            records = [
                record
                for row in block
                for record in _flatten_row(row, arms, groups.get(row["number"]))
            ]
            _add_errors(records)
            writer.write_table(pa.Table.from_pylist(records, schema=schema))
    return folder / RESULTS_FILE


def read_results(folder: Path) -> dict[str, Arm]:
    """Read the columns of a run, by arm.

    Raises:
        BadRequestError: The folder contains no results.
    """
    try:
        table = pq.read_table(folder / RESULTS_FILE)
    except (OSError, pa.ArrowInvalid) as error:
        raise BadRequestError(
            f"{folder} contains no results of `pinpoint evaluate`: {describe_cause(error)}"
        ) from error
    names = table.column("arm").unique().to_pylist()
    table = table.sort_by("number")
    return {
        name: _read_arm(name, table.filter(pa.compute.equal(table["arm"], name))) for name in names
    }


def _find_placeholders(folder: Path, width: int) -> dict[int, int]:
    """Query number → placeholder group, for placeholder photos; groups are numbered from 1."""
    with_vector = [
        (row["vector"], row["number"], row["lat"], row["lon"])
        for row in read_rows(folder)
        if row["vector"] is not None
    ]
    if not with_vector:
        return {}
    slots, numbers, lat, lon = zip(*with_vector, strict=True)
    vectors = read_vectors(folder, width)[list(slots)]
    groups = placeholder_groups(vectors, np.column_stack([lat, lon]))
    return {
        numbers[member]: number
        for number, members in enumerate(groups, start=1)
        for member in members.tolist()
    }


def _flatten_row(row: Mapping[str, Any], arms: Sequence[str], group: int | None) -> Iterator[Any]:
    """One record per arm from the row of a query."""
    shared = {name: row[name] for name in _QUERY_COLUMNS if name != "placeholder"}
    for name in arms:
        answer = row["arms"].get(name, {})
        yield {
            **shared,
            "placeholder": group,
            "photo_ms": row["timings_ms"],
            "arm": name,
            "answer_lat": answer.get("lat"),
            "answer_lon": answer.get("lon"),
            **{column: answer.get(column) for column in _ANSWER_COLUMNS},
        }


def _add_errors(records: list[dict[str, Any]]) -> None:
    """Add the geodesic error on the ellipsoid to every answered record."""
    answered = [record for record in records if record["answer_lat"] is not None]
    errors_km = distances_km(
        np.array([(record["lat"], record["lon"]) for record in answered]).reshape(-1, 2),
        np.array([(record["answer_lat"], record["answer_lon"]) for record in answered]).reshape(
            -1, 2
        ),
        "geodesic-wgs84",
    )
    for record, error_km in zip(answered, errors_km.tolist(), strict=True):
        record["error_geodesic_km"] = error_km


def _read_arm(name: str, table: pa.Table) -> Arm:
    kinds = table["query_kind"].to_pylist()
    timings = [dict(value or ()) for value in table["timings_ms"].to_pylist()]
    photo = [dict(value or ()) for value in table["photo_ms"].to_pylist()]
    return Arm(
        name=name,
        files=table["file"].to_pylist(),
        ground_truth=_to_position_array(table, "lat", "lon"),
        answers=_to_position_array(table, "answer_lat", "answer_lon"),
        problems=table["problem"].to_pylist(),
        creators=table["creator"].to_pylist(),
        areas=[dict(value) for value in table["areas"].to_pylist()],
        strata=[
            dict(row_strata) | ({"kind": kind} if kind is not None else {})
            for row_strata, kind in zip(table["strata"].to_pylist(), kinds, strict=True)
        ],
        placeholder=np.array([value is not None for value in table["placeholder"].to_pylist()]),
        calibrated=np.array([bool(value) for value in table["calibrated"].to_pylist()]),
        excluded=_to_float_array(table["excluded"].to_pylist()),
        radii_m=_columns_by_key(table["radii_m"]),
        candidates=np.stack(
            [_pad_lists(table["candidate_lat"]), _pad_lists(table["candidate_lon"])], axis=-1
        ),
        weights=_pad_lists(table["candidate_weight"]),
        scores=_pad_lists(table["candidate_score"]),
        abstention_reasons=table["abstention_reason"].to_pylist(),
        calibration_groups=table["calibration_group"].to_pylist(),
        probability_within_km=_columns_by_key(table["probability_within_km"]),
        p_not_in_gallery=_coalesce_columns(
            table["p_not_in_gallery"].to_pylist(), table["p_outside_candidates"].to_pylist()
        ),
        credible_region_km2=_columns_by_key(table["credible_region_km2"]),
        credible_region_covers=_columns_by_key(table["credible_region_covers"]),
        photo_ms=_to_float_array([_sum_stages(value) for value in photo]),
        flow_ms=_to_float_array([value.get("total") for value in timings]),
        row_ms=_to_float_array([value.get("total") for value in photo]),
    )


def _columns_by_key(column: pa.ChunkedArray) -> dict[str, Floats]:
    """Convert maps of numbers to one column per key, in ascending order; NaN for missing keys."""
    rows = [dict(entries or ()) for entries in column.to_pylist()]
    keys = sorted({key for row in rows for key in row}, key=float)
    return {key: _to_float_array([row.get(key) for row in rows]) for key in keys}


def _coalesce_columns(column: Sequence[float | None], fallback: Sequence[float | None]) -> Floats:
    """First non-null value of two columns, per row."""
    pairs = zip(column, fallback, strict=True)
    return _to_float_array([second if first is None else first for first, second in pairs])


def _sum_stages(timings: Mapping[str, float]) -> float | None:
    """Sum of all stages except `total`."""
    return sum(ms for stage, ms in timings.items() if stage != "total") if timings else None


def _to_float_array(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _to_position_array(table: pa.Table, lat: str, lon: str) -> Floats:
    return np.column_stack(
        [_to_float_array(table[lat].to_pylist()), _to_float_array(table[lon].to_pylist())]
    )


def _pad_lists(column: pa.ChunkedArray) -> Floats:
    """Convert lists of numbers to `[N, K]`, NaN padded; K is at least 1."""
    lists = column.combine_chunks()
    lengths = np.nan_to_num(_to_float_array(lists.value_lengths().to_pylist())).astype(np.intp)
    width = max(1, int(lengths.max(initial=0)))
    filled = np.full((len(lengths), width), np.nan)
    filled[np.arange(width) < lengths[:, None]] = lists.flatten().to_numpy(zero_copy_only=False)
    return filled
