"""The reranker in the flow: the port judges, its order stands, and without one there is a vote.

The network is a real one with random weights, in a bundle on disk: what it says is arbitrary, but
must be said of the right candidates, always the same, and be found again in the answer.
"""

from __future__ import annotations

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pinpoint.api.v1.schemas.answer import AnswerOut
from pinpoint.cli.explain import show_explanation
from pinpoint.errors import BadBundleError, BadRequestError
from pinpoint.geo.distance import geodesic_m
from pinpoint.nets.bundle.bundles import read_bundle
from pinpoint.nets.bundle.specs import RerankerSpec
from pinpoint.nets.reranker import bundle_reranker
from pinpoint.nets.reranker.bundle_reranker import BundleReranker, load_reranker, write_reranked
from pinpoint.nets.reranker.network import RerankerNetwork
from pinpoint.records import SearchFilter
from pinpoint.search import pipeline
from pinpoint.settings import SearchSettings
from search.in_memory import (
    CONTRACT,
    DictDatabase,
    NumpyIndex,
    PixelEncoder,
    gallery,
    picture,
    search_context,
)

DIM = CONTRACT.dims["image"]
REACH_KM = 0.03


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """`world-tiny` with a reranker whose vectors are as wide as those of the pixels."""
    from pinpoint.nets.bundle.bundles import SHIPPED_FOLDER

    torch.manual_seed(0)
    spec = RerankerSpec(dim=256, width=16, heads=2, candidate_blocks=1, max_offset_km=REACH_KM)
    net = RerankerNetwork(spec)
    folder = tmp_path_factory.mktemp("bundles") / "ranked"
    write_reranked(
        folder,
        name="ranked",
        bundle=read_bundle(SHIPPED_FOLDER / "world-tiny"),
        network=net,
        evidence_radius_m=500.0,
        evidence_per_kind=3,
        license="CC0-1.0",
    )
    return net, read_bundle(folder)


@pytest.fixture(scope="module")
def judge():
    """A reranker of the pixels' width, served as a bundle's is."""
    torch.manual_seed(1)
    net = RerankerNetwork(
        RerankerSpec(dim=DIM, width=16, heads=2, candidate_blocks=2, max_offset_km=REACH_KM)
    )
    with torch.no_grad():
        for each in net.parameters():
            each.add_(0.3 * torch.randn(each.shape))
    part = SimpleNamespace(
        network=net.spec,
        evidence_radius_m=500.0,
        evidence_per_kind=3,
        weights=SimpleNamespace(sha256="d1"),
    )
    contract = SimpleNamespace(name="pixels", reranker=part)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle_reranker, "load_reranker", lambda bundle: net.eval())
        return BundleReranker(
            SimpleNamespace(contract=contract), candidates=16, device=torch.device("cpu")
        )


@pytest.fixture
def stack():
    points = gallery(places=12, views=3)
    return {
        "index": NumpyIndex(points),
        "database": DictDatabase(points),
        "settings": SearchSettings(candidates=16),
    }


def locate(stack, judge, place=5, **options):
    vector = PixelEncoder().encode_query(picture(place, 777))
    context = search_context(**stack, reranker=judge)
    return pipeline.locate_encoded(vector, SearchFilter(), context, kind="photo", **options)


def test_locate_with_reranker_is_ordered_by_it(stack, judge):
    answer = locate(stack, judge)
    assert (answer.ranker, answer.ranker_fallback_reason) == ("rerank", None)
    scores = [each.rerank_logit for each in answer.ranked]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(scores) == 16
    wanted = np.exp(np.array(scores) - max(scores))
    assert [each.weight for each in answer.ranked] == pytest.approx(wanted / wanted.sum())
    for each in answer.ranked:
        assert 0 <= geodesic_m(each.refined_position, each.candidate.point) <= 1.01e3 * REACH_KM
        assert 0 <= each.evidence_share <= 1
        assert all(near.distance_m <= 500 for near in each.evidence)
    assert (
        max(geodesic_m(each.refined_position, each.candidate.point) for each in answer.ranked) > 1
    )
    voted = locate(stack, judge, ranker="vote")
    assert (voted.ranker, voted.ranker_fallback_reason) == ("vote", None)
    assert [r.candidate.id for r in voted.ranked] != [r.candidate.id for r in answer.ranked]
    assert {r.candidate.id for r in voted.ranked} == {r.candidate.id for r in answer.ranked}
    assert all(each.rerank_logit is None for each in voted.ranked)


def test_answer_explains_reranking(stack, judge, capsys):
    answer = locate(stack, judge)
    said = AnswerOut.of(answer, top=16).model_dump(mode="json")
    assert said["no_match_logit"] == answer.calibrated_result.features.no_match_logit
    moved = 0
    for out, ranked in zip(said["candidates"], answer.ranked, strict=True):
        assert out["rerank_logit"] == ranked.rerank_logit
        assert out["refined_position"] == {
            "lat": ranked.refined_position.lat,
            "lon": ranked.refined_position.lon,
        }
        shares = {near["image_id"]: near["attention"] for near in out["evidence"]}
        assert list(shares.values()) == list(ranked.attention)
        assert out["evidence_share"] == pytest.approx(sum(shares.values()))
        assert 0 <= out["evidence_share"] < 1, "something is always left for nothing at all"
        moved += out["rank"] != said["candidates"].index(out)
    assert sum(len(out["evidence"]) for out in said["candidates"]) > 16
    assert moved > 5
    show_explanation(said)
    lines = capsys.readouterr().out.splitlines()
    for rank, out in enumerate(said["candidates"]):
        words = next(line for line in lines if out["image_id"] in line).split()
        assert words[:2] == [str(rank), str(out["rank"])]
        assert words[2] == ("=" if rank == out["rank"] else f"{out['rank'] - rank:+d}")
    best = max(said["candidates"][0]["evidence"], key=lambda near: near["attention"])
    table = lines[next(n for n, line in enumerate(lines) if "attention" in line) :]
    first = next(line.split() for line in table if best["image_id"] in line)
    assert first[:2] == ["0", f"{best['attention']:.0%}"]

    voted = AnswerOut.of(locate(stack, None), top=16).model_dump(mode="json")
    assert voted["no_match_logit"] is None
    assert {out["rerank_logit"] for out in voted["candidates"]} == {None}
    show_explanation(voted)
    assert "attention" not in capsys.readouterr().out


def test_locate_without_reranker_votes_and_gives_reason(stack):
    answer = locate(stack, None)
    assert (answer.ranker, answer.ranker_fallback_reason) == ("vote", "the bundle has no reranker")
    with pytest.raises(BadRequestError, match="pixels: the bundle has no reranker"):
        locate(stack, None, ranker="rerank")


def test_rerank_is_independent_of_gallery_order_and_padding(stack, judge):
    def said(answer):
        return [
            (r.candidate.id, r.rerank_logit, r.weight, r.refined_position) for r in answer.ranked
        ]

    first = said(locate(stack, judge))
    for place in (1, 2):
        locate(stack, judge, place=place)
    assert said(locate(stack, judge)) == first, "to the bit"
    points = gallery(places=12, views=3)[::-1]
    mixed = {**stack, "index": NumpyIndex(points), "database": DictDatabase(points)}
    assert said(locate(mixed, judge)) == first
    # Room for more candidates than there are is padding.
    judge._shape = dataclasses.replace(judge._shape, candidates=40)
    judge._row_dtype = bundle_reranker.row_dtype(judge._shape)
    wide = said(locate(stack, judge))
    assert [each[0] for each in wide] == [each[0] for each in first]
    assert [each[1] for each in wide] == pytest.approx([each[1] for each in first], abs=1e-4)


def test_rerank_empty_gallery_or_deleted_candidate_is_handled(stack, judge):
    bare = {**stack, "index": NumpyIndex([]), "database": DictDatabase([])}
    answer = locate(bare, judge)
    assert (answer.ranked, answer.point, answer.ranker) == ((), None, "rerank")

    class Forgetful(NumpyIndex):
        def fetch(self, ids, *, vectors=False):
            return super().fetch(ids[1:], vectors=vectors)

    best = locate(stack, judge, ranker="top1").ranked[0].candidate.id
    points = gallery(places=12, views=3)
    gone = {"index": Forgetful(points), "database": DictDatabase(points, gone={best})}
    forgot = locate({**stack, **gone}, judge)
    scores = {each.candidate.id: each.rerank_logit for each in forgot.ranked}
    assert scores[best] == min(scores.values())
    assert all(map(math.isfinite, scores.values()))


def test_locate_near_duplicate_candidate_is_marked(stack, judge):
    own = gallery(places=12, views=3)[0]
    for ranker in ("rerank", "vote"):
        answer = pipeline.locate_encoded(
            own.vectors["image"],
            SearchFilter(),
            search_context(**stack, reranker=judge),
            ranker=ranker,
        )
        marked = [r.candidate.id for r in answer.ranked if r.candidate.near_duplicate]
        assert marked == [own.id]
    assert not any(r.candidate.near_duplicate for r in locate(stack, judge).ranked)


def test_bundle_reranker_round_trips_and_corruption_is_rejected(bundle, tmp_path):
    net, made = bundle
    assert made.contract.dims == {"image": 256, "gps": 256}
    assert made.contract.reranker.evidence_radius_m == 500.0
    found = load_reranker(made)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), found.parameters(), strict=True))
    made.reranker.write_bytes(made.reranker.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(BadBundleError, match="not those of the contract"):
        read_bundle(made.reranker.parent)
