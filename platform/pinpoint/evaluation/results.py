"""Results of a run: `results.parquet`, one row for each question and arm, and the same as columns.

Letters: N questions, K candidates of the question with most, best score first, NaN padded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pinpoint.errors import BadRequest
from pinpoint.evaluation.placeholders import placeholder_groups
from pinpoint.evaluation.rows import EXCLUDED, SERVED, read_rows, read_vectors
from pinpoint.metrics.conventions import distances_km

RESULTS: Final = "results.parquet"
MISSING: Final = "missing_file"
"""The problem of an image that is not there; every other one is an image that cannot be read."""
_BLOCK: Final = 1_000
"""Questions held in memory while the file is written."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_TEXTS: Final = pa.map_(pa.string(), pa.string())
_NUMBERS: Final = pa.map_(pa.string(), pa.float64())
_QUESTION: Final[Mapping[str, pa.DataType]] = {
    "number": pa.int32(),
    "file": pa.string(),
    "lat": pa.float64(),
    "lon": pa.float64(),
    "creator": pa.string(),
    "sequence": pa.string(),
    "kind": pa.string(),
    "areas": _TEXTS,
    "strata": _TEXTS,
    "sha256": pa.string(),
    "problem": pa.string(),
    "detail": pa.string(),
    "placeholder": pa.int32(),
}
_ANSWER: Final[Mapping[str, pa.DataType]] = {
    "radii_m": _NUMBERS,
    "calibrated": pa.bool_(),
    "ranker": pa.string(),
    "index_build": pa.string(),
    "bundle": pa.string(),
    "excluded": pa.int32(),
    "top1_id": pa.string(),
    "candidate_lat": pa.list_(pa.float64()),
    "candidate_lon": pa.list_(pa.float64()),
    "candidate_score": pa.list_(pa.float64()),
    "candidate_mass": pa.list_(pa.float64()),
    "candidate_kind": pa.list_(pa.string()),
    "candidate_channels": pa.list_(pa.string()),
    "timings_ms": _NUMBERS,
    "abstained": pa.string(),
    "stratum": pa.string(),
    "within": _NUMBERS,
    "elsewhere": pa.float64(),
    "unsupported": pa.float64(),
    "area_km2": _NUMBERS,
    "area_holds": _NUMBERS,
}
_SCHEMA: Final = pa.schema(
    [
        *_QUESTION.items(),
        ("photo_ms", _NUMBERS),
        ("arm", pa.string()),
        ("answer_lat", pa.float64()),
        ("answer_lon", pa.float64()),
        ("error_geodesic_km", pa.float64()),
        *_ANSWER.items(),
    ]
)
"""`placeholder` is the group of one picture under many truths; `photo_ms` what arms share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One arm's answers as columns, `[N]` in the order of the labels."""

    name: str
    files: Sequence[str]
    truth: Floats
    """`[N, 2]`."""
    answers: Floats
    """`[N, 2]`, NaN without an answer."""
    problems: Sequence[str | None]
    creators: Sequence[str | None]
    areas: Sequence[Mapping[str, str | None]]
    strata: Sequence[Mapping[str, str]]
    """With `kind` among them."""
    placeholder: Flags
    calibrated: Flags
    excluded: Floats
    """Gallery rows that were named beforehand; NaN without an answer."""
    radii_m: Mapping[str, Floats]
    """Radius of the stated region by its share of the mass."""
    candidates: Floats
    """`[N, K, 2]`."""
    masses: Floats
    """`[N, K]`."""
    scores: Floats
    """`[N, K]`."""
    abstained: Sequence[str | None]
    believed: Sequence[str | None]
    """The stratum of the calibration that was used; None where none was."""
    within: Mapping[str, Floats]
    """Stated probability by distance from the answer in km."""
    unsupported: Floats
    """Stated probability that the gallery holds nothing near; else of `elsewhere`."""
    area_km2: Mapping[str, Floats]
    """Of the stated densest areas, by their share."""
    area_holds: Mapping[str, Floats]
    """1 where that area holds the truth, else 0; NaN without one."""
    photo_ms: Floats
    """Reading, decoding and encoding, which all arms share; NaN without an answer."""
    flow_ms: Floats
    """The rest of the search flow in this arm."""
    row_ms: Floats
    """The whole row, all arms together."""

    @property
    def read(self) -> Flags:
        """Questions whose photo could be read."""
        return np.array([problem is None for problem in self.problems], dtype=np.bool_)


def write_results(folder: Path, run: Mapping[str, Any], width: int) -> Path:
    """Write `results.parquet` from the rows of a run, and flag its placeholders.

    Args:
        folder: Of the run.
        run: What `run.json` says; kept in the file's metadata.
        width: D of the queries' vectors.
    """
    groups = _placeholders(folder, width)
    settings = run["settings"]
    asked = {SERVED: settings.get("served", True), EXCLUDED: bool(settings["exclude"])}
    arms = [name for name, wanted in asked.items() if wanted]
    schema = _SCHEMA.with_metadata({"pinpoint.run": json.dumps(run)})
    part = folder / f"{RESULTS}.part"
    rows = read_rows(folder)
    with pq.ParquetWriter(part, schema, compression="zstd") as writer:
        while block := list(islice(rows, _BLOCK)):
            flat = [one for row in block for one in _flat(row, arms, groups.get(row["number"]))]
            _measure(flat)
            writer.write_table(pa.Table.from_pylist(flat, schema=schema))
    os.replace(part, folder / RESULTS)
    return folder / RESULTS


def read_results(folder: Path) -> dict[str, Arm]:
    """The columns of a run by arm.

    Raises:
        BadRequest: There are no results in the folder.
    """
    try:
        table = pq.read_table(folder / RESULTS)
    except (OSError, pa.ArrowInvalid) as error:
        raise BadRequest(f"{folder} holds no results of `pinpoint evaluate`: {error}") from error
    names = table.column("arm").unique().to_pylist()
    table = table.sort_by("number")
    return {name: _arm(name, table.filter(pa.compute.equal(table["arm"], name))) for name in names}


def _placeholders(folder: Path, width: int) -> dict[int, int]:
    """Group by question number, of those that show a placeholder; groups count from 1."""
    known = [
        (row["vector"], row["number"], row["lat"], row["lon"])
        for row in read_rows(folder)
        if row["vector"] is not None
    ]
    if not known:
        return {}
    slots, numbers, lat, lon = zip(*known, strict=True)
    vectors = read_vectors(folder, width)[list(slots)]
    groups = placeholder_groups(vectors, np.column_stack([lat, lon]))
    return {numbers[i]: number for number, own in enumerate(groups, start=1) for i in own.tolist()}


def _flat(row: Mapping[str, Any], arms: Sequence[str], group: int | None) -> Iterator[Any]:
    """One question as one record for each arm."""
    shared = {name: row[name] for name in _QUESTION if name != "placeholder"}
    for name in arms:
        answer = row["arms"].get(name, {})
        yield {
            **shared,
            "placeholder": group,
            "photo_ms": row["timings_ms"],
            "arm": name,
            "answer_lat": answer.get("lat"),
            "answer_lon": answer.get("lon"),
            **{column: answer.get(column) for column in _ANSWER},
        }


def _measure(flat: list[dict[str, Any]]) -> None:
    """Give every answered record its error along the ellipsoid."""
    known = [one for one in flat if one["answer_lat"] is not None]
    off = distances_km(
        np.array([(one["lat"], one["lon"]) for one in known]).reshape(-1, 2),
        np.array([(one["answer_lat"], one["answer_lon"]) for one in known]).reshape(-1, 2),
        "geodesic-wgs84",
    )
    for one, error_km in zip(known, off.tolist(), strict=True):
        one["error_geodesic_km"] = error_km


def _arm(name: str, table: pa.Table) -> Arm:
    kinds = table["kind"].to_pylist()
    timings = [dict(each or ()) for each in table["timings_ms"].to_pylist()]
    photo = [dict(each or ()) for each in table["photo_ms"].to_pylist()]
    return Arm(
        name=name,
        files=table["file"].to_pylist(),
        truth=_pairs(table, "lat", "lon"),
        answers=_pairs(table, "answer_lat", "answer_lon"),
        problems=table["problem"].to_pylist(),
        creators=table["creator"].to_pylist(),
        areas=[dict(each) for each in table["areas"].to_pylist()],
        strata=[
            dict(own) | ({"kind": kind} if kind is not None else {})
            for own, kind in zip(table["strata"].to_pylist(), kinds, strict=True)
        ],
        placeholder=np.array([each is not None for each in table["placeholder"].to_pylist()]),
        calibrated=np.array([bool(each) for each in table["calibrated"].to_pylist()]),
        excluded=_numbers(table["excluded"].to_pylist()),
        radii_m=_by_key(table["radii_m"]),
        candidates=np.stack(
            [_padded(table["candidate_lat"]), _padded(table["candidate_lon"])], axis=-1
        ),
        masses=_padded(table["candidate_mass"]),
        scores=_padded(table["candidate_score"]),
        abstained=table["abstained"].to_pylist(),
        believed=table["stratum"].to_pylist(),
        within=_by_key(table["within"]),
        unsupported=_first(table["unsupported"].to_pylist(), table["elsewhere"].to_pylist()),
        area_km2=_by_key(table["area_km2"]),
        area_holds=_by_key(table["area_holds"]),
        photo_ms=_numbers([_sum(each) for each in photo]),
        flow_ms=_numbers([each.get("total") for each in timings]),
        row_ms=_numbers([each.get("total") for each in photo]),
    )


def _by_key(column: pa.ChunkedArray) -> dict[str, Floats]:
    """Maps of numbers as one column for each key, keys rising, NaN where a row has none."""
    rows = [dict(each or ()) for each in column.to_pylist()]
    keys = sorted({key for row in rows for key in row}, key=float)
    return {key: _numbers([row.get(key) for row in rows]) for key in keys}


def _first(column: Sequence[float | None], otherwise: Sequence[float | None]) -> Floats:
    """The first of two columns that has a number, row by row."""
    pairs = zip(column, otherwise, strict=True)
    return _numbers([other if one is None else one for one, other in pairs])


def _sum(timings: Mapping[str, float]) -> float | None:
    """All stages together, without their total."""
    return sum(ms for stage, ms in timings.items() if stage != "total") if timings else None


def _numbers(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _pairs(table: pa.Table, lat: str, lon: str) -> Floats:
    return np.column_stack([_numbers(table[lat].to_pylist()), _numbers(table[lon].to_pylist())])


def _padded(column: pa.ChunkedArray) -> Floats:
    """Lists of numbers as `[N, K]`, NaN padded; K is at least 1."""
    lists = column.combine_chunks()
    lengths = np.nan_to_num(_numbers(lists.value_lengths().to_pylist())).astype(np.intp)
    width = max(1, int(lengths.max(initial=0)))
    filled = np.full((len(lengths), width), np.nan)
    filled[np.arange(width) < lengths[:, None]] = lists.flatten().to_numpy(zero_copy_only=False)
    return filled
