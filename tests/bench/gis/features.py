"""Pages of features over HTTP: at any depth, and with CQL2 filters on indexed columns."""

from __future__ import annotations

from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

from bench.gis.measuring import Call, Figures, Gallery, call_bare, compare, get, summarize

TARGET_PAGE_P95_MS, TARGET_CQL2_P95_MS = 60.0, 100.0
ITEMS = "/ogc/collections/images/items"
PAGE_LIMIT = 100
_MAX_PAGES = 1_000
_DEPTHS = 50
_REPETITIONS = 10

FILTERS: dict[str, tuple[str, str]] = {
    "creator": ("creator = 'creator 42'", "creator = 'creator 42'"),
    "sequence": ("sequence = 'drive-20'", "sequence = 'drive-20'"),
    "time": (
        "captured_at >= TIMESTAMP('2018-03-01T00:00:00Z')"
        " AND captured_at < TIMESTAMP('2018-03-02T00:00:00Z')",
        "captured_at >= '2018-03-01Z' AND captured_at < '2018-03-02Z'",
    ),
    "kind in a box": (
        "source_kind = 'street' AND S_INTERSECTS(geometry, POLYGON((2.2 48.8, 2.5 48.8, 2.5 48.95,"
        " 2.2 48.95, 2.2 48.8)))",
        "source_kind = 'street' AND geom && ST_MakeEnvelope(2.2, 48.8, 2.5, 48.95, 4326)",
    ),
}
"""CQL2 text, and the same condition in SQL."""


def measure_pages(gallery: Gallery, limit: int = PAGE_LIMIT) -> Figures:
    """Walk through the collection, and compare pages at all depths with bare keyset pages."""
    samples, path, parameters = [], ITEMS, {"limit": limit}
    last_ids: list[str] = []
    while path and len(samples) < _MAX_PAGES:
        begun = perf_counter()
        page = get(gallery, path, **parameters).json()
        samples.append(((perf_counter() - begun) * 1e3, len(page["features"])))
        last_ids.append(page["features"][-1]["id"])
        path, parameters = _find_next(page), {}
    step = max(1, len(last_ids) // _DEPTHS)
    bare = [_page_after(gallery, last_id, limit) for last_id in last_ids[::step]]
    figures = {
        "product": summarize(samples),
        "bare": summarize([_time_call(call) for call in bare]),
        "target_p95_ms": TARGET_PAGE_P95_MS,
        "deepest_row": len(last_ids) * limit,
        "last_tenth": summarize(samples[-max(1, len(samples) // 10) :]),
    }
    _explain(gallery, "features page", _PAGE, {"last": last_ids[-1], "limit": limit})
    return figures


def measure_cql2(gallery: Gallery, limit: int = PAGE_LIMIT) -> Figures:
    """First pages with a filter."""
    figures: Figures = {}
    for name, (cql2, sql) in FILTERS.items():
        statement = _FILTERED.replace("CONDITION", sql)
        values = {"org": gallery.organization_id, "limit": limit}

        def call(cql2: str = cql2) -> int:
            answer = get(gallery, ITEMS, limit=limit, filter=cql2, **{"filter-lang": "cql2-text"})
            return len(answer.json()["features"])

        figures[name] = compare(
            [call] * _REPETITIONS,
            [call_bare(gallery, statement, values)] * _REPETITIONS,
            TARGET_CQL2_P95_MS,
        )
        _explain(gallery, f"cql2 {name}", statement, {"limit": limit})
    return figures


def _find_next(page: dict[str, Any]) -> str:
    """Path and query of the next page; empty at the end."""
    for link in page["links"]:
        if link["rel"] == "next":
            parts = urlsplit(link["href"])
            return f"{parts.path}?{parts.query}"
    return ""


def _time_call(call: Call) -> tuple[float, int]:
    begun = perf_counter()
    size = call()
    return (perf_counter() - begun) * 1e3, size


def _page_after(gallery: Gallery, last_id: str, limit: int) -> Call:
    values = {"org": gallery.organization_id, "last": last_id, "limit": limit}
    return call_bare(gallery, _PAGE, values)


def _explain(gallery: Gallery, name: str, statement: str, values: dict[str, Any]) -> None:
    """Write the plan of the bare statement; those of the product are in the server's log."""
    rows = gallery.bare.execute(
        f"EXPLAIN (ANALYZE, BUFFERS) {statement}", {"org": gallery.organization_id, **values}
    ).fetchall()
    folder = gallery.output / "plans"
    folder.mkdir(parents=True, exist_ok=True)
    lines = [statement.strip(), *(row[0] for row in rows)]
    (folder / f"bare {name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


_PAGE = """
SELECT id, external_id, ST_AsGeoJSON(geom), captured_at, heading_deg FROM images
 WHERE organization_id = %(org)s AND state IN ('pending', 'indexed') AND id > %(last)s
 ORDER BY id LIMIT %(limit)s
"""
_FILTERED = """
SELECT id, external_id, ST_AsGeoJSON(geom), captured_at, heading_deg FROM images
 WHERE organization_id = %(org)s AND state IN ('pending', 'indexed') AND CONDITION
 ORDER BY id LIMIT %(limit)s
"""
