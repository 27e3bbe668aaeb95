"""Figures of the GIS measurements as a table, on the terminal and in a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.gis.measuring import Figures

_HEADERS = ("measurement", "p50 ms", "p95 ms", "target p95", "bare p50", "bare p95", "largest")


def show(figures: Figures, output: Path) -> None:
    """Print the tables, and write them to `figures.md`."""
    loads = figures.get("load", {})
    highest = max((load for pair in loads.values() for load in pair), default=0.0)
    lines = [
        f"{figures['rows']:,} images, {figures['cores']} cores, highest load {highest:.1f}",
    ]
    rows = [_format_row(cells) for cells in _iterate_rows(figures)]
    if rows:
        lines += ["", _format_row(_HEADERS), _format_row(["---"] * len(_HEADERS)), *rows]
    if "export" in figures:
        lines += ["", *_iterate_exports(figures["export"])]
    if "index_costs" in figures:
        lines += ["", *_iterate_index_costs(figures["index_costs"])]
    text = "\n".join(lines)
    (output / "figures.md").write_text(text + "\n", encoding="utf-8")
    Console(width=160).print(text, markup=False, highlight=False)


def _format_row(cells: Any) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _iterate_rows(figures: Figures) -> Iterator[list[str]]:
    """One row for each measurement with `product` and `bare`, and for each zoom of tiles."""
    for part in ("features", "coverage"):
        if part in figures:
            yield _compare(part, figures[part], figures[part])
    for part in ("cql2", "neighbors", "tiles"):
        for name, measured in figures.get(part, {}).items():
            yield _compare(f"{part}: {name}", measured, measured)
            for zoom, at_zoom in measured.get("by_zoom", {}).items():
                yield _compare(f"{part}: {name}, zoom {zoom}", at_zoom, measured)


def _compare(name: str, measured: Figures, targets: Figures) -> list[str]:
    product, bare = measured["product"], measured["bare"]
    return [
        name,
        f"{product['p50_ms']:,}",
        f"{product['p95_ms']:,}",
        f"{targets['target_p95_ms']:g}",
        f"{bare['p50_ms']:,}",
        f"{bare['p95_ms']:,}",
        f"{product['largest']:,}",
    ]


def _iterate_exports(exports: Figures) -> Iterator[str]:
    yield _format_row(["export", "rows/s", "target", "peak MiB", "added MiB", "file MiB"])
    yield _format_row(["---"] * 6)
    for name, measured in exports.items():
        yield _format_row(
            [
                name,
                f"{measured['rows_per_s']:,}",
                measured.get("target_rows_per_s", ""),
                measured.get("peak_mib", ""),
                measured.get("added_mib", ""),
                measured["mib"],
            ]
        )


def _iterate_index_costs(costs: Figures) -> Iterator[str]:
    yield _format_row(["write of a row", "insert, CPU ms", "update, CPU ms"])
    yield _format_row(["---"] * 3)
    for name in ("all_indexes", "keys_only"):
        measured = costs[name]
        yield _format_row(
            [name.replace("_", " "), measured["insert_cpu_ms"], measured["update_cpu_ms"]]
        )
    yield ""
    yield f"{costs['indexes']} indexes of images: {costs['index_mib']:,} MiB"
