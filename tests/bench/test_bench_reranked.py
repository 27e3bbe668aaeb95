"""The baseline of the bench gives the product's answers; otherwise its time means nothing."""

from __future__ import annotations

import shutil
from contextlib import ExitStack

import numpy as np
import pytest

from bench import gallery as seeded
from bench.baseline_reranked import RerankedBaseline, open_baseline
from bench.reranked import reranked_bundle
from index_gallery import unit
from pinpoint.encoder_handle import EncoderHandle
from pinpoint.geo.distance import haversine_m
from pinpoint.records import SearchFilter
from pinpoint.search.context import SearchContext
from pinpoint.search.pipeline import locate_encoded
from pinpoint.settings import SearchSettings, ServiceSettings, Settings
from pinpoint.stack.index.build import build_index
from pinpoint.stack.paths import StackPaths
from pinpoint.store.db.catalog_database import CatalogDatabase
from pinpoint.store.db.database import Transactions, api_engine, owner_engine
from pinpoint.store.vectors.edge import EdgeIndex
from pinpoint.store.vectors.rebuild_source import RebuildSource


@pytest.fixture
def ends():
    with ExitStack() as stack:
        yield stack


def test_bench_baseline_answers_equal_pinpoint(home, database_url, api_database_url, ends):
    encoder_settings, _ = reranked_bundle(StackPaths(home).bundles_dir)
    encoder = EncoderHandle(Settings(services=ServiceSettings(home=home), encoder=encoder_settings))
    contract, owner = encoder.contract, seeded.ORGANIZATIONS[0]
    gallery = seeded.make(600, contract.dims["image"])
    gps_vectors = unit(np.random.default_rng(3), 600, contract.dims["gps"])
    seeded.fill(gallery, database_url, contract.digest, gps=gps_vectors)
    owned = Transactions(owner_engine(database_url))
    as_api = Transactions(api_engine(api_database_url, own_login=True))
    build_index(home / "index", RebuildSource(owned, lambda: contract), lambda *_: None)
    shutil.copytree(home / "index", home / "bare")
    index, baseline = (
        EdgeIndex(home / "index"),
        open_baseline(home / "bare/shard", database_url, encoder),
    )
    for resource in (baseline, index, owned, as_api):
        ends.callback(resource.close)
    assert isinstance(baseline, RerankedBaseline)
    evidence = 0
    for vector in gallery.queries(5):
        answer = locate_encoded(
            vector,
            SearchFilter(),
            SearchContext(
                organization_id=owner,
                decoder=None,
                encoder=encoder,
                index=index,
                database=CatalogDatabase(as_api, 64),
                settings=SearchSettings(),
                reranker=encoder.reranker,
            ),
            kind="photo",
        )
        expected = baseline.locate(vector, owner, exact=True)
        assert (answer.ranker, answer.calibrated) == ("rerank", True)
        assert expected.best == answer.ranked[0].candidate.id
        assert expected.evidence == sum(len(resource.evidence) for resource in answer.ranked)
        ours = np.array([(answer.point.lat, answer.point.lon)])
        assert haversine_m(ours, np.array([expected.point]))[0] < 1.0
        evidence += expected.evidence
    assert evidence > 1_000
