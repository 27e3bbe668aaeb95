"""The answer of a photo is independent of the other photos in its batch, from pixels to radii.

A real tower (that of `world-tiny`) encodes and a real reranker with random weights scores: first
every photo alone, then all of them shuffled, in batches of 64 and of 8. The calibration is fitted
on synthetic queries.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from evaluation import synthetic_runs
from pinpoint.evaluation.calibration import fit
from pinpoint.nets.bundle.bundles import SHIPPED_FOLDER, read_bundle
from pinpoint.nets.bundle.specs import RerankerSpec
from pinpoint.nets.reranker.bundle_reranker import open_reranker, write_reranked
from pinpoint.nets.reranker.features import RerankBatch
from pinpoint.nets.reranker.network import RerankerNetwork, RerankTensors
from pinpoint.nets.runtime import open_encoder
from pinpoint.records import SearchFilter
from pinpoint.search import pipeline
from pinpoint.settings import EncoderSettings, SearchSettings
from search.in_memory import (
    CONTRACT,
    DictDatabase,
    NumpyIndex,
    gallery,
    search_context,
    view_pixels,
)

PHOTOS, CANDIDATES = 200, 5
PLACES, VIEWS = 3, 1


def tower_sized_image(place, view):
    """An image of the tower's input size."""
    return np.repeat(np.repeat(view_pixels(place, view), 8, axis=0), 8, axis=1)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    return open_encoder(EncoderSettings(bundle="world-tiny", device="cpu"), home, 512)


@pytest.fixture(scope="module")
def reranker(tmp_path_factory):
    torch.manual_seed(0)
    net = RerankerNetwork(
        RerankerSpec(dim=256, width=32, heads=2, candidate_blocks=2, max_offset_km=0.05)
    )
    folder = write_reranked(
        tmp_path_factory.mktemp("bundles") / "ranked",
        name="ranked",
        bundle=read_bundle(SHIPPED_FOLDER / "world-tiny"),
        network=net,
        evidence_radius_m=500.0,
        evidence_per_kind=2,
        license="CC0-1.0",
    )
    return open_reranker(read_bundle(folder), CANDIDATES, "cpu")


@pytest.fixture(scope="module")
def stack(encoder, tmp_path_factory):
    """A gallery encoded by the tower, and a calibration."""
    views = [
        (place, view + (100 if kind == "street" else 0), kind)
        for place in range(PLACES)
        for kind in ("photo", "street")
        for view in range(VIEWS)
    ]
    points = [
        dataclasses.replace(
            point, vectors={"image": encoder.encode([tower_sized_image(*seed)], kind)[0]}
        )
        for point, (*seed, kind) in zip(gallery(PLACES, VIEWS), views, strict=True)
    ]
    run = synthetic_runs.write_run(
        tmp_path_factory.mktemp("run") / "a", synthetic_runs.make_queries(36, seed=8)
    )
    calibration = fit.fit_calibration(run)
    # Without credible regions, which follow from the same numbers and take longest.
    strata = {
        k: dataclasses.replace(v, credible_region_levels={}) for k, v in calibration.strata.items()
    }
    calibration = dataclasses.replace(
        calibration, ranker="rerank", search_settings={}, strata=strata
    )
    return {
        "contract": dataclasses.replace(
            CONTRACT, dims={"image": 256}, calibrations={"rerank": calibration}
        ),
        "index": NumpyIndex(points),
        "database": DictDatabase(points),
        "settings": SearchSettings(candidates=CANDIDATES),
    }


def locate_all(stack, reranker, vectors, nets):
    """One answer for each photo, with the given network for each."""
    context = search_context(**stack, reranker=reranker)
    located = []
    for vector, net in zip(vectors, nets, strict=True):
        reranker._network = net
        located.append(pipeline.locate_encoded(vector, SearchFilter(), context, kind="photo"))
    return located


@torch.inference_mode()
def rerank_together(net, batches_of_one, batches):
    """Output of the network for each query when it scores whole batches."""
    names = [field.name for field in dataclasses.fields(RerankBatch)]
    outputs: list[RerankTensors | None] = [None] * len(batches_of_one)
    for batch in batches:
        joined = RerankBatch(
            **{n: torch.cat([getattr(batches_of_one[i], n) for i in batch]) for n in names}
        )
        output = dataclasses.asdict(net(joined))
        for slot, i in enumerate(batch):
            outputs[i] = RerankTensors(
                **{name: part[slot : slot + 1] for name, part in output.items()}
            )
    return outputs


def test_locate_answers_are_independent_of_batch(stack, reranker, encoder):
    photos = [tower_sized_image(number % PLACES, 200 + number) for number in range(PHOTOS)]
    net, seen_batches = reranker._network, []

    def record_batch(batch):
        seen_batches.append(batch)
        return net(batch)

    alone = locate_all(
        stack, reranker, [encoder.encode_query(p, "photo") for p in photos], [record_batch] * PHOTOS
    )
    assert len({answer.ranked[0].candidate.id for answer in alone}) == PLACES
    assert all(answer.calibrated for answer in alone)
    order = np.random.default_rng(8).permutation(PHOTOS)
    batches = [*order[:128].reshape(2, 64), *order[128:].reshape(9, 8)]
    vectors = np.zeros((PHOTOS, 256), dtype=np.float32)
    for batch in batches:
        vectors[batch] = encoder.encode([photos[i] for i in batch], "photo")
    queries = [
        dataclasses.replace(query_batch, query=torch.from_numpy(vector[None]))
        for query_batch, vector in zip(seen_batches, vectors, strict=True)
    ]
    # The outputs are known: each call returns the output of its query.
    nets = [lambda _, logits=logits: logits for logits in rerank_together(net, queries, batches)]
    for single, batched in zip(alone, locate_all(stack, reranker, vectors, nets), strict=True):
        check_same(single, batched)


def check_same(expected, actual):
    scores, actual_scores = (
        {r.candidate.id: r.rerank_logit for r in answer.ranked} for answer in (expected, actual)
    )
    assert actual_scores == pytest.approx(scores, abs=1e-4)
    assert expected.ranked[0].candidate.id == actual.ranked[0].candidate.id
    for expected_disc, actual_disc in zip(
        expected.credible_discs, actual.credible_discs, strict=True
    ):
        assert actual_disc.radius_m == pytest.approx(expected_disc.radius_m, rel=1e-4)
