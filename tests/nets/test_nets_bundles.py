"""Bundles: writing, reading, and error messages for invalid ones."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from nets.towers import TINY, clip_bundle, timm_bundle, timm_weights
from pinpoint.errors import BadBundleError, ConfigurationError, ConflictError
from pinpoint.nets.bundle.bundles import descriptor_bundle, find_bundle, read_bundle, resolve_bundle
from pinpoint.nets.bundle.checkpoint import write_bundle
from pinpoint.nets.bundle.contract import (
    CONTRACT_FILE,
    DESCRIPTOR_NAME,
    TowerSpec,
    descriptor_contract,
)
from pinpoint.nets.bundle.digests import digest
from pinpoint.nets.runtime import open_encoder
from pinpoint.settings import EncoderSettings


@pytest.fixture
def bundle(tmp_path):
    return timm_bundle(tmp_path / "bundles" / "tiny-timm")


def change(bundle, **changes):
    """Rewrite keys of a contract; `None` removes one."""
    path = bundle / "contract.json"
    contract = json.loads(path.read_text())
    for dotted, value in changes.items():
        *parents, key = dotted.split("__")
        section = contract
        for parent in parents:
            section = section[parent]
        if value is None:
            del section[key]
        else:
            section[key] = value
    path.write_text(json.dumps(contract))


def test_read_bundle_returns_what_was_written(bundle):
    contract = read_bundle(bundle).contract
    assert contract.name == "tiny-timm"
    assert str(contract.tower) == "timm:test_resnet"
    assert contract.preprocess == TINY
    assert contract.dims == {"image": 96}
    assert contract.weights.license == "CC0"
    assert sorted(path.name for path in bundle.iterdir()) == ["contract.json", "tower.safetensors"]
    assert sorted(path.name for path in bundle.parent.iterdir()) == [
        "timm.safetensors",
        "tiny-timm",
    ]


def test_write_bundle_twice_gives_same_bytes(bundle, tmp_path):
    again = timm_bundle(tmp_path / "again" / "tiny-timm")
    for name in ("contract.json", "tower.safetensors"):
        assert (again / name).read_bytes() == (bundle / name).read_bytes()


def test_write_bundle_into_existing_folder_is_refused(bundle):
    with pytest.raises(ConflictError, match="exists already"):
        timm_bundle(bundle)


def test_write_bundle_with_bad_name_leaves_no_files(tmp_path):
    weights = timm_weights(tmp_path / "w.safetensors")
    with pytest.raises(BadBundleError):
        write_bundle(
            tmp_path / "bundles" / "x",
            name="no such/name",
            tower=TowerSpec.parse("timm:test_resnet"),
            weights=weights,
            preprocess=TINY,
            license="CC0",
        )
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_write_bundle_interrupted_leaves_no_files(tmp_path, monkeypatch):
    monkeypatch.setattr("os.rename", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        timm_bundle(tmp_path / "tiny")
    assert [path.name for path in tmp_path.iterdir()] == ["timm.safetensors"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"surprise": 1}, "surprise"),
        ({"tower__surprise": 1}, "tower.surprise"),
        ({"preprocess__surprise": 1}, "preprocess.surprise"),
        ({"dims": None}, "dims: Field required"),
        ({"format": 1}, "has contract format 1; this version reads 2"),
        ({"calibrated": True}, "calibrated"),
        ({"heads": ["photo"]}, "heads"),
        ({"dims": {}}, "dims.image"),
        ({"dims": {"image": 0}}, "dims"),
        ({"dims": {"gps": 4}}, "dims"),
        ({"weights": None}, "weights: Field required"),
        ({"weights__file": "../elsewhere.safetensors"}, "weights.file"),
        ({"weights__file": "weights.pt"}, "weights.file"),
        ({"weights__sha256": "abc"}, "weights.sha256"),
        ({"weights__sha256": "0" * 64}, "SHA-256 is"),
        ({"weights__file": "absent.safetensors"}, "lacks its weights"),
        ({"preprocess__std": [0, 1, 1]}, "preprocess.std"),
        ({"preprocess__size_px": 1_000_000}, "preprocess.size_px"),
        ({"preprocess__interpolation": "nearest"}, "preprocess.interpolation"),
        ({"normalization": "none"}, "normalization"),
        ({"tower__library": "os"}, "tower.library"),
        ({"tower__library": "pinpoint"}, "must name a tower"),
        ({"tower__name": "hf-hub:somebody/something"}, "tower.name"),
        ({"tower__name": "../x"}, "tower.name"),
    ],
)
def test_read_bundle_with_invalid_contract_names_the_key(bundle, changes, words):
    change(bundle, **changes)
    with pytest.raises(BadBundleError) as caught:
        read_bundle(bundle)
    assert words in caught.value.message
    assert str(bundle) in caught.value.message


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"\xff\xfe", b'{"format": NaN}', b" " * 2_000_000]
)
def test_read_bundle_with_malformed_json_is_refused(bundle, text):
    (bundle / "contract.json").write_bytes(text)
    with pytest.raises(BadBundleError):
        read_bundle(bundle)


def test_read_bundle_with_changed_weights_is_refused(bundle):
    file = bundle / "tower.safetensors"
    tensors = load_file(file)
    first = next(iter(tensors))
    save_file({**tensors, first: tensors[first] + 1e-3}, file)
    with pytest.raises(BadBundleError, match="are not those of the contract"):
        read_bundle(bundle)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dims": {"image": 64}}, "a tower width of 64"),
        ({"tower__name": "test_vit"}, "do not fit"),
        ({"tower__name": "no_such_tower"}, "timm has no"),
        ({"tower__arguments": {"checkpoint_path": "x"}}, "not allowed: checkpoint_path"),
        ({"tower__arguments": {"global_pool": ""}}, "does not give one vector per image"),
    ],
)
def test_open_encoder_with_mismatched_tower_is_refused(bundle, tmp_path, changes, words):
    change(bundle, **changes)
    with pytest.raises(BadBundleError, match=words):
        open_encoder(EncoderSettings(bundle="tiny-timm", device="cpu"), tmp_path, 512)


def test_read_bundle_with_pickled_weights_is_refused(bundle):
    torch.save({"a": torch.zeros(1)}, bundle / "tower.safetensors")
    with pytest.raises(BadBundleError, match="are not those"):
        read_bundle(bundle)


def test_find_bundle_accepts_folder_and_name(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    by_name = find_bundle("tiny-timm", tmp_path).contract
    assert find_bundle(str(bundle), tmp_path / "elsewhere").contract == by_name
    assert find_bundle("bundles/tiny-timm", tmp_path / "elsewhere").contract == by_name
    assert find_bundle("descriptor", tmp_path).weights is None
    with pytest.raises(BadBundleError, match="there are descriptor, tiny-timm"):
        find_bundle("large", tmp_path)
    with pytest.raises(BadBundleError, match=r"it has no contract\.json"):
        find_bundle("bundles", tmp_path)


def test_encoder_handle_contract_does_not_import_torch(bundle):
    # The index owner reads it while it serves: loading torch would block every query.
    code = (
        "import sys; from pathlib import Path; from pinpoint.encoder_handle import EncoderHandle;"
        "from pinpoint.settings import EncoderSettings, Settings;"
        "settings = Settings(encoder=EncoderSettings(bundle=sys.argv[1]));"
        "print(EncoderHandle(settings).contract.name, 'torch' in sys.modules)"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code, str(bundle)], capture_output=True, text=True, check=True
    )
    assert completed.stdout.split() == ["tiny-timm", "False"]


def test_open_encoder_with_small_renditions_is_refused(bundle, tmp_path):
    with pytest.raises(ConfigurationError, match="PINPOINT_MEDIA_RENDITION_PX to 128"):
        open_encoder(EncoderSettings(bundle="descriptor"), tmp_path, 100)


def test_digest_covers_exactly_what_determines_vectors(bundle, tmp_path):
    first = digest(read_bundle(bundle).contract, 512)
    assert digest(read_bundle(bundle).contract, 384) != first
    change(bundle, note="Another note.", name="another", code_version="9", weights__license="MIT")
    change(bundle, tower__pretrained="tag")
    origin = {"file": "w.pth", "sha256": "0" * 64, "source": "https://example.org/w.pth"}
    change(bundle, weights__converted_from=origin)
    assert digest(read_bundle(bundle).contract, 512) == first
    change(bundle, preprocess__resize="squash")
    second = digest(read_bundle(bundle).contract, 512)
    change(bundle, tower__arguments={"pad_type": "same"})
    third = digest(read_bundle(bundle).contract, 512)
    clip = digest(read_bundle(clip_bundle(tmp_path / "clip")).contract, 512)
    assert len({first, second, third, clip, digest(descriptor_contract(), 512)}) == 5


def test_resolve_bundle_finds_folder_by_contract_digest(tmp_path):
    home = tmp_path / "home"
    below = timm_bundle(home / "bundles" / "any name")
    outside = timm_bundle(tmp_path / "outside")
    (home / "bundles" / "broken").mkdir()
    (home / "bundles" / "broken" / CONTRACT_FILE).write_text("{")
    contract_digest = digest(read_bundle(below).contract, 512)
    assert resolve_bundle(contract_digest, home, 512, DESCRIPTOR_NAME) == str(below)
    assert resolve_bundle(contract_digest, home, 512, str(outside)) == str(outside)
    assert (
        resolve_bundle(digest(descriptor_bundle().contract, 512), home, 512, "any")
        == DESCRIPTOR_NAME
    )
    below.rename(below.with_name(".draft"))
    for rendition_px, configured in ((512, DESCRIPTOR_NAME), (256, str(outside))):
        with pytest.raises(
            BadBundleError, match=f"no bundle here has the contract {contract_digest}"
        ):
            resolve_bundle(contract_digest, home, rendition_px, configured)
