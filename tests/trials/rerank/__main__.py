"""Make the reranker's tables: hours on two cores for `bench`, minutes for `small`.

What lies below `--home` already is not made again, so a run that was broken off goes on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from trials.rerank.ground import PRESETS, Ground
from trials.rerank.steps import ELSEWHERE, STEPS, play

parser = argparse.ArgumentParser(prog="trials.rerank", description=__doc__)
parser.add_argument("--home", type=Path, required=True, help="gets everything; may be gone on with")
parser.add_argument("--preset", choices=PRESETS, default="bench")
parser.add_argument("--seed", type=int, default=7)
parser.add_argument("--only", choices=tuple(STEPS), action="append", help="may be repeated")
parser.add_argument(
    "--trained",
    type=Path,
    help="home of another planet's run, whose bundle is asked about this one",
)
parser.add_argument(
    "--at-once", type=int, default=2, help="questions asked at a time, of each ranker"
)
parser.add_argument(
    "--of-each",
    type=int,
    help="so many of the test's questions of each kind, for ablations and for other planets",
)
given = parser.parse_args()
size = {name: getattr(given, name) for name in ("preset", "seed", "at_once", "of_each")}
ground = Ground(
    home=given.home.absolute(),
    trained=given.trained and Ground(home=given.trained.absolute(), **size),
    **size,
)
play(ground, tuple(given.only or (ELSEWHERE if given.trained else STEPS)))
if ground.tables.is_file():
    sys.stdout.write(ground.tables.read_text(encoding="utf-8"))
