"""`pinpoint train embedder`: from a planet's manifests to a bundle that serves."""

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
from pinpoint.errors import BadRequestError
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.nets.bundle.bundles import read_bundle
from pinpoint.nets.bundle.specs import feature_width
from pinpoint.nets.embedder.joint_embedding import load_location
from pinpoint.nets.runtime import open_encoder
from pinpoint.settings import EncoderSettings, ServiceSettings, Settings
from pinpoint.training.core.configs import read_config
from pinpoint.training.embedder.train_embedder import train_embedder
from training.embedder_runs import write_config

STEPS = 400


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    timm_bundle(home / "bundles" / "tiny-timm")
    return home


def command(home, planet, folder, name, steps=STEPS, changes=()):
    config = write_config(planet, folder, name, steps=steps, changes=changes)
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
    output, error = process.communicate(timeout=200)
    assert process.returncode == 0, error
    return folder, json.loads(output)


def test_train_embedder_report_matches_contract(trained, home):
    folder, report = trained
    contract = read_bundle(home / "bundles" / "whole").contract
    training = contract.heads.training
    assert (training.steps, training.data_fingerprint) == (STEPS, report["split"]["fingerprint"])
    bare = {f"bare tower {name}": share for name, share in report["bare_tower"].items()}
    assert training.metrics == {**report["validation"], **bare}
    assert report["validation"].keys() == report["bare_tower"].keys()
    assert report["rows"] == 144
    counts = [value for key, value in report["split"].items() if key != "fingerprint"]
    assert sum(counts) == 144
    assert (
        json.loads((folder / "whole" / "report.json").read_text()).keys() - {"run"} < report.keys()
    )


def test_trained_bundle_serves_kinds_and_positions(trained, home):
    bundle = home / "bundles" / "whole"
    encoder = open_encoder(EncoderSettings(bundle=str(bundle), device="cpu"), home, 512)
    image = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
    photo, street = (encoder.encode_query(image, kind) for kind in ("photo", "street"))
    assert photo.shape == street.shape == (24,)
    assert not np.allclose(photo, street)
    places = torch.tensor([[0.0, 180.0], [0.0, -180.0]], dtype=torch.float64)
    seam = load_location(read_bundle(bundle))(places)
    assert torch.allclose(seam[0], seam[1], atol=1e-5)


def test_train_embedder_with_raw_channel_writes_same_weights(trained, home, planet, tmp_path):
    """The run that has ended is resumed at its last step, because training is the same."""
    folder, _ = trained
    settings = Settings(services=ServiceSettings(home=home), encoder=EncoderSettings(device="cpu"))
    decoder = ChildDecoder(settings.media, children=1)
    changes = (("dim = 24", "dim = 24\nraw_channel = true"),)
    config = read_config(write_config(planet, tmp_path, "whole", steps=STEPS, changes=changes))
    assert config.networks.raw_channel
    into = tmp_path / "bundle"
    train_embedder(config, folder / "whole", settings=settings, decoder=decoder, into=into)
    decoder.close()
    with_raw, without = (read_bundle(path).contract for path in (into, home / "bundles" / "whole"))
    assert with_raw.dims == {**without.dims, "raw": feature_width(without.heads.image)}
    assert with_raw.heads.weights.sha256 == without.heads.weights.sha256


def test_train_embedder_into_existing_bundle_is_refused(trained, home, planet):
    folder, _ = trained
    process = command(home, planet, folder, "whole")
    _, error = process.communicate(timeout=100)
    assert process.returncode == 73
    assert "exists already" in error


@pytest.mark.ci
def test_train_embedder_after_kill_resumes_to_same_weights(trained, home, planet):
    folder, _ = trained
    process = command(home, planet, folder, "killed")
    checkpoint = folder / "killed" / "checkpoint.pt"
    until = time.monotonic() + 100
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (home / "bundles" / "killed").exists()
    assert 0 < torch.load(checkpoint, weights_only=True)["step"] < STEPS
    # Another number of steps makes another run, which the error message says.
    process = command(home, planet, folder, "killed", steps=STEPS + 1)
    _, error = process.communicate(timeout=100)
    assert process.returncode == 73
    assert "a run with another config" in error
    process = command(home, planet, folder, "killed")
    _, error = process.communicate(timeout=200)
    assert process.returncode == 0, error
    whole, again = (
        read_bundle(home / "bundles" / name).contract.heads for name in ("whole", "killed")
    )
    assert again.weights.sha256 == whole.weights.sha256
    assert again.training == whole.training


def test_train_embedder_with_invalid_config_fails_before_encoding(home, planet, tmp_path):
    settings = Settings(services=ServiceSettings(home=home), encoder=EncoderSettings(device="cpu"))
    decoder = ChildDecoder(settings.media, children=1)
    for old, new, words in (
        ('name = "bad"', 'name = "descriptor"', "is built in"),
        ("dim = 24", 'dim = 24\ndefault_kind = "satelite"', "default_kind: Input should be"),
        ("batch_size = 16", "batch_size = 15", "cannot be shared evenly"),
        ("[networks]", "[losses]\nimage_gps = 0\nimage_image = 0\n[networks]", "a weight above 0"),
        ('tower = "tiny-timm"', 'tower = "descriptor"', "not a bare tower"),
    ):
        config = write_config(planet, tmp_path, "bad", steps=STEPS, changes=((old, new),))
        where = {"settings": settings, "decoder": decoder, "into": tmp_path / "bundle"}
        with pytest.raises(BadRequestError, match=words):
            train_embedder(read_config(config), tmp_path / "bad", **where)
        assert not (tmp_path / "bad" / "features").exists()
    decoder.close()


def test_train_command_with_invalid_config_exits_with_usage_error(home, planet, tmp_path):
    process = command(
        home, planet, tmp_path, "bad", changes=(("batch_size = 16", "batch_size = 15"),)
    )
    _, error = process.communicate(timeout=100)
    assert process.returncode == 64
    assert "cannot be shared evenly" in error
    assert "Traceback" not in error
