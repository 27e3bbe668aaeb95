"""Seeded label tables in the published formats of benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from pinpoint.evaluation.labels.labels import DROP_REASONS, LabeledQueries, read_labels
from pinpoint.evaluation.labels.protocols import PROTOCOLS

Position = tuple[float, float]


def random_positions(number: int, seed: int = 3) -> list[Position]:
    """Random positions on the whole globe, `(lat, lon)` with six digits."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform((-60.0, -180.0), (70.0, 180.0), (number, 2)).round(6)
    return [(float(lat), float(lon)) for lat, lon in positions]


def write(path: Path, head: str, rows: Iterable[Sequence[object]], delimiter: str = ",") -> Path:
    """Write a table; `head` is separated by commas, or empty for no header."""
    lines = [head.replace(",", delimiter)] if head else []
    lines += [delimiter.join(str(cell) for cell in row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(name: str, path: Path, columns: dict[str, str] | None = None) -> LabeledQueries:
    """Read the labels of a protocol and check the counts."""
    labeled = read_labels(PROTOCOLS[name], path, columns)
    assert labeled.rows == len(labeled.queries) + sum(labeled.dropped.values())
    assert set(labeled.dropped) <= set(DROP_REASONS)
    return labeled


def custom(tmp_path: Path, head: str, *rows: Sequence[object]) -> LabeledQueries:
    """Read a small custom table."""
    return read("custom", write(tmp_path / "labels.csv", head, rows))


def file_positions(labeled: LabeledQueries) -> list[tuple[str, float, float]]:
    """File and position of every query."""
    return [(q.file, q.ground_truth.lat, q.ground_truth.lon) for q in labeled.queries]
