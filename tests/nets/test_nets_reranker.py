"""The reranker: agreement with loops, and independence of order, padding and batch."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from pinpoint.geo.distance import pairwise_m
from pinpoint.nets.bundle.specs import RerankerSpec
from pinpoint.nets.reranker.features import RerankBatch, masked_max, pairwise_km, standardize
from pinpoint.nets.reranker.network import (
    DistanceBias,
    EvidenceAttention,
    RerankerNetwork,
    TokenAttention,
)

D, K, E = 12, 7, 4
SPEC = RerankerSpec(
    dim=D, width=16, heads=2, evidence_blocks=2, candidate_blocks=2, max_offset_km=3.0
)


@pytest.fixture(scope="module", params=[False, True], ids=["numbers", "vectors"])
def net(request):
    torch.manual_seed(3)
    network = RerankerNetwork(dataclasses.replace(SPEC, use_embeddings=request.param)).eval()
    # Random changes of the initial weights, so that every part affects the output.
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return network


def random_batch(queries=5, candidates=K, photos=E, seed=0):
    """Queries with some candidates and photos missing, one query without any evidence."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    def integers(limit, *shape):
        return torch.randint(0, limit, shape, generator=generator)

    sets = (queries, candidates, photos)
    present = torch.rand(sets[:2], generator=generator) < 0.8
    present[:, 0] = True
    near = (torch.rand(sets, generator=generator) < 0.6) & present[..., None]
    near[0] = False
    place = torch.stack([normal(*sets[:2]) * 3, 179.5 + normal(*sets[:2])], dim=-1).double()
    return RerankBatch(
        query=normal(queries, D),
        query_kind=integers(3, queries),
        image=normal(*sets[:2], D),
        gps=normal(*sets[:2], D),
        position=place,
        kind=integers(2, *sets[:2]),
        in_channel=integers(2, *sets[:2], 2).bool(),
        present=present,
        evidence=normal(*sets, D),
        evidence_kind=integers(2, *sets),
        evidence_distance_m=normal(*sets).abs() * 2_000,
        bearing_deg=360 * torch.rand(sets, generator=generator),
        age_years=normal(*sets),
        evidence_present=near,
    )


def map_fields(given, do):
    """The same queries with `do(name, tensor)` in place of each tensor."""
    fields = [field.name for field in dataclasses.fields(given)]
    return RerankBatch(**{name: do(name, getattr(given, name)) for name in fields})


def run_network(net, given):
    with torch.inference_mode():
        return net(given)


def assert_close(found, wanted, tolerance=1e-5):
    assert torch.allclose(found, wanted, atol=tolerance, rtol=tolerance)


QUERY_FIELDS = ("query", "query_kind")
EVIDENCE_FIELDS = (
    "evidence",
    "evidence_kind",
    "evidence_distance_m",
    "bearing_deg",
    "age_years",
    "evidence_present",
)


def test_reranker_outputs_are_finite_without_evidence(net):
    found = run_network(net, random_batch())
    assert torch.isfinite(found.logits[random_batch().present]).all()
    assert (found.logits[~random_batch().present] == -math.inf).all()
    bare = map_fields(random_batch(), lambda name, t: t & False if name.endswith("present") else t)
    for output in (found, run_network(net, bare)):
        assert all(
            torch.isfinite(t).all()
            for t in (output.no_match_logit, output.offset_km, output.attention)
        )
    assert (found.offset_km.norm(dim=-1) < SPEC.max_offset_km).all()
    for values in (found.offset_km[0], found.attention[0]):
        assert (values == 0).all(), "without evidence there is no offset"
    assert (found.offset_km[1:].norm(dim=-1) > 0.01).any()


def test_reranker_is_equivariant_to_order(net):
    given = random_batch()
    plain = run_network(net, given)
    evidence_order, candidate_order = torch.randperm(E), torch.randperm(K)
    shuffled_evidence = run_network(
        net, map_fields(given, lambda n, t: t[:, :, evidence_order] if n in EVIDENCE_FIELDS else t)
    )
    assert_close(shuffled_evidence.logits, plain.logits)
    assert_close(shuffled_evidence.attention, plain.attention[:, :, evidence_order])
    shuffled_candidates = run_network(
        net, map_fields(given, lambda n, t: t if n in QUERY_FIELDS else t[:, candidate_order])
    )
    for name in ("logits", "offset_km", "attention"):
        assert_close(getattr(shuffled_candidates, name), getattr(plain, name)[:, candidate_order])
    assert_close(shuffled_candidates.no_match_logit, plain.no_match_logit)


def test_reranker_ignores_padding(net):
    given = random_batch()
    wide = random_batch(candidates=K + 3, photos=E + 2, seed=1)

    def padded(name, tensor):
        if name in QUERY_FIELDS:
            return tensor
        grown = getattr(wide, name).clone()
        if name.endswith("present"):
            grown[:] = False
        inner = (
            (slice(None), slice(K), slice(E))
            if name in EVIDENCE_FIELDS
            else (slice(None), slice(K))
        )
        grown[inner] = tensor
        return grown

    plain, found = run_network(net, given), run_network(net, map_fields(given, padded))
    assert_close(found.logits[:, :K], plain.logits)
    assert_close(found.no_match_logit, plain.no_match_logit)
    assert_close(found.offset_km[:, :K], plain.offset_km)
    # The values of masked candidates do not matter either.
    masked = given.present[..., None]
    other = map_fields(
        given, lambda n, t: torch.where(masked, t, 5.0) if n in ("image", "gps") else t
    )
    assert_close(run_network(net, other).logits, plain.logits)


def test_reranker_query_is_independent_of_batch(net):
    given = random_batch(queries=64)
    together = run_network(net, given)
    candidate_order = torch.randperm(64, generator=torch.Generator().manual_seed(5))
    for size in (1, 8):
        for rows in candidate_order.split(size):
            part = run_network(net, map_fields(given, lambda n, t, rows=rows: t[rows]))
            assert_close(part.logits, together.logits[rows], 1e-4)
            assert_close(part.no_match_logit, together.no_match_logit[rows], 1e-4)
            assert_close(part.offset_km, together.offset_km[rows], 1e-4)
            assert torch.equal(part.logits.argmax(1), together.logits[rows].argmax(1))


def test_reranker_offset_points_towards_evidence(net):
    """With one bearing for all evidence, the offset has that bearing."""
    given = map_fields(
        random_batch(), lambda n, t: torch.full_like(t, 30.0) if n == "bearing_deg" else t
    )
    offset = run_network(net, given).offset_km
    moved = offset.norm(dim=-1) > 1e-6
    assert moved.any()
    assert_close(
        torch.atan2(offset[..., 0], offset[..., 1])[moved],
        torch.full(offset.shape[:2], math.pi / 6)[moved],
    )


def loop_attention(query, keys, values, bias):
    """One query `[C]`, keys and values `[N, C]`, a bias for each."""
    scale = math.sqrt(len(query))
    logits = [float(query @ key) / scale + float(b) for key, b in zip(keys, bias, strict=True)]
    top = max(logits)
    weights = [math.exp(logit - top) for logit in logits]
    shares = [weight / sum(weights) for weight in weights]
    output = sum(share * value for share, value in zip(shares, values, strict=True))
    return output, shares


@torch.inference_mode()
def test_evidence_attention_agrees_with_loop():
    torch.manual_seed(0)
    layer = EvidenceAttention(8, 2)
    tokens, photos = torch.randn(2, 3, 8), torch.randn(2, 3, 4, 8)
    there = torch.rand(2, 3, 4) < 0.5
    there[0, 0] = False
    found, attention = layer(tokens, photos, there)
    for b in range(2):
        for k in range(3):
            members = [photos[b, k, e] for e in range(4) if there[b, k, e]] + [layer.empty]
            normed = [layer.norm_set(member) for member in members]
            query, outputs, shares = layer.ask(layer.norm(tokens[b, k])), [], []
            for head in (slice(0, 4), slice(4, 8)):
                keys = [layer.key(member)[head] for member in normed]
                values = [layer.value(member)[head] for member in normed]
                output, weights = loop_attention(query[head], keys, values, [0.0] * len(members))
                outputs.append(output)
                shares.append(weights)
            wanted = layer.block(tokens[b, k] + layer.leave(torch.cat(outputs)))
            assert_close(found[b, k], wanted)
            mean = np.mean(shares, axis=0)[:-1]
            assert attention[b, k][there[b, k]].numpy() == pytest.approx(mean, abs=1e-6)
            assert (attention[b, k][~there[b, k]] == 0).all()


@torch.inference_mode()
def test_token_attention_agrees_with_loop():
    torch.manual_seed(0)
    layer, curve = TokenAttention(8, 2), DistanceBias(2)
    torch.nn.init.normal_(curve.curve.weight)
    torch.nn.init.normal_(curve.apart)
    given = random_batch(queries=2, candidates=4)
    bias = curve(pairwise_km(given.position), given.present)
    tokens = torch.randn(2, 6, 8)
    found = layer(tokens, bias)
    for b in range(2):
        parts = layer.enter(layer.norm(tokens[b])).reshape(6, 3, 2, 4)
        outputs = [
            torch.cat(
                [
                    loop_attention(parts[t, 0, a], parts[:, 1, a], parts[:, 2, a], bias[b, a, t])[0]
                    for a in range(2)
                ]
            )
            for t in range(6)
        ]
        assert_close(found[b], layer.block(tokens[b] + layer.leave(torch.stack(outputs))))


@torch.inference_mode()
def test_distance_bias_depends_on_distance_only():
    curve = DistanceBias(2)
    torch.nn.init.normal_(curve.curve.weight)
    km = torch.tensor([[[0.0, 10.0, 5_000.0], [10.0, 0.0, 10.0], [5_000.0, 10.0, 0.0]]])
    bias = curve(km, torch.tensor([[True, True, True]]))[0, :, 2:, 2:]
    assert torch.equal(bias[:, 0, 1], bias[:, 1, 2])
    assert torch.equal(bias, bias.transpose(1, 2))
    assert not torch.allclose(bias[:, 0, 1], bias[:, 0, 2])
    hidden = curve(km, torch.tensor([[True, False, True]]))[0]
    assert (hidden[:, :, 3] == -math.inf).all()
    assert torch.isfinite(hidden[:, 3, [0, 1, 2, 4]]).all()


def test_reranker_features_agree_with_numpy():
    given = random_batch()
    wanted = pairwise_m(given.position[2].numpy()) / 1e3
    assert pairwise_km(given.position)[2].numpy() == pytest.approx(wanted, rel=1e-5, abs=1e-4)
    values = torch.tensor([[3.0, 9.0, 5.0, -7.0]])
    there = torch.tensor([[True, False, True, True]])
    kept = np.array([3.0, 5.0, -7.0])
    wanted = (kept - kept.mean()) / kept.std()
    assert standardize(values, there, (1,))[there].numpy() == pytest.approx(wanted, rel=1e-5)
    assert float(masked_max(values, there)) == 5.0
    assert float(masked_max(values, there & False)) == 0.0


@torch.inference_mode()
def test_reranker_without_candidate_blocks_scores_candidates_separately():
    torch.manual_seed(0)
    alone, given = (
        RerankerNetwork(dataclasses.replace(SPEC, candidate_blocks=0)).eval(),
        random_batch(),
    )
    assert torch.isfinite(alone(given).no_match_logit).all()
    torch.nn.init.normal_(alone.bias.curve.weight)
    with_bias = run_network(alone, given)
    alone.bias.curve.weight.zero_()
    assert_close(run_network(alone, given).logits[given.present], with_bias.logits[given.present])


def test_reranker_at_start_ranks_by_similarity():
    torch.manual_seed(0)
    large = RerankerNetwork(
        RerankerSpec(
            dim=1536, width=256, candidate_blocks=5, evidence_blocks=2, use_embeddings=True
        )
    )
    assert sum(parameter.numel() for parameter in large.parameters()) <= 5_000_000
    torch.manual_seed(0)
    fresh, given = RerankerNetwork(SPEC), random_batch(queries=20)
    like = torch.nn.functional.cosine_similarity(given.query[:, None], given.image, dim=-1)
    best = like.masked_fill(~given.present, -2).argmax(1)
    assert (run_network(fresh, given).logits.argmax(1) == best).float().mean() > 0.6
