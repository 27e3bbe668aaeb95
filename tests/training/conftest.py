"""One small planet for this room: its training part as a table, a reranker of another part."""

from __future__ import annotations

import uuid

import pytest

from pinpoint.settings import MediaSettings
from pinpoint.synthetic.dataset import make_planet
from pinpoint.training.core.samples import ManifestSource, read_samples
from pinpoint.training.reranker import examples as examples_module
from pinpoint.training.reranker import train_reranker
from stack_fixtures import ServiceHarness
from training.reranker_runs import example_gallery, run_training, write_config


@pytest.fixture(scope="package")
def planet(tmp_path_factory):
    # Seed 5 has panoramas among its training street views.
    return make_planet(tmp_path_factory.mktemp("planet") / "tiny", preset="tiny", seed=5)


@pytest.fixture(scope="package")
def sources(planet):
    made = planet.manifests()
    return [
        ManifestSource(manifest=made[f"{role}-{kind}"], kind=kind)
        for role in ("train", "test")
        for kind in ("photo", "street")
    ]


@pytest.fixture(scope="package")
def samples(sources):
    return read_samples(sources, MediaSettings()).samples


@pytest.fixture(scope="package")
def world(planet, postgres, server_paths, tmp_path_factory):
    """The planet's gallery of the role `rerank` behind the shipped embedder."""
    name = f"r_{uuid.uuid4().hex[:16]}"
    postgres.clone("template_pinpoint", name)
    folder = tmp_path_factory.mktemp("world")
    harness = ServiceHarness(
        server_paths.owner_url(name), server_paths.api_url(name), folder, "world-tiny"
    )
    try:
        org = harness.organization()
        for kind in ("photo", "street"):
            source = f"rerank-{kind}"
            harness.ingest(planet.manifests()[source], org, source=source, kind=kind)
        yield harness, org
    finally:
        harness.close()
        postgres.drop(name)


@pytest.fixture(scope="package")
def reranked(world, planet, tmp_path_factory):
    """A whole run, broken off once while it asks and once while it trains."""
    folder = tmp_path_factory.mktemp("run")
    config = write_config(planet, folder)
    into = folder / "bundles" / "ranked"
    with pytest.MonkeyPatch.context() as patch:
        asks, ask = [], examples_module.encode_photo

        def breaks(*args, **options):
            asks.append(1)
            if len(asks) == 40:
                raise KeyboardInterrupt
            return ask(*args, **options)

        patch.setattr(examples_module, "encode_photo", breaks)
        with pytest.raises(KeyboardInterrupt):
            run_training(world, config, folder / "run", into)
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        plainly = train_reranker.reranker_batch_loss

        def stops(net, examples, rows, step, asked):
            steps.append(step)
            if step == 6:
                raise KeyboardInterrupt
            return plainly(net, examples, rows, step, asked)

        patch.setattr(train_reranker, "reranker_batch_loss", stops)
        with pytest.raises(KeyboardInterrupt):
            run_training(world, config, folder / "run", into)
    assert steps == list(range(7))
    made, told = run_training(world, config, folder / "run", into)
    return config, folder, made, told


@pytest.fixture(scope="package")
def examples(world, planet, reranked):
    """The cached examples of that run, and its questions."""
    config, folder, _, _ = reranked
    asked = [
        each
        for part, one in enumerate(config.queries)
        for each in train_reranker._read_queries(part, one)
    ]
    table = train_reranker.split_table(asked, config.split.h3_resolution)
    found = train_reranker.cache_examples(
        folder / "run" / "examples", asked, table, example_gallery(world, config)
    )
    return asked, found
