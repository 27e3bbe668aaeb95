"""Export of all images: rows per second, and memory of the API."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

import psutil

from bench.gis.measuring import Figures, Gallery

TARGET_ROWS_PER_S, TARGET_MIB = 50_000, 400
FORMATS = ("parquet", "fgb", "gpkg", "geojsons", "csv")
_SAMPLE_S = 0.05


def measure(gallery: Gallery, api_pid: int, num_rows: int) -> Figures:
    """One export in each format; `bare` is COPY of the same columns."""
    if gallery.http is None:
        raise RuntimeError("this part needs the API")
    figures: Figures = {"bare": _copy(gallery, num_rows)}
    for suffix in FORMATS:
        begun, size = perf_counter(), 0
        with (
            _watch_memory(api_pid) as peak_mib,
            gallery.http.stream("GET", f"/v1/exports/images.{suffix}") as answer,
        ):
            if answer.status_code != 200:
                answer.read()
                raise RuntimeError(f"{answer.url}: {answer.status_code} {answer.text[:200]}")
            for part in answer.iter_bytes():
                size += len(part)
        took_s = perf_counter() - begun
        figures[suffix] = {
            "rows_per_s": round(num_rows / took_s),
            "target_rows_per_s": TARGET_ROWS_PER_S,
            "peak_mib": round(peak_mib[0]),
            "added_mib": round(peak_mib[0] - peak_mib[1]),
            "target_mib": TARGET_MIB,
            "mib": round(size / 2**20, 1),
        }
    return figures


def _copy(gallery: Gallery, num_rows: int) -> Figures:
    begun, size = perf_counter(), 0
    values = {"org": gallery.organization_id}
    with gallery.bare.cursor() as cursor, cursor.copy(_COPY, values) as copy:
        for part in copy:
            size += len(part)
    return {"rows_per_s": round(num_rows / (perf_counter() - begun)), "mib": round(size / 2**20, 1)}


@contextmanager
def _watch_memory(pid: int) -> Iterator[list[float]]:
    """Highest and first resident size of a process and its children, MiB."""
    process, finished = psutil.Process(pid), threading.Event()

    def resident() -> float:
        total = 0
        for member in (process, *process.children(recursive=True)):
            try:
                total += member.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total / 2**20

    peak = [resident()] * 2

    def watch() -> None:
        while not finished.wait(_SAMPLE_S):
            peak[0] = max(peak[0], resident())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        finished.set()
        thread.join()


_COPY = """
COPY (SELECT i.id, s.name, i.source_kind, i.external_id, ST_X(geom), ST_Y(geom), captured_at,
             heading_deg, field_of_view_deg, camera, creator, sequence,
             coalesce(i.license, s.license), s.attribution, sha256, attributes
        FROM images i JOIN sources s ON s.id = i.source_id
       WHERE i.organization_id = %(org)s AND state IN ('pending', 'indexed')
       ORDER BY cell_r9) TO STDOUT
"""
