"""The reranker in the search flow: it orders the candidates; without one they are voted on.

The network is real and has random weights, in a bundle on disk. Its output is arbitrary, but must
be deterministic, belong to the right candidates, and appear in the answer.
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
from pinpoint.nets.reranker.inputs import row_dtype
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
    search_context,
    view_pixels,
)

DIM = CONTRACT.dims["image"]
REACH_KM = 0.03


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """`world-tiny` with a reranker of the bundle's vector width."""
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
def reranker():
    """A reranker of the pixel encoder's width, served like that of a bundle."""
    torch.manual_seed(1)
    net = RerankerNetwork(
        RerankerSpec(dim=DIM, width=16, heads=2, candidate_blocks=2, max_offset_km=REACH_KM)
    )
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    reranker_contract = SimpleNamespace(
        network=net.spec,
        evidence_radius_m=500.0,
        evidence_per_kind=3,
        weights=SimpleNamespace(sha256="d1"),
    )
    contract = SimpleNamespace(name="pixels", reranker=reranker_contract)
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


def locate(stack, reranker, place=5, **options):
    vector = PixelEncoder().encode_query(view_pixels(place, 777))
    context = search_context(**stack, reranker=reranker)
    return pipeline.locate_encoded(vector, SearchFilter(), context, kind="photo", **options)


def test_locate_with_reranker_is_ordered_by_it(stack, reranker):
    answer = locate(stack, reranker)
    assert (answer.ranker, answer.ranker_fallback_reason) == ("rerank", None)
    scores = [ranked.rerank_logit for ranked in answer.ranked]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) == len(scores) == 16
    expected = np.exp(np.array(scores) - max(scores))
    assert [ranked.weight for ranked in answer.ranked] == pytest.approx(expected / expected.sum())
    for ranked in answer.ranked:
        assert 0 <= geodesic_m(ranked.refined_position, ranked.candidate.point) <= 1.01e3 * REACH_KM
        assert 0 <= ranked.evidence_share <= 1
        assert all(near.distance_m <= 500 for near in ranked.evidence)
    assert (
        max(geodesic_m(ranked.refined_position, ranked.candidate.point) for ranked in answer.ranked)
        > 1
    )
    voted = locate(stack, reranker, ranker="vote")
    assert (voted.ranker, voted.ranker_fallback_reason) == ("vote", None)
    assert [r.candidate.id for r in voted.ranked] != [r.candidate.id for r in answer.ranked]
    assert {r.candidate.id for r in voted.ranked} == {r.candidate.id for r in answer.ranked}
    assert all(ranked.rerank_logit is None for ranked in voted.ranked)


def test_answer_explains_reranking(stack, reranker, capsys):
    answer = locate(stack, reranker)
    sent = AnswerOut.of(answer, top=16).model_dump(mode="json")
    assert sent["no_match_logit"] == answer.calibrated_result.features.no_match_logit
    moved = 0
    for out, ranked in zip(sent["candidates"], answer.ranked, strict=True):
        assert out["rerank_logit"] == ranked.rerank_logit
        assert out["refined_position"] == {
            "lat": ranked.refined_position.lat,
            "lon": ranked.refined_position.lon,
        }
        shares = {near["image_id"]: near["attention"] for near in out["evidence"]}
        assert list(shares.values()) == list(ranked.attention)
        assert out["evidence_share"] == pytest.approx(sum(shares.values()))
        assert 0 <= out["evidence_share"] < 1, "some attention is on no evidence"
        moved += out["rank"] != sent["candidates"].index(out)
    assert sum(len(out["evidence"]) for out in sent["candidates"]) > 16
    assert moved > 5
    show_explanation(sent)
    lines = capsys.readouterr().out.splitlines()
    for rank, out in enumerate(sent["candidates"]):
        words = next(line for line in lines if out["image_id"] in line).split()
        assert words[:2] == [str(rank), str(out["rank"])]
        assert words[2] == ("=" if rank == out["rank"] else f"{out['rank'] - rank:+d}")
    best = max(sent["candidates"][0]["evidence"], key=lambda near: near["attention"])
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


def test_rerank_is_independent_of_gallery_order_and_padding(stack, reranker):
    def outputs_of(answer):
        return [
            (r.candidate.id, r.rerank_logit, r.weight, r.refined_position) for r in answer.ranked
        ]

    first = outputs_of(locate(stack, reranker))
    for place in (1, 2):
        locate(stack, reranker, place=place)
    assert outputs_of(locate(stack, reranker)) == first, "to the bit"
    points = gallery(places=12, views=3)[::-1]
    mixed = {**stack, "index": NumpyIndex(points), "database": DictDatabase(points)}
    assert outputs_of(locate(mixed, reranker)) == first
    # A larger number of slots than candidates is padding.
    reranker._shape = dataclasses.replace(reranker._shape, candidates=40)
    reranker._row_dtype = row_dtype(reranker._shape)
    wide = outputs_of(locate(stack, reranker))
    assert [row[0] for row in wide] == [row[0] for row in first]
    assert [row[1] for row in wide] == pytest.approx([row[1] for row in first], abs=1e-4)


def test_rerank_empty_gallery_or_deleted_candidate_is_handled(stack, reranker):
    empty = {**stack, "index": NumpyIndex([]), "database": DictDatabase([])}
    answer = locate(empty, reranker)
    assert (answer.ranked, answer.point, answer.ranker) == ((), None, "rerank")

    class IncompleteIndex(NumpyIndex):
        def fetch(self, ids, *, vectors=False):
            return super().fetch(ids[1:], vectors=vectors)

    best = locate(stack, reranker, ranker="top1").ranked[0].candidate.id
    points = gallery(places=12, views=3)
    gone = {"index": IncompleteIndex(points), "database": DictDatabase(points, gone={best})}
    without_best = locate({**stack, **gone}, reranker)
    scores = {ranked.candidate.id: ranked.rerank_logit for ranked in without_best.ranked}
    assert scores[best] == min(scores.values())
    assert all(map(math.isfinite, scores.values()))


def test_locate_near_duplicate_candidate_is_marked(stack, reranker):
    original = gallery(places=12, views=3)[0]
    for ranker in ("rerank", "vote"):
        answer = pipeline.locate_encoded(
            original.vectors["image"],
            SearchFilter(),
            search_context(**stack, reranker=reranker),
            ranker=ranker,
        )
        marked = [r.candidate.id for r in answer.ranked if r.candidate.near_duplicate]
        assert marked == [original.id]
    assert not any(r.candidate.near_duplicate for r in locate(stack, reranker).ranked)


def test_bundle_reranker_round_trips_and_corruption_is_rejected(bundle, tmp_path):
    net, written = bundle
    assert written.contract.dims == {"image": 256, "gps": 256}
    assert written.contract.reranker.evidence_radius_m == 500.0
    loaded = load_reranker(written)
    assert all(
        torch.equal(a, b) for a, b in zip(net.parameters(), loaded.parameters(), strict=True)
    )
    written.reranker.write_bytes(written.reranker.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(BadBundleError, match="not those of the contract"):
        read_bundle(written.reranker.parent)
