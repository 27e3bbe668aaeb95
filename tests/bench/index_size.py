"""Size of the embedded index by width of the vectors, built and optimized as a rebuild does it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.stack import Say
from index_gallery import gallery
from pinpoint.records import IndexSpec
from pinpoint.store.vectors.edge import EdgeIndex

WIDTHS = (256, 512, 1_024)
IMAGES = 20_000
"""Enough for a graph in every segment; a million would take hours."""
_CHUNK = 1_000
_MILLION = 1_000_000


def measure(say: Say, widths: Sequence[int] = WIDTHS) -> dict[str, dict[str, int]]:
    """Bytes per million images, in MiB: of the index on disk, and of the vectors in PostgreSQL."""
    rows = {}
    for width in widths:
        # An empty index takes space, too.
        grown = _index_bytes(width, IMAGES) - _index_bytes(width, 0)
        rows[str(width)] = {
            "index_on_disk": _to_mib(grown / IMAGES * _MILLION),
            # Half precision, `store.db.rows.pack_vector`; the row itself has no width.
            "vectors_in_postgresql": _to_mib(2.0 * width * _MILLION),
        }
        say(f"{width} dimensions: {rows[str(width)]} MiB per million images")
    return rows


def _index_bytes(width: int, size: int) -> int:
    dims = {"image": width}
    points = gallery(size, dims=dims)
    with TemporaryDirectory() as folder:
        index = EdgeIndex(Path(folder) / "build", chooser=lambda _: "acorn")
        index.ensure(IndexSpec(contract="size", dims=dims))
        for start in range(0, size, _CHUNK):
            index.upsert(points[start : start + _CHUNK])
        index.optimize()
        index.close()
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        return sum(path.stat().st_blocks * 512 for path in files)


def _to_mib(size: float) -> int:
    return round(size / 2**20)
