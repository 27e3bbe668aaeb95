"""Output for people of labels, evaluations and comparisons."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinpoint.cli import output


def show_description(description: Mapping[str, Any]) -> None:
    """Print the description of a labeled dataset."""
    facts = [(name, _format_value(value)) for name, value in description.items() if name != "notes"]
    output.print_table(None, ("labels", "value"), facts)
    for note in description["notes"]:
        output.print_line(note)


def show_report(report: Mapping[str, Any], folder: Path) -> None:
    """Print the main metrics; the report files contain all of them."""
    counts = report["counts"]
    unreadable = sum(counts["unreadable_image"].values())
    output.print_line(
        f"{counts['rows']} rows, {counts['queries']} labeled, {counts['evaluated']} evaluated: "
        f"{counts['missing_image']} images missing, {unreadable} unreadable, "
        f"{counts['readable']} readable"
    )
    first = next(iter(report["arms"].values()))
    thresholds = list(first["all"]["accuracy"])
    rows = [
        (
            arm,
            metrics["all"]["answered"],
            *(_format_interval(metrics["all"]["accuracy"][km]) for km in thresholds),
            _format_figure(metrics["all"]["median_error_km"]),
        )
        for arm, metrics in report["arms"].items()
    ]
    columns = (
        "arm",
        ">answered",
        *(f">within {km} km (%)" for km in thresholds),
        ">median error (km)",
    )
    output.print_table(f"{counts['readable']} readable photos", columns, rows)
    output.print_line(report["convention"]["description"])
    for note in report["notes"]:
        output.print_line(note)
    output.print_line(f"report: {folder / 'report.md'}")


def show_comparison(comparison: Mapping[str, Any]) -> None:
    """Print both values, difference, interval and p-value of every metric, per arm."""
    for line in comparison["differences"] or ["both runs used the same queries"]:
        output.print_line(line)
    for note in comparison["notes"]:
        output.print_line(note)
    for arm, figures in comparison["arms"].items():
        title = (
            f"{arm}: {comparison['photos'][arm]} photos; {comparison['convention']['description']}"
        )
        rows = [
            (
                name,
                *(
                    _format_figure(figure[key])
                    for key in ("a", "b", "value", "low", "high", "p_value")
                ),
            )
            for name, figure in figures.items()
        ]
        output.print_table(title, ("figure", ">A", ">B", ">A − B", ">from", ">to", ">p"), rows)


def _format_figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _format_interval(interval: Mapping[str, float | None]) -> str:
    value, low, high = (interval[key] for key in ("value", "low", "high"))
    if value is None:
        return "–"
    percent = f"{100 * value:.1f}"
    return (
        percent if low is None or high is None else f"{percent} [{100 * low:.1f}, {100 * high:.1f}]"
    )


def _format_value(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_format_value(item)}" for key, item in value.items()) or "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    return output.format_cell(value)
