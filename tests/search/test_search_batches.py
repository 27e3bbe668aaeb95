"""The same photo gets the same answer, whoever shares its batch: from pixels to radii.

A real tower (that of `world-tiny`) encodes, a real reranker with random weights judges: each photo
alone, then all shuffled, in batches of 64 and of 8. A calibration of made-up questions decides.
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
from search.in_memory import CONTRACT, DictDatabase, NumpyIndex, gallery, picture, search_context

PHOTOS, CANDIDATES = 200, 5
PLACES, VIEWS = 3, 1


def large(place, view):
    """A picture as large as the tower looks at."""
    return np.repeat(np.repeat(picture(place, view), 8, axis=0), 8, axis=1)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    return open_encoder(EncoderSettings(bundle="world-tiny", device="cpu"), home, 512)


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
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
    """A gallery that the tower has seen, and a calibration for whatever is asked of it."""
    seen = [
        (place, view + (100 if kind == "street" else 0), kind)
        for place in range(PLACES)
        for kind in ("photo", "street")
        for view in range(VIEWS)
    ]
    points = [
        dataclasses.replace(point, vectors={"image": encoder.encode([large(*of)], kind)[0]})
        for point, (*of, kind) in zip(gallery(PLACES, VIEWS), seen, strict=True)
    ]
    run = synthetic_runs.write_run(
        tmp_path_factory.mktemp("run") / "a", synthetic_runs.make_queries(36, seed=8)
    )
    found = fit.fit_calibration(run)
    # Without areas, which are made of the same numbers and take longest.
    strata = {k: dataclasses.replace(v, credible_region_levels={}) for k, v in found.strata.items()}
    found = dataclasses.replace(found, ranker="rerank", search_settings={}, strata=strata)
    return {
        "contract": dataclasses.replace(
            CONTRACT, dims={"image": 256}, calibrations={"rerank": found}
        ),
        "index": NumpyIndex(points),
        "database": DictDatabase(points),
        "settings": SearchSettings(candidates=CANDIDATES),
    }


def answers(stack, judge, vectors, nets):
    """One answer for each photo; what the network says of it is given."""
    context = search_context(**stack, reranker=judge)
    found = []
    for vector, net in zip(vectors, nets, strict=True):
        judge._network = net
        found.append(pipeline.locate_encoded(vector, SearchFilter(), context, kind="photo"))
    return found


@torch.inference_mode()
def judged_together(net, given, batches):
    """What the network says of each question, when it judges these at once."""
    names = [field.name for field in dataclasses.fields(RerankBatch)]
    found = [None] * len(given)
    for batch in batches:
        whole = RerankBatch(**{n: torch.cat([getattr(given[i], n) for i in batch]) for n in names})
        said = dataclasses.asdict(net(whole))
        for seat, i in enumerate(batch):
            found[i] = RerankTensors(**{name: part[seat : seat + 1] for name, part in said.items()})
    return found


def test_locate_answers_are_independent_of_batch(stack, judge, encoder):
    photos = [large(number % PLACES, 200 + number) for number in range(PHOTOS)]
    net, given = judge._network, []

    def listening(asked):
        given.append(asked)
        return net(asked)

    alone = answers(
        stack, judge, [encoder.encode_query(p, "photo") for p in photos], [listening] * PHOTOS
    )
    assert len({answer.ranked[0].candidate.id for answer in alone}) == PLACES
    assert all(answer.calibrated for answer in alone)
    deal = np.random.default_rng(8).permutation(PHOTOS)
    batches = [*deal[:128].reshape(2, 64), *deal[128:].reshape(9, 8)]
    vectors = np.zeros((PHOTOS, 256), dtype=np.float32)
    for batch in batches:
        vectors[batch] = encoder.encode([photos[i] for i in batch], "photo")
    asked = [
        dataclasses.replace(one, query=torch.from_numpy(vector[None]))
        for one, vector in zip(given, vectors, strict=True)
    ]
    # Judged already: whoever asks gets what was said of this question.
    nets = [lambda _, own=own: own for own in judged_together(net, asked, batches)]
    for one, other in zip(alone, answers(stack, judge, vectors, nets), strict=True):
        check_same(one, other)


def check_same(one, other):
    scores, others = (
        {r.candidate.id: r.rerank_logit for r in each.ranked} for each in (one, other)
    )
    assert others == pytest.approx(scores, abs=1e-4)
    assert one.ranked[0].candidate.id == other.ranked[0].candidate.id
    for mine, theirs in zip(one.credible_discs, other.credible_discs, strict=True):
        assert theirs.radius_m == pytest.approx(mine.radius_m, rel=1e-4)
