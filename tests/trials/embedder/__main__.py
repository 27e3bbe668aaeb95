"""Make the table of a trained bundle: some minutes on two cores for `bench`, seconds for `tiny`."""

from __future__ import annotations

import argparse
import sys

from pinpoint.nets.bundle.bundles import find_bundle
from pinpoint.settings import ServiceSettings
from pinpoint.synthetic.presets import PRESETS
from trials.embedder.tables import make_table


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


parser = argparse.ArgumentParser(prog="pinpoint bench embedder", description=__doc__)
parser.add_argument("--preset", choices=tuple(PRESETS), default="bench")
parser.add_argument("--bundle", default="world-tiny", help="name or folder")
given = parser.parse_args()
sys.stdout.write(
    make_table(given.preset, find_bundle(given.bundle, ServiceSettings().home), say=_say)
)
