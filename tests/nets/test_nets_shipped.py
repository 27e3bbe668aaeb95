"""The bundle that comes along: small, whole, of this planet, made by the recipe that is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np

from pinpoint.nets.bundles import SHIPPED, find_bundle, read_bundle
from pinpoint.nets.runtime import open_encoder
from pinpoint.settings import EncoderSettings
from pinpoint.world.presets import GENERATOR, PRESETS, preset_digest
from trials.embedder.tables import made

PAGES = Path(__file__).parents[2]
README = (PAGES / "README.md").read_text(encoding="utf-8")
RECIPE = tomllib.loads((PAGES / "docs" / "configs" / "world-tiny.toml").read_text("utf-8"))
MOST_BYTES = 12_000_000


def test_it_is_small_and_says_what_made_it(tmp_path):
    folder = SHIPPED / "world-tiny"
    assert sum(file.stat().st_size for file in folder.iterdir()) <= MOST_BYTES
    contract = read_bundle(folder).contract
    assert contract.note == RECIPE["note"]
    assert str(contract.tower) == RECIPE["tower"]
    assert contract.heads.training.steps == RECIPE["schedule"]["steps"]
    assert contract.heads.image.kinds == ("photo", "street")
    # A planet of another version needs another bundle, and every table again.
    assert f"{GENERATOR}, preset bench" in contract.note
    assert preset_digest(PRESETS["bench"], 7) in contract.note
    assert find_bundle("world-tiny", tmp_path).contract == contract


def test_it_serves_both_channels(tmp_path):
    eye = open_encoder(EncoderSettings(bundle="world-tiny", device="cpu"), tmp_path, 512)
    assert eye.contract.dims == {"image": 256, "gps": 256}
    pictures = list(np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), np.uint8))
    alone = [eye.encode_query(picture, "photo") for picture in pictures]
    assert np.allclose(eye.encode(pictures, "photo"), alone, atol=1e-5)


def test_its_table_comes_from_the_command(tmp_path):
    (block,) = re.findall(
        r"<!-- table: world-tiny -->\n(.*?)<!-- end of table -->", README, re.DOTALL
    )
    here, there = (
        [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
        for text in (
            made("tiny", find_bundle("world-tiny", tmp_path), say=lambda text: None),
            block,
        )
    )
    assert here[0] == there[0]
    assert [line[:2] for line in here] == [line[:2] for line in there]
    assert all(len(line) == len(here[0]) for line in there)
    assert f"preset `bench`, seed 7, digest `{preset_digest(PRESETS['bench'], 7)}`" in block
