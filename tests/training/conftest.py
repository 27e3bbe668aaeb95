"""A small planet: samples of its training part, and a reranker trained on another part."""

from __future__ import annotations

import uuid

import pytest

from pinpoint.search.candidates_and_evidence import encode_photos
from pinpoint.settings import MediaSettings
from pinpoint.synthetic.dataset import make_planet
from pinpoint.training.core.samples import ManifestSource, read_samples
from pinpoint.training.reranker import examples as examples_module
from pinpoint.training.reranker import train_reranker
from pinpoint.training.reranker.examples import cache_examples, split_table
from pinpoint.training.reranker.objective import reranker_batch_loss
from stack_fixtures import ServiceHarness
from training.reranker_runs import example_gallery, run_training, write_config


@pytest.fixture(scope="session")
def planet(tmp_path_factory):
    # With seed 5 the training street views include panoramas.
    return make_planet(tmp_path_factory.mktemp("planet") / "tiny", preset="tiny", seed=5)


@pytest.fixture(scope="session")
def sources(planet):
    manifests = planet.manifests()
    return [
        ManifestSource(manifest=manifests[f"{role}-{kind}"], kind=kind)
        for role in ("train", "test")
        for kind in ("photo", "street")
    ]


@pytest.fixture(scope="session")
def samples(sources):
    return read_samples(sources, MediaSettings()).samples


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def reranked(world, planet, tmp_path_factory):
    """A run that is interrupted once while it caches examples and once while it trains."""
    folder = tmp_path_factory.mktemp("run")
    config = write_config(planet, folder)
    into = folder / "bundles" / "ranked"
    with pytest.MonkeyPatch.context() as patch:
        calls = []

        def interrupt_encoding(*args, **options):
            calls.append(1)
            if len(calls) == 40:
                raise KeyboardInterrupt
            return encode_photos(*args, **options)

        patch.setattr(examples_module, "encode_photos", interrupt_encoding)
        with pytest.raises(KeyboardInterrupt):
            run_training(world, config, folder / "run", into)
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        batch_loss = reranker_batch_loss

        def interrupt_training(net, examples, rows, step, config):
            steps.append(step)
            if step == 6:
                raise KeyboardInterrupt
            return batch_loss(net, examples, rows, step, config)

        patch.setattr(train_reranker, "reranker_batch_loss", interrupt_training)
        with pytest.raises(KeyboardInterrupt):
            run_training(world, config, folder / "run", into)
    assert steps == list(range(7))
    result, progress = run_training(world, config, folder / "run", into)
    return config, folder, result, progress


@pytest.fixture(scope="session")
def examples(world, planet, reranked):
    """The queries of that run, and its cached examples."""
    config, folder, _, _ = reranked
    queries = [
        query
        for part, queries_config in enumerate(config.queries)
        for query in train_reranker._read_queries(part, queries_config)
    ]
    table = split_table(queries, config.split.h3_resolution)
    cached = cache_examples(
        folder / "run" / "examples", queries, table, example_gallery(world, config)
    )
    return queries, cached
