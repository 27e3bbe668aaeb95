"""`pinpoint bundles`: weights are imported completely, verified, or rejected with a message."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from nets.published_layouts import boq_resnet50, random_tensors
from nets.towers import timm_bundle, timm_weights
from pinpoint.cli.main import main
from pinpoint.nets.bundle.bundles import file_sha256
from pinpoint.nets.place_recognition.published import PUBLISHED_NETWORKS
from pinpoint.nets.runtime import open_encoder
from pinpoint.settings import BUILT_IN_BUNDLE, EncoderSettings
from shared_data import shared_data


@pytest.fixture
def pinpoint(tmp_path, monkeypatch, capsys):
    """Runs a command on an empty home; returns exit code, stdout (parsed with `--json`), stderr."""
    monkeypatch.setenv("PINPOINT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["pinpoint", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        output = (
            json.loads(captured.out) if "--json" in arguments and captured.out else captured.out
        )
        return ended.value.code or 0, output, captured.err

    return run


SHIPPED = ("descriptor", BUILT_IN_BUNDLE, "world-tiny")


def names(pinpoint):
    _, document, _ = pinpoint("bundles", "list", "--json")
    return {bundle["name"]: bundle["problem"] for bundle in document["bundles"]}


def test_bundles_import_folder_copies_it_once(pinpoint, tmp_path):
    folder = timm_bundle(tmp_path / "elsewhere" / "tiny")
    assert names(pinpoint) == dict.fromkeys(SHIPPED)
    code, document, _ = pinpoint("bundles", "import", folder, "--json")
    assert (code, document["name"], document["tower"]) == (0, "tiny-timm", "timm:test_resnet")
    assert names(pinpoint) == {**dict.fromkeys(SHIPPED), "tiny-timm": None}
    code, again, _ = pinpoint("bundles", "show", "tiny-timm", "--json")
    assert (code, again) == (0, document)
    code, _, error = pinpoint("bundles", "import", folder)
    assert code == 73
    assert "exists already" in error
    code, _, error = pinpoint("bundles", "import", folder, "--name", "other")
    assert code != 0
    assert "is called tiny-timm" in error


def test_bundles_import_weights_file_creates_a_usable_bundle(pinpoint, tmp_path, monkeypatch):
    weights = timm_weights(tmp_path / "w.safetensors")
    code, _, error = pinpoint("bundles", "import", weights)
    assert code != 0
    assert "needs --tower, --name and --license" in error
    options = ("--tower", "timm:test_resnet", "--name", "own", "--license", "CC0", "--json")
    code, output, error = pinpoint("bundles", "import", weights, *options)
    assert (code, output["width"], output["license"]) == (0, 96, "CC0"), error
    code, output, _ = pinpoint("bundles", "verify", "own")
    assert (code, output.split(":")[0]) == (0, "own")
    assert pinpoint("bundles", "show", "own", "--json")[1]["used"] is False
    monkeypatch.setenv("PINPOINT_BUNDLE", "own")
    assert pinpoint("bundles", "show", "own", "--json")[1]["used"] is True
    assert "tiny-timm" not in pinpoint("bundles", "list")[1]


def test_bundles_import_tower_arguments_become_part_of_the_contract(pinpoint, tmp_path):
    """The published weights of MobileNet v1 are right with the padding of their first framework."""
    weights = shared_data() / "weights" / "mobilenet_v1_imagenet.safetensors"
    options = ("--tower", "timm:mobilenetv1_100", "--license", "Apache-2.0")
    for name, more in (("same", ("--tower-arg", "pad_type=same")), ("plain", ())):
        code, _, error = pinpoint("bundles", "import", weights, "--name", name, *options, *more)
        assert code == 0, error
    code, same, _ = pinpoint("bundles", "show", "same", "--json")
    plain = pinpoint("bundles", "show", "plain", "--json")[1]
    assert (same["tower_arguments"], plain["tower_arguments"]) == ({"pad_type": "same"}, {})
    assert (same["width"], same["input_px"]) == (1024, 224)
    assert same["preprocess"]["mean"] == same["preprocess"]["std"] == [0.5, 0.5, 0.5]
    assert same["weights_sha256"] == plain["weights_sha256"]
    assert same["digest"] != plain["digest"]
    assert "tower_arguments\n  pad_type      same\n" in pinpoint("bundles", "show", "same")[1]
    assert "tower_arguments –\n" in pinpoint("bundles", "show", "plain")[1]
    picture = np.asarray(np.random.default_rng(3).integers(0, 255, (240, 320, 3)), dtype=np.uint8)
    vectors = [
        open_encoder(EncoderSettings(bundle=name, device="cpu"), tmp_path / "home", 512).encode(
            [picture]
        )[0]
        for name in ("same", "plain")
    ]
    assert float(vectors[0] @ vectors[1]) < 0.999  # the padding is in the network, not in a note


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("pad_type", "must be written NAME=VALUE"),
        ("pad_type=smae", "it takes same or valid"),
        ("pretrained=x", "not allowed: pretrained"),
        ("checkpoint_path=x", "not allowed: checkpoint_path"),
        ("img_size=7", "it takes 8 to 4096"),
        ("dynamic_img_size=1", "it takes true or false"),
        ("global_pool=none", "cannot build timm:test_resnet with global_pool=none"),
    ],
)
def test_bundles_import_with_unknown_tower_argument_is_rejected(
    pinpoint, tmp_path, argument, words
):
    weights = timm_weights(tmp_path / "w.safetensors")
    options = ("--tower", "timm:test_resnet", "--name", "own", "--license", "CC0")
    code, _, error = pinpoint("bundles", "import", weights, *options, "--tower-arg", argument)
    assert code in (64, 78)
    assert words in error
    assert not (tmp_path / "home" / "bundles" / "own").exists()


def test_bundles_list_with_changed_weights_shows_the_problem(pinpoint, tmp_path):
    pinpoint("bundles", "import", timm_bundle(tmp_path / "elsewhere" / "tiny"))
    weights = next((tmp_path / "home" / "bundles" / "tiny-timm").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    assert "SHA-256" in names(pinpoint)["tiny-timm"]
    for command in ("show", "verify"):
        code, _, error = pinpoint("bundles", command, "tiny-timm")
        assert code != 0
        assert "are not those of the contract" in error
    code, _, error = pinpoint("bundles", "import", weights.parent)
    assert code != 0
    assert "Traceback" not in error


def test_bundles_import_that_fails_leaves_no_files(pinpoint, tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors")
    options = ("--tower", "timm:test_resnet", "--license", "CC0")
    for name, what in (("own", tmp_path / "bad.safetensors"), ("../own", tmp_path / "nowhere")):
        code, _, error = pinpoint("bundles", "import", what, "--name", name, *options)
        assert code != 0
        assert error.startswith("pinpoint: ")
    weights = timm_weights(tmp_path / "w.safetensors")
    code, _, error = pinpoint("bundles", "import", weights, "--name", "../own", *options)
    assert code != 0
    assert "a bundle cannot be called '../own'" in error
    below = tmp_path / "home" / "bundles"
    assert not below.exists() or list(below.iterdir()) == []
    assert not (tmp_path / "home" / "own").exists()


def test_bundles_pull_with_unknown_tower_and_tag_is_rejected_before_download(pinpoint):
    for tower, tag, words in (
        ("open_clip:ViT-B-32", "openai", "choose the -quickgelu name"),
        ("open_clip:ViT-B-32", "nothing", "nothing"),
        ("clip", "openai", "must be written open_clip:NAME or timm:NAME"),
    ):
        options = ("--tag", tag, "--name", "clip", "--license", "MIT")
        code, _, error = pinpoint("bundles", "pull", tower, *options)
        assert code != 0
        assert words in error
        assert error.startswith("pinpoint: ")


def test_bundles_import_geoclip_requires_its_tower(pinpoint, tmp_path):
    code, _, error = pinpoint("bundles", "import", "geoclip")
    assert code != 0
    assert "--clip-bundle clip" in error
    assert pinpoint("bundles", "import", timm_bundle(tmp_path / "elsewhere" / "tiny"))[0] == 0
    code, _, error = pinpoint("bundles", "import", "geoclip", "--clip-bundle", "tiny-timm")
    assert code != 0
    assert "GeoCLIP was trained behind open_clip:ViT-L-14-quickgelu" in error
    assert names(pinpoint) == {**dict.fromkeys(SHIPPED), "tiny-timm": None}


def test_bundles_import_published_network_converts_its_file(pinpoint, tmp_path):
    """The smallest published network in full size, with random weights."""
    file = tmp_path / "resnet50_16384.pth"
    torch.save(random_tensors(boq_resnet50()), file)
    options = ("--name", "boq", "--size-px", 96, "--json")
    code, output, error = pinpoint("bundles", "import", "boq-resnet50", "--weights", file, *options)
    assert code == 0, error
    assert (output["tower"], output["width"]) == ("place_recognition:boq-resnet50", 16_384)
    assert (output["input_px"], output["preprocess"]["interpolation"]) == (96, "bicubic")
    assert output["converted_from"] == {
        "file": "resnet50_16384.pth",
        "sha256": file_sha256(file),
        "source": PUBLISHED_NETWORKS["boq-resnet50"].source,
    }
    assert "MIT" in output["license"]
    assert "not checked by Pinpoint" in output["note"]
    # The bundle does not need the published file.
    file.unlink()
    files = {path.name for path in (tmp_path / "home" / "bundles" / "boq").iterdir()}
    assert files == {"contract.json", "tower.safetensors"}
    encoder = open_encoder(
        EncoderSettings(bundle="boq", device="cpu"), tmp_path / "home", rendition_px=512
    )
    pictures = [np.full((120, 160, 3), shade, dtype=np.uint8) for shade in (20, 200)]
    vectors = encoder.encode(pictures)
    assert vectors.shape == (2, 16_384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(2), abs=1e-5)
    assert vectors[1] == pytest.approx(encoder.encode(pictures[1:])[0], abs=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("missing", "lack aggregation.mixing.bias"),
        ("unknown", "have unknown aggregator.extra"),
        ("shape", r"have wrong shapes: aggregation.mixing.weight [32, 64] instead of [32, 128]"),
        ("infinite", "aggregation.mixing.bias has values that are not finite"),
    ],
)
def test_bundles_import_published_network_with_another_file_is_refused(
    pinpoint, tmp_path, change, words
):
    layout = boq_resnet50()
    if change == "missing":
        del layout["aggregator.fc.bias"]
    if change == "unknown":
        layout["aggregator.extra"] = (3,)
    if change == "shape":
        layout["aggregator.fc.weight"] = (32, 64)
    tensors = {name: torch.zeros(shape) for name, shape in layout.items()}
    if change == "infinite":
        tensors["aggregator.fc.bias"][3] = float("nan")
    torch.save(tensors, tmp_path / "w.pth")
    options = ("--weights", tmp_path / "w.pth")
    code, _, error = pinpoint("bundles", "import", "boq-resnet50", *options)
    assert code == 78
    assert words in error
    below = tmp_path / "home" / "bundles"
    assert not below.exists() or list(below.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("megaloc",), "needs its weights file. Download https://huggingface.co/gberton/MegaLoc"),
        (("megaloc", "--weights", "absent.pth"), "absent.pth does not exist"),
        (("megaloc", "--license", "MIT"), "leave --license, --tower and --tower-arg out"),
        (("SuperPoint",), "SuperPoint is not offered: its license forbids commercial use"),
        (("nothing", "--weights", "w.pth"), "--weights is for a published network"),
        (
            ("boq-resnet50", "--weights", __file__, "--aggregation", "avg"),
            "has an aggregation of its own",
        ),
    ],
)
def test_bundles_import_published_network_with_bad_arguments_is_rejected(
    pinpoint, arguments, words
):
    code, _, error = pinpoint("bundles", "import", *arguments)
    assert code == 64
    assert words in error
