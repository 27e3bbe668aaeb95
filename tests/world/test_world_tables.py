"""The table of docs/planet.md comes from a command, which is run here on the smallest planet."""

from __future__ import annotations

import re
from pathlib import Path

from pinpoint.world.presets import GENERATOR, PRESETS, preset_digest
from trials.planet.tables import made

PAGE = (Path(__file__).parents[2] / "docs" / "planet.md").read_text(encoding="utf-8")


def lines(text):
    return [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]


def test_the_command_makes_the_table_of_the_page():
    (block,) = re.findall(r"<!-- table: planet -->\n(.*?)<!-- end of table -->", PAGE, re.DOTALL)
    here, there = lines(made("tiny", 7, steps=3, say=lambda text: None)), lines(block)
    assert here[0] == there[0]
    assert [line[:2] for line in here] == [line[:2] for line in there]
    assert all(len(line) == len(here[0]) for line in there)


def test_the_page_quotes_this_planet():
    assert (
        f"{GENERATOR}, preset `bench`, seed 7, digest `{preset_digest(PRESETS['bench'], 7)}`"
        in (" ".join(PAGE.split()))
    )
