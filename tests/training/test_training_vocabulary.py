"""Vocabularies: sampling, fitting, recall, and runs over a gallery and over a folder."""

import json
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

from nets.towers import random_images, timm_bundle
from pinpoint.cli.main import app
from pinpoint.encoder_handle import EncoderHandle
from pinpoint.errors import BadBundleError, BadRequestError, ConflictError
from pinpoint.geo.distance import haversine_m
from pinpoint.nets.bundle.bundles import read_bundle
from pinpoint.nets.bundle.specs import HeadsSpec, VocabularySource
from pinpoint.nets.embedder.heads import KindHeads
from pinpoint.nets.embedder.joint_embedding import JointNetworks, write_joint_embedding
from pinpoint.nets.runtime import open_encoder
from pinpoint.settings import EncoderSettings, ServiceSettings, Settings
from pinpoint.store.catalog.training_rows import CatalogTrainingRows
from pinpoint.training.core.samples import texts
from pinpoint.training.vocabulary.config import VocabularyConfig, choose_dimensions
from pinpoint.training.vocabulary.fitting import fit_projection, fit_vocabulary
from pinpoint.training.vocabulary.learn_vocabulary import finish_vocabulary, learn_from_pixels
from pinpoint.training.vocabulary.recall import leave_one_out_recall
from pinpoint.training.vocabulary.sampling import add_partners, stratified_order
from pinpoint.training.vocabulary.train_vocabulary import VocabularyGallery, VocabularyTrainer
from stack_fixtures import ServiceHarness, jpeg
from training.counting_decoder import CountingDecoder
from training.synthetic_samples import scattered_samples

CONFIG = VocabularyConfig(layer="layer2", num_centers=6, local_dim=5, dimensions=8)


def unit_rows(count, width, seed=0):
    rows = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# --- dimensions and fits ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "aggregated", "requested", "dimensions"),
    [
        (10_000, 5_376, None, 256),
        (204, 5_376, None, 203),
        (10_000, 90, None, 90),
        (204, 5_376, 203, 203),
        (20, 5_376, 19, 19),
    ],
)
def test_choose_dimensions_stays_below_the_number_of_images(
    images, aggregated, requested, dimensions
):
    assert choose_dimensions(images, aggregated, requested) == dimensions


@pytest.mark.parametrize(
    ("images", "requested", "words"),
    [
        (100, None, "a PCA of 100 images would describe these images and no others"),
        (204, 204, "204 images span at most 203 dimensions, not 204"),
        (10_000, 6_000, "span at most 5376 dimensions"),
    ],
)
def test_choose_dimensions_of_too_small_gallery_is_refused(images, requested, words):
    with pytest.raises(BadRequestError, match=words):
        choose_dimensions(images, 5_376, requested)


def test_fit_projection_components_are_orthonormal_and_ordered():
    vectors = unit_rows(60, 30) * np.linspace(1, 3, 30, dtype=np.float32)
    learned = fit_projection(vectors, 10, seed=0)
    components = learned["components"]
    np.testing.assert_allclose(components @ components.T, np.eye(10), atol=1e-5)
    projected = (vectors - learned["mean"]) @ components.T
    np.testing.assert_allclose(projected.var(axis=0, ddof=1), learned["variances"], rtol=1e-4)
    assert (np.diff(learned["variances"]) <= 0).all()


def test_fit_projection_of_copies_is_refused():
    vectors = np.repeat(unit_rows(5, 30), 10, axis=0)
    with pytest.raises(BadRequestError, match=r"50 images span only 4 dimensions.*copies"):
        fit_projection(vectors, 10, seed=0)


def test_fit_vocabulary_finds_separate_clusters():
    centers = 5 * unit_rows(4, 12, seed=1)
    features = np.concatenate([center + 0.01 * unit_rows(50, 12, seed=2) for center in centers])
    learned = fit_vocabulary(features, VocabularyConfig(layer=None, num_centers=4))
    distances = np.linalg.norm(learned["centers"][:, None] - centers[None], axis=2)
    assert sorted(distances.argmin(axis=1).tolist()) == [0, 1, 2, 3]
    assert distances.min(axis=1).max() < 0.1


def test_fit_vocabulary_of_few_features_is_refused():
    with pytest.raises(BadRequestError, match="5 patch features of 12 channels are not enough"):
        fit_vocabulary(unit_rows(5, 12), VocabularyConfig(layer=None, num_centers=6))


# --- sampling and recall ---------------------------------------------------------------------


def test_stratified_order_covers_strata_evenly():
    samples = scattered_samples(300, cities=4)
    samples = replace(samples, sequences=texts(["long"] * 280 + ["short"] * 20))
    samples = replace(samples, cells=np.zeros(300, dtype=np.int64))
    sources = np.zeros(300, dtype=np.int64)
    order = stratified_order(samples, sources, seed=3)
    assert sorted(order.tolist()) == list(range(300))
    assert (order[:40] >= 280).sum() == 20
    assert (stratified_order(samples, sources, seed=3) == order).all()
    assert (stratified_order(samples, sources, seed=4) != order).any()


def gallery_of_panoramas(count=40):
    """Two faces per panorama; panoramas in pairs that are 10 m apart."""
    samples = scattered_samples(2 * count, cities=4)
    number = np.arange(2 * count) // 2
    return replace(
        samples,
        lat=10.0 + 0.01 * (number // 2) + 0.00009 * (number % 2),
        lon=np.full(2 * count, 20.0),
        panoramas=texts([f"panorama {n}" for n in number]),
    )


def test_add_partners_adds_the_nearest_image_of_another_panorama():
    samples = gallery_of_panoramas()
    rows = add_partners(samples, np.array([0, 9]), seed=0)
    assert {0, 9} <= set(rows.tolist())
    assert len(rows) == 4
    panoramas = samples.panoramas[rows].tolist()
    assert sorted(panoramas) == ["panorama 0", "panorama 1", "panorama 4", "panorama 5"]


def test_leave_one_out_recall_equals_slow_loop():
    samples, vectors = gallery_of_panoramas(), unit_rows(80, 4, seed=7)
    hits, queries = {1: 0, 5: 0, 20: 0}, 0
    for query in range(80):
        others = [row for row in range(80) if samples.panoramas[row] != samples.panoramas[query]]
        right = [
            row
            for row in others
            if haversine_m(samples.positions[row], samples.positions[query]) <= 25.0
        ]
        if not right:
            continue
        queries += 1
        ranked = sorted(others, key=lambda row: (-float(vectors[row] @ vectors[query]), row))
        for depth in hits:
            hits[depth] += any(row in right for row in ranked[:depth])
    recall = leave_one_out_recall(samples, vectors)
    assert recall.queries == queries == 80
    assert recall.at_depth == {depth: count / queries for depth, count in hits.items()}


# --- pixels and folders ----------------------------------------------------------------------


def test_learn_from_pixels_repeats_its_bytes(tmp_path):
    tower = read_bundle(timm_bundle(tmp_path / "tower"))
    images = random_images(30, seed=2)
    source = VocabularySource(name="blobs", count=30, license="CC0")

    def learn(seed):
        config = replace(CONFIG, seed=seed)
        learned = learn_from_pixels(lambda: images, tower, config, sources=(source,), device="cpu")
        return {name: tensor.numpy().tobytes() for name, tensor in learned.tensors.items()}

    first = learn(0)
    assert learn(0) == first
    assert learn(1)["centers"] != first["centers"]


def test_finish_vocabulary_says_that_a_license_is_not_stated():
    tensors = fit_vocabulary(unit_rows(20, 8), VocabularyConfig(layer=None, num_centers=2))
    sources = tuple(
        VocabularySource(name=name, count=3, license=license)
        for name, license in (("a", "CC0"), ("b", "not stated"))
    )
    config = VocabularyConfig(layer=None, num_centers=2, has_pca=False)
    license = finish_vocabulary(tensors, config, 8, sources).spec.weights.license
    assert license == "numbers computed from images under CC0 + a license that is not stated"


def test_train_vocabulary_command_learns_from_a_folder(home, tmp_path):
    timm_bundle(home / "bundles" / "tiny-timm")
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(12):
        (folder / f"{seed}.jpg").write_bytes(jpeg(seed, 1.0, 2.0, size=(80, 64)))
    (folder / "notes.txt").write_text("no image")
    words = ["train", "vocabulary", "--name", "vlad", "--bundle", "tiny-timm", "--layer", "layer2"]
    options = ["--images", str(folder), "--license", "CC0", "--centers", "4", "--dimensions", "6"]
    result = CliRunner().invoke(app, [*words, *options, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["images"] == 12
    assert sum(report["rejected"].values()) == 1
    contract = read_bundle(home / "bundles" / "vlad").contract
    assert contract.dims == {"image": 6}
    (source,) = contract.aggregation.vocabulary.sources
    assert (source.name, source.count, source.license) == ("photos", 12, "CC0")
    shown = CliRunner().invoke(app, ["bundles", "show", "vlad", "--json"], catch_exceptions=False)
    assert json.loads(shown.stdout)["aggregation"]["num_centers"] == 4
    plain = CliRunner().invoke(app, ["bundles", "show", "vlad"], catch_exceptions=False).stdout
    lines = [" ".join(line.split()) for line in plain.splitlines()]
    expected = {"kind vlad", "layer layer2", "num_centers 4", "dim 6"}
    assert expected < set(lines)
    assert "      name photos, count 12, license CC0" in plain.splitlines()
    assert "{" not in plain
    again = CliRunner().invoke(app, [*words, *options])
    assert isinstance(again.exception, ConflictError)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--bundle", "tiny-timm", "--images", "photos"], "license of the images"),
        (["--bundle", "tiny-timm", "--images", "photos", "--activate"], "without a stack"),
        (["--bundle", "tiny-timm", "--no-pca", "--dimensions", "5"], "need the PCA"),
    ],
)
def test_train_vocabulary_command_with_wrong_options_is_refused(options, words, home):
    timm_bundle(home / "bundles" / "tiny-timm")
    result = CliRunner().invoke(app, ["train", "vocabulary", "--name", "vlad", *options])
    assert isinstance(result.exception, BadRequestError)
    assert words in result.exception.message


@pytest.mark.parametrize("images", [[], ["--images", "absent", "--license", "CC0"]])
@pytest.mark.parametrize(
    ("bundle", "words"), [("descriptor", "no network"), ("heads", "has heads")]
)
def test_train_vocabulary_command_refuses_a_bundle_before_it_reads_images(
    bundle, words, images, home
):
    """Neither the stack, which does not run, nor the folder, which does not exist, is asked."""
    tower = read_bundle(timm_bundle(home / "bundles" / "tiny-timm"))
    heads = KindHeads(HeadsSpec(feature_dim=tower.contract.dims["image"], hidden=8, dim=5))
    write_joint_embedding(
        home / "bundles" / "heads",
        name="heads",
        tower=tower,
        networks=JointNetworks(heads=heads, location=None),
        license="CC0",
        note="Random heads.",
    )
    command = ["train", "vocabulary", "--name", "vlad", "--bundle", bundle, *images]
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, BadBundleError)
    assert words in result.exception.message


# --- the gallery -----------------------------------------------------------------------------


@pytest.fixture
def harness(database_url, api_database_url, tmp_path):
    service_harness = ServiceHarness(database_url, api_database_url, tmp_path / "harness")
    yield service_harness
    service_harness.close()


@pytest.fixture
def gallery(harness, tmp_path):
    """Twenty pairs of photos 11 m apart, an unreadable one, and a source without images."""
    org = harness.organization()
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(40):
        lat = 45.0 + 0.01 * (seed // 2) + 0.0001 * (seed % 2)
        (folder / f"{seed:02d}.jpg").write_bytes(jpeg(seed // 2, lat, 3.0, size=(80, 64)))
    (folder / "99.jpg").write_bytes(jpeg(99, 50.0, 3.0))
    with harness.operator.write(org) as catalog:
        catalog.add_source("trips", "photo", originals="reference", license="CC BY 4.0")
        catalog.add_source("empty", "street")
    harness.ingest(folder, org, source="trips", kind="photo")
    (folder / "99.jpg").write_bytes(b"x" * (folder / "99.jpg").stat().st_size)
    return VocabularyGallery(
        rows=CatalogTrainingRows(harness.owner, harness.blobs),
        organization="acme",
        licenses={"trips": "CC BY 4.0", "empty": None},
    )


@pytest.fixture
def train(harness, gallery, tmp_path):
    """A function that learns a vocabulary from the gallery."""
    home = tmp_path / "home"
    tower = read_bundle(timm_bundle(home / "bundles" / "tiny-timm"))
    settings = Settings(services=ServiceSettings(home=home), encoder=EncoderSettings(device="cpu"))

    def run(name, config=CONFIG, *, folder=None, decoder=None, max_images=5_000):
        return VocabularyTrainer(
            config=config,
            max_images=max_images,
            tower=tower,
            current=EncoderHandle(settings),
            decoder=decoder or harness.components.decoder,
            settings=settings,
            on_progress=lambda stage, completed, total: None,
        ).run(
            tmp_path / "runs" / (folder or name),
            gallery,
            name="vlad",
            into=home / "made" / name / "vlad",
        )

    return run


def test_vocabulary_trainer_repeats_its_bytes_and_reports_recall(train, tmp_path):
    first, second = train("first"), train("second")
    names = sorted(path.name for path in first.bundle.iterdir())
    assert names == ["aggregation.safetensors", "contract.json", "tower.safetensors"]
    for name in names:
        assert (first.bundle / name).read_bytes() == (second.bundle / name).read_bytes()
    report = first.report
    assert (report["gallery"], report["sampled"], report["queries"]) == (41, 40, 40)
    assert list(report["rejected"].values()) == [1]
    assert report["current"] == "descriptor"
    for stage in ("before", "after"):
        assert report[stage]["recall@1"] == 1.0  # The photos of a pair have the same pixels.
    assert report == json.loads((tmp_path / "runs" / "first" / "report.json").read_text())
    vocabulary = read_bundle(first.bundle).contract.aggregation.vocabulary
    (source,) = vocabulary.sources
    assert (source.name, source.count, source.license) == ("acme/trips", 40, "CC BY 4.0")
    assert vocabulary.metrics["recall@1 after"] == 1.0
    other = train("other", replace(CONFIG, seed=1))
    file = "aggregation.safetensors"
    assert (other.bundle / file).read_bytes() != (first.bundle / file).read_bytes()


def test_vocabulary_trainer_reports_what_the_bundle_computes(train, tmp_path):
    bundle = train("first").bundle
    encoder = open_encoder(EncoderSettings(bundle=str(bundle), device="cpu"), tmp_path, 512)
    vectors = encoder.encode(random_images(5, seed=3))
    assert vectors.shape == (5, 8)
    assert len(np.unique(vectors.round(3), axis=0)) == 5


def test_vocabulary_trainer_resumes_without_decoding_again(train, harness, monkeypatch):
    decoder = CountingDecoder(harness.components.decoder)
    whole = train("whole", decoder=decoder)
    total = len(decoder.files)
    assert total == 2 * 41

    def killed(*_, **__):
        raise KeyboardInterrupt

    module = "pinpoint.training.vocabulary.train_vocabulary.fit_projection"
    with monkeypatch.context() as patch:
        patch.setattr(module, killed)
        with pytest.raises(KeyboardInterrupt):
            train("broken", decoder=decoder)
    interrupted = len(decoder.files)
    assert interrupted == 2 * total
    again = train("broken", decoder=decoder)
    assert len(decoder.files) == interrupted
    for name in ("contract.json", "aggregation.safetensors"):
        assert (again.bundle / name).read_bytes() == (whole.bundle / name).read_bytes()


def test_vocabulary_trainer_samples_a_large_gallery_with_partners(train):
    report = train("small", replace(CONFIG, dimensions=4), max_images=10).report
    assert report["gallery"] == 41
    assert 10 <= report["sampled"] <= 20
    assert report["queries"] >= 10


def test_vocabulary_trainer_refuses_a_pca_of_few_images(train):
    with pytest.raises(BadRequestError, match="a PCA of 41 images"):
        train("auto", replace(CONFIG, dimensions=None))
    with pytest.raises(BadRequestError, match="span only 19 dimensions"):
        train("copies", replace(CONFIG, dimensions=25))
    report = train("none", replace(CONFIG, dimensions=None, has_pca=False)).report
    assert report["dimensions"] == 30
