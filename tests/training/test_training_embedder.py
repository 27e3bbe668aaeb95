"""From a planet's manifests to a bundle that serves, by the command a user runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from nets.towers import timm_bundle
from pinpoint.nets.bundles import read_bundle
from pinpoint.nets.runtime import open_encoder
from pinpoint.nets.spaces import load_location
from pinpoint.settings import EncoderSettings

CONFIG = """
name = "{name}"
licence = "CC0-1.0"
note = "Trained on a synthetic planet."
tower = "tiny-timm"
sources = [
  {{ manifest = "{photos}", kind = "photo" }},
  {{ manifest = "{streets}", kind = "street" }},
]
[split]
share = 0.3
[networks]
dim = 24
hidden = 32
[schedule]
steps = {steps}
batch = 16
warm_steps = 5
checkpoint_steps = 10
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    timm_bundle(home / "bundles" / "tiny-timm")
    return home


def command(home, planet, folder, name, steps=40):
    made = planet.manifests()
    config = folder / f"{name}.toml"
    config.write_text(
        CONFIG.format(
            name=name,
            steps=steps,
            photos=made["train-photo"],
            streets=made["train-street"],
        )
    )
    environment = {**os.environ, "PINPOINT_HOME": str(home), "OMP_NUM_THREADS": "1"}
    words = ["train", "embedder", "--config", str(config), "--out", str(folder / name), "--json"]
    return subprocess.Popen(
        [sys.executable, "-m", "pinpoint.cli", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def trained(home, planet, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    process = command(home, planet, folder, "whole")
    said, error = process.communicate(timeout=200)
    assert process.returncode == 0, error
    return folder, json.loads(said)


def test_what_a_run_says_of_itself(trained, home):
    folder, said = trained
    contract = read_bundle(home / "bundles" / "whole").contract
    training = contract.heads.training
    assert (training.steps, training.data) == (40, said["split"]["fingerprint"])
    assert training.metrics == said["validation"]
    assert said["validation"].keys() == said["bare_tower"].keys()
    assert said["rows"] == 144
    counted = [value for key, value in said["split"].items() if key != "fingerprint"]
    assert sum(counted) == 144
    assert json.loads((folder / "whole" / "report.json").read_text()).keys() < said.keys()


def test_the_bundle_serves_both_kinds_and_places(trained, home):
    bundle = home / "bundles" / "whole"
    eye = open_encoder(EncoderSettings(bundle=str(bundle), device="cpu"), home, 512)
    picture = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
    photo, street = (eye.encode_query(picture, kind) for kind in ("photo", "street"))
    assert photo.shape == street.shape == (24,)
    assert not np.allclose(photo, street)
    places = torch.tensor([[0.0, 180.0], [0.0, -180.0]], dtype=torch.float64)
    seam = load_location(read_bundle(bundle))(places)
    assert torch.allclose(seam[0], seam[1], atol=1e-5)


def test_a_second_run_into_the_same_bundle_is_refused(trained, home, planet):
    folder, _ = trained
    process = command(home, planet, folder, "whole")
    _, error = process.communicate(timeout=100)
    assert process.returncode == 73
    assert "exists already" in error


def test_a_killed_run_goes_on_to_the_same_weights(trained, home, planet):
    folder, said = trained
    process = command(home, planet, folder, "killed", steps=4_000)
    checkpoint = folder / "killed" / "checkpoint.pt"
    until = time.monotonic() + 100
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (home / "bundles" / "killed").exists()
    assert torch.load(checkpoint, weights_only=True)["step"] < 4_000
    # Another length is another run, and is said to be one.
    process = command(home, planet, folder, "killed", steps=40)
    _, error = process.communicate(timeout=100)
    assert process.returncode == 73
    assert "a run of another config" in error
    checkpoint.unlink()
    process = command(home, planet, folder, "killed", steps=40)
    again, error = process.communicate(timeout=200)
    assert process.returncode == 0, error
    assert json.loads(again)["validation"] == said["validation"]
