"""Results as tables, each with its unit, its baseline and its target."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from bench import (
    access,
    aggregation,
    client_import,
    decode,
    geoclip,
    ingest,
    jobs,
    locate,
    planet,
    rerank,
    reranked,
    training,
    verification,
)
from bench.end_to_end import STAGES

Figures = dict[str, Any]

_SIDES = {
    "ingest": "ingest: the whole flow, one process",
    "encode": "bare: encoding of decoded images",
    "decode": "bare: decoding in two children",
    "decode_encode": "bare: decoding ahead and encoding",
}
_OWNERS = {"most": "79 % of the rows", "1_percent": "1 % of the rows", "dense": "a crowded square"}
_MEMORY = {
    "owner_rss": "index owner and engine, resident",
    "owner_rss_of_files": "of it pages of files",
    "index_on_disk": "index on disk",
    "postgresql_on_disk": "PostgreSQL on disk",
}


def show(figures: Figures) -> None:
    """Print all results that were measured."""
    # Wide enough for every table, also where the output is a file.
    out = Console(width=140)
    out.print(f"{figures['cores']} cores\n")
    _show_client_import(out, figures)
    sizes = list(figures.get("sizes", {}).values())
    if sizes:
        _show_galleries(out, sizes)
    if "judged" in figures:
        _show_reranked(out, figures["judged"])
    if "aggregation" in figures:
        _show_aggregation(out, figures["aggregation"])
    if "painting" in figures:
        _show_planet(out, figures["painting"], figures["overhead"])
    if "geoclip" in figures:
        measured = figures["geoclip"]
        out.print(
            f"GeoCLIP over {measured['places']:,} places outside its tower: the package's predict"
            f" {measured['package_ms']:,.0f} ms, ours {measured['ours_ms']:.2f} ms, ratio"
            f" {measured['ratio']:,.0f} (target ≥ {geoclip.TARGET}); the same places named:"
            f" {measured['same_answers']}\n"
        )
    for name, show_part in _PARTS.items():
        if name in figures:
            show_part(out, figures[name])
    if "decode" in figures:
        _show_decode(out, figures["decode"])
    if "ingest" in figures:
        _show_ingest(out, figures["ingest"], figures["workers"])


def _show_client_import(out: Console, figures: Figures) -> None:
    if "client" in figures:
        measured = figures["client"]
        out.print(
            f"import of the client: {measured['import_ms']:,.0f} ms above an empty program (target"
            f" ≤ {client_import.TARGET_MS}), httpx and pydantic alone"
            f" {measured['dependencies_ms']:,.0f} ms"
        )


def _show_galleries(out: Console, sizes: list[Figures]) -> None:
    """Print what was measured on galleries."""
    _show_end_to_end(out, [size["whole"] for size in sizes])
    _show_from_vector(out, sizes)
    _show_memory(out, [size["memory"] for size in sizes])
    for size in sizes:
        _show_plans(out, size["plans"], size["whole"]["rows"])


def _show_access(out: Console, measured: Figures) -> None:
    """Print what authentication, limits and audit add to a query."""
    parts = ", ".join(f"{name} {ms:.2f}" for name, ms in measured["parts_p50_ms"].items())
    out.print(
        f"locate of a vector, {measured['rows']:,} images, {measured['questions']} questions: p50"
        f" {measured['bare_p50_ms']:.2f} ms bare, {measured['access_p50_ms']:.2f} ms with"
        f" authentication, limits and audit; median difference {measured['added_p50_ms']:.2f} ms"
        f" (target ≤ {access.TARGET_MS:g}); medians in ms: {parts}\n"
    )


def _show_aggregation(out: Console, measured: Figures) -> None:
    """Print the times of an image."""
    for name, row in measured.items():
        out.print(
            f"encode, {name}: {row['ms']:.1f} ms, ratio {row['ratio']:.2f}, of CPU time"
            f" {row['cpu_ratio']:.2f} (target {aggregation.TARGET})"
        )


def _show_decode(out: Console, figures: Figures) -> None:
    start = figures["start_ms"]
    table = Table(
        title=f"decoding in the sandbox, one child, median of {figures['repetitions']}; median"
        f" ratio {figures['ratio']:.3f} (target ≤ {decode.TARGET}), of CPU time"
        f" {figures['cpu_ratio']:.3f}; start of a child"
        f" {start['confined']:.0f} ms, with limits only {start['limits']:.0f} ms"
    )
    _add_columns(table, "file", "sandbox ms", "limits only ms", "ratio", "of CPU time")
    for name, row in figures["files"].items():
        times = (f"{row[side]:.1f}" for side in ("confined", "limits"))
        table.add_row(name, *times, f"{row['ratio']:.3f}", f"{row['cpu_ratio']:.3f}")
    out.print(table, "\n")


def _add_columns(table: Table, *names: str) -> None:
    for name in names:
        table.add_column(name, justify="right")


def _show_index_sizes(out: Console, sizes: dict[str, dict[str, int]]) -> None:
    table = Table(title="MiB per million images, by dimensions of the image vector")
    for column in ("dimensions", "index on disk", "vectors in PostgreSQL"):
        table.add_column(column, justify="right")
    for width, mib in sizes.items():
        table.add_row(width, f"{mib['index_on_disk']:,}", f"{mib['vectors_in_postgresql']:,}")
    out.print(table)


def _show_end_to_end(out: Console, sizes: list[Figures]) -> None:
    first = sizes[0]
    table = Table(
        title=f"locate over HTTP, {first['tower']}, {first['questions']} questions, one caller;"
        " share of each stage in the mean"
    )
    _add_columns(table, "images")
    table.add_column("side")
    _add_columns(table, "p50 ms", "p95 ms", "p99 ms", *STAGES)
    for size in sizes:
        for side in ("pinpoint", "bare"):
            measured = size[side]
            table.add_row(
                f"{size['rows']:,}" if side == "pinpoint" else "",
                side,
                *(f"{measured[f'p{percent}_ms']:.1f}" for percent in locate.PERCENTILES),
                *(f"{100 * measured['shares'][stage]:.1f} %" for stage in STAGES),
            )
    out.print(table)
    for size in sizes:
        ratios = ", ".join(f"p{p} {size[f'ratio_p{p}']:.2f}" for p in locate.PERCENTILES)
        out.print(f"{size['rows']:,} images, {size['search']} search: ratio to bare {ratios}")
    out.print()


def _show_from_vector(out: Console, sizes: list[Figures]) -> None:
    table = _comparison_table("locate from the vector on, in this process, by owner of the images")
    for size in sizes:
        for name, owner in _OWNERS.items():
            measured = size[name]
            _add_both_sides(table, measured, owner)
    out.print(table)
    out.print(
        f"targets at 100,000 images: ratio of p50 ≤ {locate.TARGET_RATIO}, p50 ≤"
        f" {locate.TARGET_P50_MS:g} ms\n"
    )


def _show_reranked(out: Console, sizes: list[Figures]) -> None:
    table = _comparison_table("locate from the vector on, reranked and calibrated, in this process")
    for measured in sizes:
        _add_both_sides(table, measured, _OWNERS["most"])
    out.print(table)
    memory = ", ".join(
        f"{measured['api_mb']:,} MB at {measured['rows']:,} images" for measured in sizes
    )
    out.print(
        f"targets at 100,000 images: ratio of p50 ≤ {reranked.TARGET_RATIO}, p50 ≤"
        f" {reranked.TARGET_P50_MS:g} ms; the API's process, resident, after questions over HTTP:"
        f" {memory} (target ≤ {reranked.TARGET_API_MB:,} MB)\n"
    )


def _comparison_table(title: str) -> Table:
    """A table for `_add_both_sides`."""
    table = Table(title=title)
    _add_columns(table, "images")
    table.add_column("organization with")
    table.add_column("side")
    _add_columns(table, "p50 ms", "p95 ms", "p99 ms", "ratio p50", "same best", "evidence rows")
    table.add_column("p50 of each stage, ms")
    return table


def _add_both_sides(table: Table, measured: Figures, owner: str) -> None:
    """Two rows: both sides of the same queries."""
    for side in ("pinpoint", "bare"):
        side_figures, ours = measured[side], side == "pinpoint"
        table.add_row(
            f"{measured['rows']:,}" if ours else "",
            owner if ours else "",
            side,
            *(f"{side_figures[f'p{percent}_ms']:.1f}" for percent in locate.PERCENTILES),
            f"{measured['ratio_p50']:.2f}" if ours else "",
            f"{measured['same_best']:.0%}" if ours else "",
            f"{measured['evidence_rows']:g}" if ours else "",
            "  ".join(f"{stage} {ms:.1f}" for stage, ms in side_figures["stages_p50_ms"].items()),
        )


def _show_memory(out: Console, sizes: list[Figures]) -> None:
    table = Table(title="memory and disk, MiB (and what a million images add)")
    _add_columns(table, "images", *_MEMORY.values())
    for size in sizes:
        cells = [f"{size['mib'][name]:,} ({size['mib_per_million'][name]:,})" for name in _MEMORY]
        table.add_row(f"{size['rows']:,}", *cells)
    out.print(table)
    out.print()


def _show_plans(out: Console, plans: Figures, rows: int) -> None:
    table = Table(
        title=f"the evidence statement under the API's role, {rows:,} images, EXPLAIN (ANALYZE)"
    )
    table.add_column("organization")
    _add_columns(table, "p50 ms", "longest ms", "rows found", "rows looked at")
    table.add_column("spatial index")
    for name, plan in plans.items():
        table.add_row(
            name,
            f"{plan['execution_p50_ms']:.1f}",
            f"{plan['execution_max_ms']:.1f}",
            f"{plan['rows_found']:.0f}",
            f"{plan['rows_looked_at']:.0f}",
            plan["spatial_index"],
        )
    out.print(table)


def _show_ingest(out: Console, figures: Figures, workers: Figures) -> None:
    table = Table(
        title=f"ingest, {figures['images']} files ({figures['files']}), {figures['tower']}"
    )
    table.add_column("side")
    _add_columns(table, "images/s", "ms per image")
    for count, rate in workers["images_per_s"].items():
        title = f"ingest: {count} worker{'' if count == '1' else 's'}, broker and verdicts included"
        table.add_row(title, f"{rate:.1f}", f"{1e3 / rate:.1f}")
    for name, title in _SIDES.items():
        rate, each_ms = figures["images_per_s"][name], figures["ms_per_image"][name]
        table.add_row(title, f"{rate:.1f}", f"{each_ms:.1f}")
    out.print(table)
    out.print(
        f"one process: ratio of times to bare encoding {figures['ratio']:.2f} (target ≤"
        f" {ingest.TARGET_RATIO}), to decoding and encoding"
        f" {figures['ratio_to_decode_encode']:.2f};"
        f" medians of {figures['chunks']} chunks of 64; workers: median of"
        f" {workers['repetitions']} repetitions\n"
    )


def _show_rerank(out: Console, figures: Figures) -> None:
    table = Table(
        title=f"the reranker's forward pass, {rerank.CANDIDATES} candidates, {rerank.PER_KIND}"
        f" photos of evidence of each kind, {figures['parameters']:,} parameters,"
        f" {figures['threads']} threads"
    )
    table.add_column("device, batch")
    _add_columns(table, "p50 ms", "its matrix products ms", "ratio", "processor ms a question")
    for name, batch in figures.items():
        if isinstance(batch, dict):
            table.add_row(
                name,
                f"{batch['forward_ms']:.2f}",
                f"{batch['floor_ms']:.2f}",
                f"{batch['ratio']:.1f}",
                f"{batch['cpu_ms_each']:.2f}",
            )
    out.print(table)
    out.print()


def _show_planet(out: Console, painting: Figures, overhead: Figures) -> None:
    table = Table(title=f"the planet, pictures of {painting['side_px']} px, two threads")
    table.add_column("what")
    _add_columns(table, "images/s")
    table.add_row("painted, in memory", f"{painting['painted_per_s']:,}")
    table.add_row("bare: written as JPEG, one thread", f"{painting['jpeg_per_s_one_thread']:,}")
    table.add_row(
        f"`demo`, {painting['files']:,} files, the process's start included",
        f"{painting['files_per_s']:,}",
    )
    out.print(table)
    out.print(
        f"target: painted ≥ {planet.TARGET_IMAGES_PER_S:,} images/s; highest resident size of the"
        f" process that draws files {painting['peak_mib']:,} MiB\n"
        f"evaluate, {overhead['questions']} questions, {overhead['tower']}:"
        f" {overhead['evaluate_ms']:.1f} ms each, the bare flow {overhead['bare_ms']:.1f} ms,"
        f" ratio {overhead['ratio']:.3f} (target ≤ {planet.TARGET_OVERHEAD}); resident"
        f" {overhead['resident_mib']:,} MiB\n"
    )


def _show_verification(out: Console, measured: Figures) -> None:
    targets = {"cold": verification.TARGET_COLD_MS, "warm": verification.TARGET_WARM_MS}
    out.print(f"verification of {verification.CANDIDATES} candidates, two threads")
    for name, target_ms in targets.items():
        out.print(
            f"  {name}: {measured[f'{name}_ms']:,.0f} ms (target ≤ {target_ms:,.0f}), bare OpenCV"
            f" {measured[f'bare_{name}_ms']:,.0f}, ratio {measured[f'{name}_ratio']:.2f};"
            f" processor time {measured[f'{name}_cpu_ms']:,.0f} ms, bare"
            f" {measured[f'bare_{name}_cpu_ms']:,.0f}"
        )
    out.print()


def _show_training(out: Console, measured: Figures) -> None:
    out.print(
        f"training, batches of {measured['batch']}, {measured['threads']} threads: a step"
        f" {measured['step_per_s']:,.0f} images/s, bare forward and backward"
        f" {measured['bare_per_s']:,.0f}, ratio {measured['ratio']:.2f}"
        f" (target ≥ {training.TARGET});"
        f" an epoch of heads over {measured['pictures']:,} pictures from cached features"
        f" {measured['cached_per_s']:,.0f} images/s,"
        f" from files {measured['decoded_per_s']:,.0f}\n"
    )


def _show_jobs(out: Console, measured: Figures) -> None:
    rates = measured["photos_per_s"]
    out.print(
        f"locate job of {measured['photos']:,} photos over {measured['rows']:,} images, "
        f"{measured['tower']}: {rates['job']:.1f} photos/s, bare flow {rates['bare']:.1f} photos/s,"
        f" ratio {measured['ratio']:.2f} (target ≥ {jobs.TARGET_RATIO})\n"
    )


_PARTS = {
    "jobs": _show_jobs,
    "access": _show_access,
    "index_mib_per_million": _show_index_sizes,
    "rerank": _show_rerank,
    "verification": _show_verification,
    "training": _show_training,
}
