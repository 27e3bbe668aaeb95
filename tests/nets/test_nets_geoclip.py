"""GeoCLIP: parity with the real package, reading of its files, and error messages."""

import hashlib
import math
import pickle
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from nets.geoclip_package import package_folder, reference
from pinpoint.errors import BadBundleError, UnavailableError
from pinpoint.nets.geoclip.files import gallery_coordinates, read_geoclip
from pinpoint.nets.geoclip.network import (
    GeoClipLocation,
    build_geoclip,
    encode_positions,
    equal_earth,
)
from pinpoint.records import CoordinateGallery, SearchFilter
from pinpoint.search.coordinate_search import compare_coordinates

FILES = (
    "weights/location_encoder_weights.pth",
    "weights/image_encoder_mlp_weights.pth",
    "weights/logit_scale_weights.pth",
    "gps_gallery/coordinates_100K.csv",
)


@pytest.fixture(scope="module")
def tensors():
    package_folder()
    return read_geoclip()


@pytest.fixture(scope="module")
def ours(tensors):
    return build_geoclip(tensors)


@pytest.fixture(scope="module")
def theirs():
    return reference()


@pytest.fixture
def unpacked(tmp_path):
    """A folder with links to the package's files; a test replaces those it corrupts."""
    for name in FILES:
        link = tmp_path / "unpacked" / "geoclip" / "model" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(package_folder() / "model" / name)
    return tmp_path / "unpacked"


def grid_and_random_positions(count, seed=0):
    """Poles, antimeridian and equator, then random positions, uniform over the sphere."""
    rng = np.random.default_rng(seed)
    edges: list[tuple[float, float]]
    edges = [(lat, lon) for lat in (90, -90) for lon in (-180, -90, 0, 0.001, 180)]
    edges += [(lat, lon) for lat in range(-90, 91, 5) for lon in (-180, 180)]
    edges += [(0.0, lon) for lon in range(-180, 181, 10)]
    lat = np.degrees(np.arcsin(rng.uniform(-1, 1, count - len(edges))))
    lon = rng.uniform(-180, 180, count - len(edges))
    return torch.tensor(np.vstack([edges, np.column_stack([lat, lon])]), dtype=torch.float32)


def features(count, seed=1):
    """Random features as a CLIP tower returns them, without unit length."""
    return torch.randn(count, 768, generator=torch.Generator().manual_seed(seed)) * 0.5


# --- parity ---------------------------------------------------------------------------------


@torch.inference_mode()
def test_geoclip_location_vectors_agree_with_package(ours, theirs):
    at = grid_and_random_positions(2_000)
    expected = theirs.location_encoder(at)
    assert expected.abs().max() > 0.05
    torch.testing.assert_close(ours.location(at), expected, rtol=0, atol=1e-5)
    unit = torch.nn.functional.normalize(expected, dim=1)
    torch.testing.assert_close(ours.location.unit(at), unit, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_geoclip_image_vectors_agree_with_package(ours, theirs):
    inputs = features(1_000)
    expected = theirs.image_encoder(inputs)
    assert expected.abs().max() > 0.05
    torch.testing.assert_close(ours.image(inputs), expected, rtol=0, atol=1e-5)


def test_geoclip_ranking_agrees_with_package(ours, theirs):
    """Every 20th coordinate; `tests/trials/test_geoclip.py` compares all 100,000."""
    assert_ranking_agrees(ours, theirs, stride=20)


@torch.inference_mode()
def assert_ranking_agrees(ours, theirs, *, stride):
    queries, at = features(200), gallery_coordinates()
    np.testing.assert_array_equal(at.astype(np.float32), theirs.gps_gallery.numpy())
    at, gps_gallery = at[::stride], theirs.gps_gallery[::stride]
    expected = theirs(queries, gps_gallery)
    vectors = torch.from_numpy(encode_positions(ours.location, at))
    found = ours.logit_scale.exp() * (ours.image.unit(queries) @ vectors.T)
    assert_same_ranking(found, expected)
    gallery = CoordinateGallery(
        positions=at, vectors=vectors.numpy(), temperature=float(ours.logit_scale.exp()), digest=""
    )
    for feature, scores in zip(queries[:10], expected[:10], strict=True):
        served = compare_coordinates(
            ours.image.unit(feature[None])[0].numpy(), gallery, SearchFilter()
        )
        shares, order = scores.softmax(dim=0).sort(descending=True)
        np.testing.assert_allclose(served.weight, shares.numpy(), rtol=1e-3)
        first = gps_gallery[order[:5]].numpy()
        np.testing.assert_array_equal(served.positions[:5].astype(np.float32), first)


def assert_same_ranking(found, expected):
    """Scores `[B, N]` have the same order of all N, with ties in any order.

    Positions are tied if their reference scores differ by less than the rounding error.
    """
    tie = 1e-5
    for ours_scores, scores in zip(found, expected, strict=True):
        ours_order = ours_scores.sort(descending=True, stable=True).indices
        order = scores.sort(descending=True, stable=True).indices
        at_each_rank = (scores[ours_order] - scores[order]).abs()
        assert at_each_rank.max() <= tie
        assert (ours_order == order).float().mean() > 0.99


def test_equal_earth_agrees_with_formula_of_paper():
    a = (1.340264, -0.081106, 0.000893, 0.003796)
    for lat, lon in grid_and_random_positions(300).tolist():
        theta = math.asin(math.sqrt(3) / 2 * math.sin(math.radians(lat)))
        slope = a[0] + 3 * a[1] * theta**2 + 7 * a[2] * theta**6 + 9 * a[3] * theta**8
        x = 2 * math.sqrt(3) * math.radians(lon) * math.cos(theta) / (3 * slope)
        y = a[0] * theta + a[1] * theta**3 + a[2] * theta**7 + a[3] * theta**9
        (found,) = equal_earth(torch.tensor([[lat, lon]])).tolist()
        assert found == pytest.approx([x * 66.50336 / 180, y * 66.50336 / 180], abs=1e-6)
    # Half width and half height of the map by PROJ's `eqearth` on a sphere of radius 1.
    corner = equal_earth(torch.tensor([[0.0, 180.0], [90.0, 0.0]])) * 180 / 66.50336
    assert corner.diagonal().tolist() == pytest.approx([2.7066300, 1.3173628], abs=1e-6)


# --- properties -----------------------------------------------------------------------------


@torch.inference_mode()
def test_geoclip_location_vector_is_independent_of_batch(ours):
    at = grid_and_random_positions(256)[-64:]
    together = ours.location.unit(at)
    alone = torch.cat([ours.location.unit(at[i : i + 1]) for i in range(64)])
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(ours.location.unit(at[order]), together[order], rtol=0, atol=1e-5)
    assert torch.equal(ours.location.unit(at), together)
    blocks = encode_positions(ours.location, at.numpy().astype(np.float64))
    np.testing.assert_allclose(blocks, together.numpy(), rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(blocks, axis=1), 1.0, atol=1e-6)


@torch.inference_mode()
def test_geoclip_location_is_discontinuous_at_antimeridian_and_pole(ours):
    pairs = torch.tensor([[20.0, 180.0], [20.0, -180.0], [90.0, 0.0], [90.0, 90.0]])
    vectors = ours.location.unit(pairs)
    assert vectors[0] @ vectors[1] < 0.9
    assert vectors[2] @ vectors[3] < 0.9


@torch.inference_mode()
def test_geoclip_location_under_autocast_is_unchanged(ours):
    at = grid_and_random_positions(128)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        within = ours.location(at)
    assert torch.equal(within, ours.location(at))


@pytest.mark.parametrize(
    ("positions", "words"),
    [
        ([[48.0, 2.0, 1.0]], r"\[B, 2\]"),
        ([48.0, 2.0], r"\[B, 2\]"),
        ([[48.0, 2.0], [100.0, 2.0]], "row 1 is not a position"),
        ([[48.0, -180.5]], "row 0 is not a position"),
        ([[math.nan, 2.0]], "row 0 is not a position"),
    ],
)
def test_geoclip_location_with_invalid_position_is_refused(positions, words):
    with pytest.raises(ValueError, match=words):
        GeoClipLocation()(torch.tensor(positions))


# --- files ----------------------------------------------------------------------------------


def test_geoclip_weights_survive_safetensors_round_trip(tensors, ours, tmp_path):
    save_file(tensors, tmp_path / "geoclip.safetensors")
    again = build_geoclip(load_file(tmp_path / "geoclip.safetensors"))
    at = grid_and_random_positions(200)
    assert torch.equal(again.location(at), ours.location(at))
    assert torch.equal(again.image(features(5)), ours.image(features(5)))
    assert again.logit_scale.item() == pytest.approx(3.6810, abs=1e-4)
    assert {name.split(".")[0] for name in tensors} == {"location", "image", "logit_scale"}


def test_build_geoclip_leaves_random_state_unchanged(tensors):
    torch.manual_seed(4)
    expected = torch.rand(1)
    torch.manual_seed(4)
    build_geoclip(tensors)
    assert torch.rand(1) == expected


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"logit_scale": None}, "they lack logit_scale"),
        ({"tower.weight": torch.zeros(1)}, "have unknown tower.weight"),
        ({"image.layers.2.bias": torch.zeros(256)}, r"layers.2.bias is torch.float32 \[256\]"),
        ({"logit_scale": torch.tensor(1.0).half()}, "logit_scale is torch.float16"),
        ({"image.layers.2.bias": torch.full((512,), math.nan)}, "not finite"),
    ],
)
def test_build_geoclip_with_mismatched_tensors_is_refused(tensors, changes, words):
    changed = {
        name: tensor for name, tensor in {**tensors, **changes}.items() if tensor is not None
    }
    with pytest.raises(BadBundleError, match=words):
        build_geoclip(changed)


def test_read_geoclip_accepts_wheel_folder_and_package(tensors, unpacked, tmp_path):
    with zipfile.ZipFile(tmp_path / "geoclip.whl", "w") as wheel:
        for name in FILES:
            wheel.write(unpacked / "geoclip" / "model" / name, f"geoclip/model/{name}")
    sources = (unpacked, unpacked / "geoclip", unpacked / "geoclip/model", tmp_path / "geoclip.whl")
    for source in sources:
        found = read_geoclip(source)
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[name], tensors[name]) for name in tensors)
    np.testing.assert_array_equal(
        gallery_coordinates(tmp_path / "geoclip.whl"), gallery_coordinates()
    )


def test_read_geoclip_does_not_import_package():
    package_folder()
    code = (
        "import sys; from pinpoint.nets.geoclip.files import read_geoclip;"
        "print(len(read_geoclip()), [n for n in sys.modules if n.startswith('geoclip')])"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert completed.stdout.strip() == "32 []"


class _Harmful:
    def __init__(self, mark):
        self._mark = mark

    def __reduce__(self):
        return (open, (str(self._mark), "w"))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("corruption", ["changed", "shorter", "longer", "code"])
def test_read_geoclip_with_changed_file_is_refused_without_unpickling(
    unpacked, tmp_path, name, corruption
):
    file = unpacked / "geoclip" / "model" / name
    data = bytearray(file.read_bytes())
    file.unlink()
    middle = len(data) // 2
    file.write_bytes(
        {
            "changed": data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :],
            "shorter": data[:-1],
            "longer": data + b"\0" * 100,
            "code": pickle.dumps(_Harmful(tmp_path / "mark")),
        }[corruption]
    )
    with pytest.raises(BadBundleError, match="is not that of geoclip") as caught:
        (gallery_coordinates if name.endswith(".csv") else read_geoclip)(unpacked)
    assert name in caught.value.message
    if corruption == "changed":
        assert hashlib.sha256(file.read_bytes()).hexdigest() in caught.value.message
    assert not (tmp_path / "mark").exists()


def test_read_geoclip_with_missing_files_names_them(unpacked, tmp_path):
    shutil.rmtree(unpacked / "geoclip" / "model" / "weights")
    with pytest.raises(BadBundleError, match=r"weights/logit_scale_weights\.pth"):
        read_geoclip(unpacked)
    (tmp_path / "no.whl").write_bytes(b"PK no wheel")
    with pytest.raises(BadBundleError, match=r"no\.whl is not geoclip"):
        read_geoclip(tmp_path / "no.whl")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as wheel:
        wheel.writestr("other/__init__.py", "")
    with pytest.raises(BadBundleError, match=r"other\.whl is not geoclip"):
        read_geoclip(tmp_path / "other.whl")


def test_read_geoclip_without_package_names_the_command(tmp_path, monkeypatch):
    with pytest.raises(UnavailableError, match="does not exist; name a wheel"):
        read_geoclip(tmp_path / "absent")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="pip install --no-deps geoclip==") as caught:
        gallery_coordinates()
    assert caught.value.reason == "weights_unavailable"
