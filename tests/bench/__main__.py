"""`make bench`: figures beside a bare baseline of the same run. Never a gate on absolute time."""

from __future__ import annotations

import os

# Two cores, several processes: OpenMP threads that spin while they wait slow everything down.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import json
from pathlib import Path

from rich.console import Console

from bench import ingest, locate, plans, report
from bench.stack import bench
from pinpoint import logs
from pinpoint.settings import LogSettings


def main() -> None:
    """Measure what was asked for, print tables, write JSON."""
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--images", type=int, default=100_000, help="rows of the locate gallery")
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--dense", type=int, default=5_000, help="images in the crowded square")
    parser.add_argument("--files", type=int, default=512, help="files of the ingest")
    parser.add_argument("--repetitions", type=int, default=3, help="of the ingest")
    parser.add_argument("--only", choices=("locate", "ingest"))
    parser.add_argument("--json", type=Path, help="write all figures here")
    given = parser.parse_args()
    console = Console(stderr=True)
    logs.configure(LogSettings(level="warning"))
    figures: dict[str, object] = {}
    with bench() as services:
        if given.only != "ingest":
            ready = locate.prepare(services, given.images, given.dense, console.log)
            figures["locate"] = locate.measure(ready, given.questions)
            figures["locate_1_percent"] = locate.measure(ready, given.questions // 4, 2)
            if given.dense:
                figures["locate_dense"] = locate.measure(ready, given.questions // 4, 3)
            figures["plans"] = plans.measure(ready, questions=9, dense=given.dense > 0)
        if given.only != "locate":
            files = ingest.prepare(services, given.files, console.log)
            figures["ingest"] = ingest.measure(files, given.repetitions, console.log)
            files.parts.decoder.close()
    report.show(figures)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
