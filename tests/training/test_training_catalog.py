"""Training from sources of the catalog: rows, images, and changes since the snapshot."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from nets.towers import timm_bundle
from pinpoint.cli.main import app
from pinpoint.errors import BadRequestError, ConflictError, DatabaseUnavailableError, NotFoundError
from pinpoint.nets.bundle.bundles import read_bundle
from pinpoint.settings import EncoderSettings, MediaSettings, ServiceSettings, Settings
from pinpoint.store.catalog.training_rows import CatalogTrainingRows
from pinpoint.store.db.database import Transactions, owner_engine
from pinpoint.training.core import checkpoints, loop
from pinpoint.training.core.configs import CatalogSourceConfig, read_config
from pinpoint.training.core.samples import read_samples
from pinpoint.training.embedder.catalog_snapshot import read_snapshot, write_snapshot
from pinpoint.training.embedder.features import FeatureEncoder, cache_features
from pinpoint.training.embedder.train_embedder import train_embedder
from stack_fixtures import ServiceHarness, jpeg
from training.counting_decoder import TOWER, WIDTH, CountingDecoder, encode
from training.embedder_runs import write_catalog_config

CITIES_IN_A_ROW = 12


def write_cities(folder: Path, count: int, first: int = 0) -> None:
    """Photos in cities that are 70 km apart, by a few creators."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(first, first + count):
        city, turn = divmod(seed, 4)
        data = jpeg(seed, 45.0 + 0.01 * turn, 0.9 * (city % CITIES_IN_A_ROW), size=(80, 64))
        (folder / f"{seed:03d}.jpg").write_bytes(data)


@pytest.fixture
def harness(database_url, api_database_url, tmp_path):
    service_harness = ServiceHarness(database_url, api_database_url, tmp_path / "harness")
    yield service_harness
    service_harness.close()


@pytest.fixture
def catalog_sources(harness, tmp_path):
    """Photos by reference, street views as copies; the folder of the photos."""
    org = harness.organization()
    write_cities(tmp_path / "photos", 32)
    write_cities(tmp_path / "streets", 32, first=100)
    with harness.operator.write(org) as catalog:
        catalog.add_source("drives", "street", originals="copy")
    harness.ingest(tmp_path / "photos", org, source="trips", kind="photo")
    harness.ingest(tmp_path / "streets", org, source="drives", kind="street")
    return org, tmp_path / "photos"


@pytest.fixture
def run(harness, catalog_sources, tmp_path):
    """A function that trains from the catalog, or resumes without it."""
    home = tmp_path / "home"
    timm_bundle(home / "bundles" / "tiny-timm")
    settings = Settings(services=ServiceSettings(home=home), encoder=EncoderSettings(device="cpu"))

    def train(name: str, *, gallery: CatalogTrainingRows | None = None, config: Path | None = None):
        run_config = read_config(
            config or write_catalog_config(tmp_path, "ours", steps=20)
        ).for_organization("acme")
        result = train_embedder(
            run_config,
            tmp_path / "runs" / name,
            settings=settings,
            decoder=harness.components.decoder,
            into=home / "bundles" / name,
            gallery=gallery,
        )
        return result.report, read_bundle(result.bundle).contract.heads

    return train


def test_train_embedder_resumes_with_snapshot_rows(
    harness, catalog_sources, run, tmp_path, monkeypatch
):
    (org, photos), gallery = catalog_sources, CatalogTrainingRows(harness.owner, harness.blobs)
    (photos / "003.jpg").unlink()
    data = bytearray((photos / "004.jpg").read_bytes())
    data[-200] ^= 1
    (photos / "004.jpg").write_bytes(data)
    (photos / "005.jpg").write_bytes(jpeg(77, 1.0, 1.0))
    with harness.owner.begin() as unit:
        for change, name in (("uri = NULL", "100.jpg"), ("state = 'pending'", "101.jpg")):
            what = f"UPDATE images SET {change} WHERE external_id LIKE '%/{name}'"
            unit.connection.execute(text(what))
    whole, weights = run("whole", gallery=gallery)
    dropped = {"missing_file": 2, "file_modified_since_indexing": 2, "not_indexed": 1}
    assert (whole["rows"], whole["rejected"]) == (64, dropped)
    assert weights.image.kinds == ("photo", "street")

    save = checkpoints.save_checkpoint

    def killed(*given):
        save(*given)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop, "save_checkpoint", killed)
        with pytest.raises(KeyboardInterrupt):
            run("broken", gallery=gallery)
    write_cities(photos, 8, first=200)
    (photos / "006.jpg").unlink()
    harness.ingest(photos, org, source="trips")
    config = write_catalog_config(tmp_path, "other", steps=20, changes=(('"drives"', '"trips"'),))
    with pytest.raises(ConflictError, match="other sources of the catalog"):
        run("broken", config=config)
    again, same = run("broken")  # without the stack
    assert same.weights.sha256 == weights.weights.sha256
    assert same.training == weights.training
    assert again["catalog_read_at"] >= whole["catalog_read_at"]
    later, other = run("later", gallery=gallery)
    assert later["rows"] == 72
    assert later["rejected"]["missing_file"] == 3
    assert other.training.data_fingerprint != weights.training.data_fingerprint


def test_read_snapshot_rows_match_ingested_faces(harness, planet, sources, tmp_path):
    org, manifest = harness.organization(), planet.manifests()["train-street"]
    harness.ingest(manifest, org, source="streets", kind="street")
    with harness.operator.write(org) as catalog:
        catalog.add_source("small", "street", originals="rendition")
    harness.ingest(manifest, org, source="small", kind="street")
    gallery, settings = CatalogTrainingRows(harness.owner, harness.blobs), MediaSettings()
    asked = [CatalogSourceConfig(source=name, organization="acme") for name in ("streets", "small")]
    write_snapshot(tmp_path, asked, gallery, settings.max_bytes)
    rows, _ = read_snapshot(tmp_path, asked)
    streets, small = (read_samples([one], settings).samples for one in rows)
    from_manifest = read_samples(sources[1:2], settings).samples
    assert len(streets) > len(from_manifest), "a panorama is a row for each face"
    row_of_name = {name.split("/", 1)[1]: k for k, name in enumerate(from_manifest.ids.tolist())}
    decoder = CountingDecoder(harness.components.decoder)
    caches = [
        cache_features(
            tmp_path / str(k),
            table,
            decoder=decoder,
            encoder=FeatureEncoder(encode=encode, digest=TOWER, width=WIDTH),
        )
        for k, table in enumerate((streets, small))
    ]
    assert caches[0].rejected == caches[1].rejected == {}
    for k, name in enumerate(streets.ids.tolist()):
        external, _, face = name.removeprefix("acme/streets/").partition("#")
        row = row_of_name[external.removeprefix(f"{manifest.parent.name}/")]
        assert (streets.lat[k], streets.lon[k]) == (from_manifest.lat[row], from_manifest.lon[row])
        assert streets.creators[k] == from_manifest.creators[row]
        assert streets.sequences[k] == (
            from_manifest.sequences[row] or f"panorama acme/streets/{external}"
        )
        faces = decoder.read(external, from_manifest.files[row], query=True).faces
        pixels = next(view.pixels for view in faces if (view.name or "") == face)
        assert np.array_equal(caches[0].values[k], encode([pixels])[0].astype(np.float16))
    # Renditions were encoded as JPEG again, so their features are nearly the same.
    assert small.ids.tolist() == [name.replace("/streets/", "/small/") for name in streets.ids]
    assert np.abs(caches[1].values - caches[0].values).max() < 0.05
    write_snapshot(tmp_path, asked[:1], gallery, settings.max_bytes)
    again, _ = read_snapshot(tmp_path, asked[:1])
    assert read_samples(again, settings).samples.fingerprint() == streets.fingerprint()


def test_train_embedder_with_missing_catalog_rows_names_the_reason(
    harness, catalog_sources, run, tmp_path
):
    gallery = CatalogTrainingRows(harness.owner, harness.blobs)
    with harness.operator.write(catalog_sources[0]) as catalog:
        catalog.add_source("empty", "photo", originals="copy")
    for old, new, kind, words in (
        (
            '"trips"',
            '"tripps"',
            NotFoundError,
            "no source 'tripps' .* acme; there are: drives, empty",
        ),
        ('"trips"', '"trips", organization = "nobody"', NotFoundError, "no organization 'nobody'"),
        ('"trips"', '"empty"', BadRequestError, "no image of source 'empty' .*: it has none"),
        ('"trips"', '"drives"', BadRequestError, "acme/drives twice"),
        (
            "dim = 24",
            'dim = 24\ndefault_kind = "x"',
            BadRequestError,
            "default_kind: Input should be",
        ),
    ):
        config = write_catalog_config(tmp_path, "bad", steps=20, changes=((old, new),))
        with pytest.raises(kind, match=words):
            run("bad", gallery=gallery, config=config)
    url = f"postgresql://nobody@/none?host={tmp_path}"
    with pytest.raises(DatabaseUnavailableError, match=r"'trips' of the catalog, .*`pinpoint up`"):
        run("down", gallery=CatalogTrainingRows(Transactions(owner_engine(url)), harness.blobs))
    for file in catalog_sources[1].iterdir():
        file.unlink()
    with pytest.raises(
        BadRequestError, match=r"'trips' of .*acme can be used for training: missing_file 32"
    ):
        run("gone", gallery=gallery)


@pytest.mark.usefixtures("catalog_sources")
def test_train_command_reads_catalog_sources(
    harness, home, database_url, redis_url, tmp_path, monkeypatch
):
    timm_bundle(home / "bundles" / "tiny-timm")
    (home / "blobs").symlink_to(harness.folder / "blobs")
    config = write_catalog_config(tmp_path, "ours", steps=2)
    monkeypatch.setenv("PINPOINT_DATABASE_URL", database_url)
    monkeypatch.setenv("PINPOINT_BROKER_URL", redis_url)
    words = ["train", "embedder", "--config", str(config), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["--org", "acme", *words, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["config"]["sources"][1] == {"source": "drives", "organization": "acme"}
    assert (home / "bundles" / "ours").is_dir()
