"""The shipped bundle: its size, its planet, and agreement with its recipe."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pinpoint.nets.bundle.bundles import SHIPPED_FOLDER, copy_bundle, find_bundle, read_bundle
from pinpoint.nets.bundle.calibrations import write_calibration
from pinpoint.nets.bundle.specs import HeadsSpec
from pinpoint.nets.reranker.bundle_reranker import write_reranked
from pinpoint.nets.reranker.network import RerankerNetwork
from pinpoint.nets.runtime import open_encoder
from pinpoint.settings import EncoderSettings, SearchSettings
from pinpoint.synthetic.presets import GENERATOR, PRESETS, preset_digest
from pinpoint.training.reranker.config import read_reranker_config
from trials.embedder import channel_slots
from trials.embedder.tables import make_table
from trials.rerank.ship_reranker import ship

PAGES = Path(__file__).parents[2]
RESULTS = (PAGES / "docs" / "results.md").read_text(encoding="utf-8")
RECIPE = tomllib.loads((PAGES / "docs" / "configs" / "world-tiny.toml").read_text("utf-8"))
MOST_BYTES = 12_000_000


def test_shipped_bundle_is_small_and_matches_recipe(tmp_path):
    folder = SHIPPED_FOLDER / "world-tiny"
    assert sum(file.stat().st_size for file in folder.iterdir()) <= MOST_BYTES
    contract = read_bundle(folder).contract
    assert contract.note == RECIPE["note"]
    assert str(contract.tower) == RECIPE["tower"]
    assert contract.heads.training.steps == RECIPE["schedule"]["steps"]
    assert isinstance(contract.heads.image, HeadsSpec)
    assert contract.heads.image.kinds == ("photo", "street")
    # Another version of the planet needs another bundle and new tables.
    assert f"{GENERATOR}, preset bench" in contract.note
    assert preset_digest(PRESETS["bench"], 7) in contract.note
    assert find_bundle("world-tiny", tmp_path).contract == contract


def test_shipped_reranker_and_calibration_match_recipe(tmp_path):
    config = read_reranker_config(PAGES / "docs" / "configs" / "world-tiny-reranked.toml")
    bundle = read_bundle(SHIPPED_FOLDER / "world-tiny")
    part, calibration = bundle.contract.reranker, bundle.calibrations["rerank"]
    assert part.network == config.network.spec(256)
    assert part.evidence_radius_m == config.gallery.evidence_radius_m
    assert part.evidence_per_kind == config.gallery.evidence_per_kind
    assert 0 < part.training.steps <= config.schedule.steps
    assert (calibration.reranker_digest, calibration.bundle) == (part.weights.sha256, "world-tiny")
    assert calibration.data["planet"] == preset_digest(PRESETS["bench"], 7)
    encoder = open_encoder(EncoderSettings(bundle="world-tiny", device="cpu"), tmp_path, 512)
    assert encoder.contract.calibrations == {"rerank": calibration}, "with default settings"
    served = SearchSettings().model_dump(mode="json")
    assert {name: served[name] for name in calibration.search_settings} == dict(
        calibration.search_settings
    )


def test_ship_keeps_name_and_replaces_reranker(tmp_path):
    shipped = read_bundle(
        copy_bundle(SHIPPED_FOLDER / "world-tiny", tmp_path / "shipped").weights.parent
    )
    torch.manual_seed(3)
    trained = write_reranked(
        tmp_path / "trained",
        name="trained",
        bundle=shipped,
        network=RerankerNetwork(replace(shipped.contract.reranker.network, width=8, heads=2)),
        evidence_radius_m=500.0,
        evidence_per_kind=2,
        license="CC0-1.0",
    )
    weights = read_bundle(trained).contract.reranker.weights.sha256
    calibration = replace(shipped.calibrations["rerank"], reranker_digest=weights, bundle="trained")
    write_calibration(trained, calibration)
    ship(trained, tmp_path / "shipped")
    updated = read_bundle(tmp_path / "shipped")
    assert updated.contract.name == "world-tiny"
    assert updated.contract.reranker.weights.sha256 == weights
    assert updated.calibrations == {"rerank": replace(calibration, bundle="world-tiny")}
    assert updated.contract.heads == shipped.contract.heads
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shipped", "trained"]


def test_shipped_bundle_serves_image_and_gps_channels(tmp_path):
    encoder = open_encoder(EncoderSettings(bundle="world-tiny", device="cpu"), tmp_path, 512)
    assert encoder.contract.dims == {"image": 256, "gps": 256}
    images = list(np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), np.uint8))
    alone = [encoder.encode_query(image, "photo") for image in images]
    assert np.allclose(encoder.encode(images, "photo"), alone, atol=1e-5)


def test_results_channel_table_matches_bench_embedder(tmp_path):
    (block,) = re.findall(
        r"<!-- table: channels -->\n(.*?)<!-- end of table -->", RESULTS, re.DOTALL
    )
    made, documented = (
        [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
        for text in (
            channel_slots.make_table(
                "tiny", find_bundle("world-tiny", tmp_path), say=lambda text: None
            ),
            block,
        )
    )
    assert made[0] == documented[0]
    row_names = [(line[0], line[2]) for line in made]
    assert row_names == [(line[0], line[2]) for line in documented]
    assert f"preset `small`, seed 7, digest `{preset_digest(PRESETS['small'], 7)}`" in block


@pytest.mark.ci
def test_results_table_matches_bench_embedder(tmp_path):
    (block,) = re.findall(
        r"<!-- table: world-tiny -->\n(.*?)<!-- end of table -->", RESULTS, re.DOTALL
    )
    table, documented = (
        [line.split(" | ") for line in text.splitlines() if line.startswith("| ")]
        for text in (
            make_table("tiny", find_bundle("world-tiny", tmp_path), say=lambda text: None),
            block,
        )
    )
    assert table[0] == documented[0]
    assert [line[:2] for line in table] == [line[:2] for line in documented]
    assert all(len(line) == len(table[0]) for line in documented)
    assert f"preset `bench`, seed 7, digest `{preset_digest(PRESETS['bench'], 7)}`" in block
