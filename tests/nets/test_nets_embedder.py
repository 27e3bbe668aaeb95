"""The encoder: unit vectors, independence of the batch, bit-equal query vectors."""

import threading

import numpy as np
import pytest
import torch

from nets.towers import clip_bundle, random_images, timm_bundle
from pinpoint.errors import BadBundleError, ConfigurationError
from pinpoint.nets.bundle.contract import Preprocess
from pinpoint.nets.embedder.embedder import Embedder
from pinpoint.nets.runtime import choose_device, open_encoder
from pinpoint.records import Contract
from pinpoint.settings import EncoderSettings

DIMS = {"descriptor": 384, "tiny-timm": 96, "tiny-clip": 48}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    timm_bundle(folder / "bundles" / "tiny-timm")
    clip_bundle(folder / "bundles" / "tiny-clip")
    return folder


@pytest.fixture(scope="module", params=list(DIMS))
def encoder(request, home):
    return open_encoder(EncoderSettings(bundle=request.param, device="cpu"), home, 512)


@pytest.fixture(scope="module")
def images():
    return random_images(64, seed=9)


def test_encode_returns_unit_vectors(encoder, images):
    vectors = encoder.encode(images)
    assert vectors.dtype == np.float32
    assert vectors.shape == (64, DIMS[encoder.contract.name])
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float64), axis=1), 1, atol=1e-6)
    assert encoder.encode([]).shape == (0, DIMS[encoder.contract.name])


def test_encode_row_is_independent_of_batch_and_order(encoder, images):
    together = encoder.encode(images)
    alone = np.concatenate([encoder.encode([image]) for image in images[::4]])
    np.testing.assert_allclose(alone, together[::4], atol=1e-5, rtol=0)
    order = np.random.default_rng(3).permutation(64)
    shuffled = encoder.encode([images[row] for row in order])
    np.testing.assert_allclose(shuffled, together[order], atol=1e-5, rtol=0)
    # Different images have different vectors, or the assertions above would prove nothing.
    assert np.abs(together[:, None] - together).max(axis=-1)[~np.eye(64, dtype=bool)].min() > 1e-4


@pytest.mark.parametrize("batch", [1, 7, 200])
def test_encode_is_independent_of_encode_batch(batch, home, images):
    usual = open_encoder(EncoderSettings(bundle="tiny-timm", device="cpu"), home, 512)
    other = open_encoder(
        EncoderSettings(bundle="tiny-timm", device="cpu", encode_batch=batch), home, 512
    )
    subset = images[:20]
    np.testing.assert_allclose(other.encode(subset), usual.encode(subset), atol=1e-5, rtol=0)


def test_encode_query_under_concurrency_is_bit_equal(encoder, images):
    first = encoder.encode_query(images[0])
    assert first.shape == (DIMS[encoder.contract.name],)
    np.testing.assert_allclose(first, encoder.encode(images[:8])[0], atol=1e-5, rtol=0)
    answers, done = [], threading.Event()

    def encode_others():
        while not done.is_set():
            encoder.encode(images[1:17], kind="street")

    def encode_queries():
        answers.extend(encoder.encode_query(images[0]).tobytes() for _ in range(10))

    busy = threading.Thread(target=encode_others)
    callers = [threading.Thread(target=encode_queries) for _ in range(5)]
    busy.start()
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    done.set()
    busy.join()
    assert answers == [first.tobytes()] * 50


def test_encoder_contract_describes_output(encoder):
    contract = encoder.contract
    assert contract.dims == {"image": DIMS[contract.name]}
    assert contract.rendition_px == 512
    assert contract.calibrated is False
    assert contract.note
    assert len(contract.digest) == 64


def test_open_encoder_twice_gives_same_vectors(encoder, home, images):
    again = open_encoder(EncoderSettings(bundle=encoder.contract.name, device="cpu"), home, 512)
    assert again.contract == encoder.contract
    np.testing.assert_array_equal(again.encode_query(images[5]), encoder.encode_query(images[5]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
def test_encode_of_non_finite_or_zero_vector_raises(value):
    class Broken(torch.nn.Module):
        def forward(self, pixels):
            out = torch.ones(len(pixels), 4)
            out[2:3] = value
            return out

    contract = Contract(
        name="broken",
        digest="0",
        tower="test:broken",
        dims={"image": 4},
        rendition_px=64,
        calibrated=False,
        note="",
    )
    broken = Embedder(
        Broken(),
        contract=contract,
        preprocess=Preprocess(size_px=32, resize="squash"),
        device=torch.device("cpu"),
        batch=2 + 1,
    )
    with pytest.raises(BadBundleError, match="image 2 of the batch") as caught:
        broken.encode(random_images(4))
    assert caught.value.reason == "vector_not_finite"
    assert np.isfinite(broken.encode(random_images(2))).all()


def test_choose_device_resolves_or_refuses_name():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device("auto").type == expected
    assert choose_device("cpu") == torch.device("cpu")
    for name in ("quantum", "mps", "meta", "cuda:x"):
        with pytest.raises(ConfigurationError, match="none of auto, cpu"):
            choose_device(name)
    with pytest.raises(ConfigurationError, match="does not exist"):
        choose_device("cuda:97")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_encode_on_cuda_agrees_with_cpu(encoder, home, images):
    on_gpu = open_encoder(EncoderSettings(bundle=encoder.contract.name, device="cuda"), home, 512)
    np.testing.assert_allclose(on_gpu.encode(images), encoder.encode(images), atol=1e-4, rtol=0)
    alone = np.stack([on_gpu.encode_query(image) for image in images])
    np.testing.assert_allclose(alone, on_gpu.encode(images), atol=1e-5, rtol=0)
    assert len({on_gpu.encode_query(images[0]).tobytes() for _ in range(20)}) == 1
