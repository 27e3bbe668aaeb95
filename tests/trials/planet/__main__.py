"""Make the planet's table: a dozen minutes on two cores for `bench`, seconds for `tiny`."""

from __future__ import annotations

import argparse
import sys

from pinpoint.synthetic.presets import PRESETS
from trials.planet import oracle_observer
from trials.planet.tables import STEPS, make_table


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


parser = argparse.ArgumentParser(prog="pinpoint bench planet", description=__doc__)
parser.add_argument("--preset", choices=tuple(PRESETS), default="bench")
parser.add_argument("--seed", type=int, default=7)
parser.add_argument("--steps", type=int, default=STEPS, help="of the probe at most")
parser.add_argument(
    "--eye", action="store_true", help="make the table of the oracle observer instead"
)
parser.add_argument("--every", type=int, default=7, help="step through the observer's queries")
given = parser.parse_args()
if given.eye:
    sys.stdout.write(
        oracle_observer.make_table(given.preset, given.seed, every=given.every, say=_say)
    )
else:
    sys.stdout.write(make_table(given.preset, given.seed, steps=given.steps, say=_say))
