"""Make the reranker's tables: hours on two cores for `bench`, minutes for `small`.

Results that exist below `--home` are not computed again, so an interrupted run continues.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from trials.rerank.bench_run import PRESETS, BenchRun
from trials.rerank.steps import ELSEWHERE, STEPS, run_steps

parser = argparse.ArgumentParser(prog="pinpoint bench reranker", description=__doc__)
parser.add_argument("--home", type=Path, required=True, help="folder of all results")
parser.add_argument("--preset", choices=PRESETS, default="bench")
parser.add_argument("--seed", type=int, default=7)
parser.add_argument("--only", choices=tuple(STEPS), action="append", help="may be repeated")
parser.add_argument(
    "--trained",
    type=Path,
    help="home of a run on another planet; evaluates its bundle on this planet",
)
parser.add_argument("--concurrency", type=int, default=2, help="queries at a time, for each ranker")
parser.add_argument(
    "--of-each",
    type=int,
    help="number of test queries of each kind, for ablations and other planets",
)
given = parser.parse_args()
size = {name: getattr(given, name) for name in ("preset", "seed", "concurrency", "of_each")}
bench = BenchRun(
    home=given.home.absolute(),
    trained=given.trained and BenchRun(home=given.trained.absolute(), **size),
    **size,
)
run_steps(bench, tuple(given.only or (ELSEWHERE if given.trained else STEPS)))
if bench.tables.is_file():
    sys.stdout.write(bench.tables.read_text(encoding="utf-8"))
