"""Figures as tables, each with its unit, its baseline and its target."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from bench import ingest, locate

_SIDES = {
    "ingest": "ingest: the whole flow",
    "encode": "bare: encoding of decoded images",
    "decode": "bare: decoding in two children",
    "decode_encode": "bare: decoding ahead and encoding",
}


def show(figures: dict[str, Any]) -> None:
    """Print whatever was measured."""
    out = Console()
    for name, title in {
        "locate": "most of the rows",
        "locate_1_percent": "1 % of the rows",
        "locate_dense": "one crowded square of one kind",
    }.items():
        if name in figures:
            _locate(out, figures[name], f"an organisation with {title}")
    if "plans" in figures:
        _plans(out, figures["plans"])
    if "ingest" in figures:
        _ingest(out, figures["ingest"])


def _locate(out: Console, said: dict[str, Any], who: str) -> None:
    table = Table(title=f"locate without encoding, {said['rows']} images, {who}")
    table.add_column("side")
    table.add_column("p50 ms", justify="right")
    table.add_column("p95 ms", justify="right")
    table.add_column("p50 of each stage, ms")
    for side in ("pinpoint", "bare"):
        each = said[side]
        stages = "  ".join(f"{name} {ms:.1f}" for name, ms in each["stages_p50_ms"].items())
        table.add_row(side, f"{each['p50_ms']:.1f}", f"{each['p95_ms']:.1f}", stages)
    out.print(table)
    out.print(
        f"ratio of p50 {said['ratio_p50']:.2f} (target ≤ {locate.TARGET_RATIO}), of p95"
        f" {said['ratio_p95']:.2f}; p50 {said['pinpoint']['p50_ms']:.1f} ms"
        f" (target ≤ {locate.TARGET_P50_MS:g} ms); {said['questions']} questions,"
        f" {said['search']} search, {said['evidence_rows']:g} evidence rows,"
        f" same best candidate {said['same_best']:.0%}\n"
    )


def _plans(out: Console, said: dict[str, dict[str, Any]]) -> None:
    table = Table(title="the evidence statement under the API's role, EXPLAIN (ANALYZE)")
    table.add_column("organisation")
    for column in ("p50 ms", "longest ms", "rows found", "rows looked at"):
        table.add_column(column, justify="right")
    table.add_column("spatial index")
    for name, each in said.items():
        table.add_row(
            name,
            f"{each['execution_p50_ms']:.1f}",
            f"{each['execution_max_ms']:.1f}",
            f"{each['rows_found']:.0f}",
            f"{each['rows_looked_at']:.0f}",
            each["spatial_index"],
        )
    out.print(table)


def _ingest(out: Console, said: dict[str, Any]) -> None:
    table = Table(title=f"ingest, {said['images']} files ({said['files']}), {said['tower']}")
    table.add_column("side")
    table.add_column("images/s", justify="right")
    table.add_column("ms per image", justify="right")
    for name, title in _SIDES.items():
        rate, each_ms = said["images_per_s"][name], said["ms_per_image"][name]
        table.add_row(title, f"{rate:.1f}", f"{each_ms:.1f}")
    out.print(table)
    out.print(
        f"ratio of times to bare encoding {said['ratio']:.2f} (target ≤ {ingest.TARGET_RATIO}),"
        f" to decoding and encoding {said['ratio_to_decode_encode']:.2f};"
        f" medians of {said['chunks']} chunks of 64\n"
    )
