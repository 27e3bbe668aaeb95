"""Speed next to a bare baseline of the same run; never a gate on absolute time."""

from __future__ import annotations

import os

# Two cores, several processes: OpenMP threads that spin while they wait slow everything down.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from bench import (
    decode,
    end_to_end,
    geoclip,
    ingest,
    locate,
    planet,
    plans,
    report,
    rerank,
    reranked,
    training,
    workers,
)
from bench.files import descriptor, tower
from bench.stack import Say, stack
from pinpoint import logs
from pinpoint.settings import LogSettings


def main() -> None:
    """Measure what was asked for, print tables, write JSON."""
    given = _arguments()
    console = Console(stderr=True)
    logs.configure(LogSettings(level="warning"))
    figures: dict[str, object] = {"cores": os.cpu_count()}
    if given.only in (None, "locate"):
        figures["sizes"] = {str(size): _locate(size, given, console.log) for size in given.sizes}
    if given.only in (None, "judged"):
        figures["judged"] = [
            reranked.measure(size, given.questions, console.log) for size in given.sizes
        ]
    if given.only in (None, "planet"):
        with TemporaryDirectory() as folder:
            figures["painting"] = planet.painting(Path(folder), given.repetitions, console.log)
        with stack() as running:
            figures["overhead"] = planet.overhead(running, given.repetitions, console.log)
    if given.only in (None, "geoclip"):
        figures["geoclip"] = geoclip.measure(console.log)
    if given.only in (None, "rerank"):
        figures["rerank"] = rerank.measure(console.log)
    if given.only in (None, "training"):
        with TemporaryDirectory() as folder:
            figures["training"] = training.measure(Path(folder), given.repetitions, console.log)
    if given.only in (None, "decode"):
        figures["decode"] = decode.measure(max(given.repetitions, 9), console.log)
    if given.only in (None, "ingest"):
        with stack() as running:
            files = ingest.prepare(running, given.files, console.log)
            figures["ingest"] = ingest.measure(files, given.repetitions, console.log)
            files.parts.decoder.close()
            figures["workers"] = workers.measure(
                running, files, given.workers, given.repetitions, console.log
            )
    report.show(figures)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="pinpoint bench speed", description=__doc__)
    parser.add_argument(
        "--sizes",
        type=_counts,
        default=[10_000, 100_000],
        help="numbers of gallery images for `locate`, such as 10000,1000000",
    )
    parser.add_argument("--questions", type=int, default=300, help="queries for each gallery")
    parser.add_argument(
        "--workers", type=_counts, default=[1, 2], help="numbers of workers for the ingest"
    )
    parser.add_argument("--files", type=int, default=512, help="files of the ingest")
    parser.add_argument(
        "--repetitions", type=int, default=3, help="repetitions of each measurement"
    )
    parser.add_argument(
        "--only",
        choices=("locate", "judged", "decode", "ingest", "planet", "geoclip", "rerank", "training"),
    )
    parser.add_argument(
        "--bundle",
        choices=("descriptor",),
        help="search with this bundle instead of the largest tower whose weights are here",
    )
    parser.add_argument("--json", type=Path, help="file for all results")
    return parser.parse_args()


def _counts(given: str) -> list[int]:
    counts = [int(one) for one in given.split(",") if one.isdigit()]
    if not counts or min(counts) < 1 or len(counts) != given.count(",") + 1:
        raise argparse.ArgumentTypeError(f"{given!r} is no list of numbers like 10000,100000")
    return counts


def _locate(size: int, given: argparse.Namespace, say: Say) -> dict[str, object]:
    """All that is measured over one gallery, which is gone afterwards."""
    questions = given.questions
    seen_by = descriptor if given.bundle else tower
    with locate.prepared(size, questions, say, seen_by) as ready:
        figures: dict[str, object] = {"whole": end_to_end.measure(ready, questions)}
        figures["most"] = locate.measure(ready, questions)
        figures["1_percent"] = locate.measure(ready, questions // 4, 2)
        figures["dense"] = locate.measure(ready, questions // 4, 3)
        figures["plans"] = plans.measure(ready, questions=9)
        figures["memory"] = end_to_end.memory(ready)
        return figures


if __name__ == "__main__":
    main()
