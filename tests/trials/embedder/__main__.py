"""Make the table of a trained bundle: some minutes on two cores for `bench`, seconds for `tiny`."""

from __future__ import annotations

import argparse
import sys

from pinpoint.nets.bundle.bundles import find_bundle
from pinpoint.settings import ServiceSettings
from pinpoint.synthetic.presets import PRESETS
from trials.embedder import channel_slots
from trials.embedder.tables import make_table


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


parser = argparse.ArgumentParser(prog="pinpoint bench embedder", description=__doc__)
parser.add_argument("--preset", choices=tuple(PRESETS), default="bench")
parser.add_argument("--bundle", default="world-tiny", help="name or folder")
parser.add_argument(
    "--channels", action="store_true", help="make the table of candidates by channel instead"
)
parser.add_argument("--every", type=int, default=1, help="step through the queries of that table")
given = parser.parse_args()
bundle = find_bundle(given.bundle, ServiceSettings().home)
if given.channels:
    sys.stdout.write(channel_slots.make_table(given.preset, bundle, say=_say, every=given.every))
else:
    sys.stdout.write(make_table(given.preset, bundle, say=_say))
