"""Speed against a bare baseline in the same run; absolute times are never a gate."""

from __future__ import annotations

import os

# With two cores and several processes, OpenMP threads that spin while waiting slow all of them.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from bench import (
    access,
    aggregation,
    client_import,
    decode,
    end_to_end,
    geoclip,
    index_size,
    ingest,
    jobs,
    locate,
    planet,
    plans,
    report,
    rerank,
    reranked,
    training,
    verification,
    workers,
)
from bench.files import descriptor, tower
from bench.stack import Say, stack
from pinpoint import logs
from pinpoint.settings import LogSettings


def main() -> None:
    """Measure the selected parts, print tables, write JSON."""
    arguments = _parse_arguments()
    console = Console(stderr=True)
    logs.configure(LogSettings(level="warning"))
    figures: dict[str, object] = {"cores": os.cpu_count()}
    if arguments.only in (None, "locate"):
        figures["sizes"] = {
            str(size): _measure_locate(size, arguments, console.log) for size in arguments.sizes
        }
    if arguments.only in (None, "judged"):
        figures["judged"] = [
            reranked.measure(size, arguments.num_queries, console.log) for size in arguments.sizes
        ]
    if arguments.only in (None, "jobs"):
        choose_bundle = descriptor if arguments.bundle else tower
        figures["jobs"] = jobs.measure(
            arguments.files, arguments.repetitions, console.log, choose_bundle
        )
    if arguments.only in (None, "planet"):
        with TemporaryDirectory() as folder:
            figures["painting"] = planet.measure_rendering(
                Path(folder), arguments.repetitions, console.log
            )
        with stack() as running:
            figures["overhead"] = planet.measure_overhead(
                running, arguments.repetitions, console.log
            )
    if arguments.only in (None, "access"):
        with locate.prepared(access.SIZE, arguments.num_queries, console.log) as ready:
            figures["access"] = access.measure(ready, arguments.num_queries)
    figures |= _measure_networks(arguments, console.log)
    if arguments.only in (None, "decode"):
        figures["decode"] = decode.measure(max(arguments.repetitions, 9), console.log)
    if arguments.only in (None, "ingest"):
        figures |= _measure_ingest(arguments, console.log)
    report.show(figures)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def _measure_networks(arguments: argparse.Namespace, say: Say) -> dict[str, object]:
    """Parts that need neither a gallery nor a stack."""
    parts: dict[str, Callable[[], object]] = {
        "geoclip": lambda: geoclip.measure(say),
        "rerank": lambda: rerank.measure(say),
        "aggregation": lambda: aggregation.measure(say),
        "verification": lambda: verification.measure(arguments.repetitions, say),
        "training": lambda: _measure_training(arguments.repetitions, say),
        "client": lambda: client_import.measure(arguments.repetitions, say),
    }
    figures = {name: measure() for name, measure in parts.items() if arguments.only in (None, name)}
    if arguments.only in (None, "index"):
        figures["index_mib_per_million"] = index_size.measure(say)
    return figures


def _measure_training(repetitions: int, say: Say) -> object:
    with TemporaryDirectory() as folder:
        return training.measure(Path(folder), repetitions, say)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="pinpoint bench speed", description=__doc__)
    parser.add_argument(
        "--sizes",
        type=_parse_counts,
        default=[10_000, 100_000],
        help="numbers of gallery images for `locate`, such as 10000,1000000",
    )
    parser.add_argument(
        "--queries", dest="num_queries", type=int, default=300, help="queries for each gallery"
    )
    parser.add_argument(
        "--workers", type=_parse_counts, default=[1, 2], help="numbers of workers for the ingest"
    )
    parser.add_argument(
        "--files", type=int, default=512, help="files of the ingest, photos of the job"
    )
    parser.add_argument(
        "--repetitions", type=int, default=3, help="repetitions of each measurement"
    )
    parser.add_argument(
        "--only",
        choices=(
            *("locate", "access", "judged", "decode", "index", "ingest", "jobs"),
            *("planet", "geoclip", "rerank", "aggregation", "verification", "training", "client"),
        ),
    )
    parser.add_argument(
        "--bundle",
        choices=("descriptor",),
        help="search with this bundle instead of the built-in one",
    )
    parser.add_argument("--json", type=Path, help="file for all results")
    return parser.parse_args()


def _parse_counts(value: str) -> list[int]:
    counts = [int(part) for part in value.split(",") if part.isdigit()]
    if not counts or min(counts) < 1 or len(counts) != value.count(",") + 1:
        raise argparse.ArgumentTypeError(f"{value!r} is no list of numbers like 10000,100000")
    return counts


def _measure_ingest(arguments: argparse.Namespace, say: Say) -> dict[str, object]:
    """Measure the flow in one process, then with workers."""
    with stack() as running:
        files = ingest.prepare(running, arguments.files, say)
        flow = ingest.measure(files, arguments.repetitions, say)
        files.parts.decoder.close()
        by_workers = workers.measure(running, files, arguments.workers, arguments.repetitions, say)
    return {"ingest": flow, "workers": by_workers}


def _measure_locate(size: int, arguments: argparse.Namespace, say: Say) -> dict[str, object]:
    """Measure all parts that need a gallery; the gallery is removed afterwards."""
    num_queries = arguments.num_queries
    choose_bundle = descriptor if arguments.bundle else tower
    with locate.prepared(size, num_queries, say, choose_bundle) as ready:
        figures: dict[str, object] = {"whole": end_to_end.measure(ready, num_queries)}
        figures["most"] = locate.measure(ready, num_queries)
        figures["1_percent"] = locate.measure(ready, num_queries // 4, 2)
        figures["dense"] = locate.measure(ready, num_queries // 4, 3)
        figures["plans"] = plans.measure(ready, num_queries=9)
        figures["memory"] = end_to_end.memory(ready)
        return figures


if __name__ == "__main__":
    main()
