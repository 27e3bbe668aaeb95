"""Adapters per kind: rows are independent, and training one kind changes no other adapter."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter, ValidationError

from pinpoint.nets.bundle.specs import HeadsSpec
from pinpoint.nets.embedder.heads import KindHeads

SPEC = HeadsSpec(feature_dim=48, hidden=64, dim=32, adapter_blocks=2, trunk_blocks=1)
KINDS = ["photo", "street", None, "drone", "street", "photo"]


@pytest.fixture(scope="module")
def heads():
    torch.manual_seed(1)
    return KindHeads(SPEC).eval()


@pytest.fixture(scope="module")
def features():
    return 3.0 * torch.randn(64, SPEC.feature_dim, generator=torch.Generator().manual_seed(2)) + 1.0


@pytest.fixture(scope="module")
def kinds():
    return [KINDS[row % len(KINDS)] for row in range(64)]


def reference_row(weights, features, kind):
    """One output row in float64, computed from the weights by name."""

    def norm(name, row):
        row = (row - row.mean()) / (row.var(unbiased=False) + 1e-5).sqrt()
        return row * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def linear(name, row):
        return weights[f"{name}.weight"] @ row + weights[f"{name}.bias"]

    def block(name, row):
        return row + linear(
            f"{name}.leave", F.gelu(linear(f"{name}.enter", norm(f"{name}.norm", row)))
        )

    adapter = f"adapters.of_{kind}"
    row = F.gelu(linear(f"{adapter}.enter", norm(f"{adapter}.norm", features.double())))
    for name in (f"{adapter}.blocks.0", f"{adapter}.blocks.1", "trunk.0"):
        row = block(name, row)
    row = linear("trunk.2", norm("trunk.1", row))
    return row / row.norm()


def test_kind_heads_agree_with_float64_reference(heads, features, kinds):
    weights = {name: tensor.double() for name, tensor in heads.state_dict().items()}
    found = heads(features, kinds)
    for row, kind in enumerate(kinds):
        served = kind if kind in SPEC.kinds else "photo"
        torch.testing.assert_close(
            found[row].double(), reference_row(weights, features[row], served), atol=1e-5, rtol=0
        )


def test_kind_heads_return_fp32_unit_vectors(heads, features, kinds):
    vectors = heads(features, kinds)
    assert vectors.dtype == torch.float32
    assert vectors.shape == (64, SPEC.dim)
    np.testing.assert_allclose(vectors.detach().double().norm(dim=1), 1.0, atol=1e-6)
    assert heads(features[:0], []).shape == (0, SPEC.dim)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = heads(features, kinds)
    assert mixed.dtype == torch.float32
    np.testing.assert_allclose(mixed.detach().double().norm(dim=1), 1.0, atol=1e-6)
    assert 1e-5 < (mixed - vectors).abs().max() < 0.05, "autocast should have changed the layers"
    torch.testing.assert_close(heads(features.half(), kinds), vectors, atol=5e-3, rtol=0)


@torch.no_grad()
def test_kind_heads_row_is_independent_of_batch_and_order(heads, features, kinds):
    together = heads(features, kinds)
    alone = torch.cat([heads(features[row : row + 1], [kinds[row]]) for row in range(64)])
    torch.testing.assert_close(alone, together, atol=1e-5, rtol=0)
    order = np.random.default_rng(3).permutation(64)
    shuffled = heads(features[order], [kinds[row] for row in order])
    torch.testing.assert_close(shuffled, together[order], atol=1e-5, rtol=0)
    # The same rows in a batch where all others have another kind.
    other_kinds = ["photo"] * 32 + kinds[32:]
    torch.testing.assert_close(heads(features, other_kinds)[32:], together[32:], atol=1e-5, rtol=0)
    assert torch.cdist(together, together).add(torch.eye(64)).min() > 1e-2, "all rows are alike"


@torch.no_grad()
@pytest.mark.parametrize("default", ["photo", "street"])
def test_kind_heads_unknown_kind_uses_default_adapter(default, features):
    torch.manual_seed(4)
    spec = HeadsSpec(feature_dim=48, hidden=64, dim=32, default_kind=default)
    heads, other = KindHeads(spec), {"photo": "street", "street": "photo"}[default]
    stated = heads(features, [default] * 64)
    assert torch.equal(heads(features, [None] * 64), stated)
    assert torch.equal(heads(features, ["drone"] * 64), stated)
    assert (heads(features, [other] * 64) - stated).abs().max() > 0.1


def steps(heads, optimizer, features, kinds, count, *, set_to_none=True):
    target = F.normalize(torch.randn(len(features), SPEC.dim), dim=1)
    for _ in range(count):
        optimizer.zero_grad(set_to_none=set_to_none)
        (heads(features, kinds) - target).square().sum().backward()
        optimizer.step()


def differing(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize(("trained", "other"), [("photo", "street"), ("street", "photo")])
def test_kind_heads_training_one_kind_leaves_other_adapter_unchanged(trained, other, features):
    torch.manual_seed(5)
    heads = KindHeads(SPEC)
    optimizer = torch.optim.AdamW(heads.parameters(), lr=1e-2, weight_decay=0.5)
    # Both kinds first, so that AdamW has moments for the adapter that is then left out.
    steps(heads, optimizer, features, ["photo", "street"] * 32, 3)
    before = copy.deepcopy(heads.state_dict())
    steps(heads, optimizer, features, [trained] * 64, 5)
    assert all(parameter.grad is None for parameter in heads.adapter(other).parameters())
    changed = differing(before, heads.state_dict())
    assert not any(name.startswith(f"adapters.of_{other}.") for name in changed)
    rest = {name for name in before if not name.startswith(f"adapters.of_{other}.")}
    assert changed == rest, "trained weights must change, or this test proves nothing"


def test_kind_heads_zero_gradients_still_change_adapter(features):
    """The reason why `KindHeads` requires `set_to_none=True`."""
    torch.manual_seed(5)
    heads = KindHeads(SPEC)
    optimizer = torch.optim.AdamW(heads.parameters(), lr=1e-2, weight_decay=0.5)
    steps(heads, optimizer, features, ["photo", "street"] * 32, 3)
    before = copy.deepcopy(heads.state_dict())
    steps(heads, optimizer, features, ["photo"] * 64, 1, set_to_none=False)
    assert "adapters.of_street.enter.weight" in differing(before, heads.state_dict())


def test_kind_heads_accept_any_kind_names_of_spec(features):
    spec = HeadsSpec(feature_dim=48, hidden=8, dim=4, kinds=("train", "keys"), default_kind="keys")
    heads = KindHeads(spec)
    assert heads.adapter("train") is not heads.adapter("keys")
    assert heads.adapter("photo") is heads.adapter(None) is heads.adapter("keys")
    assert heads(features[:3], ["train", "keys", "photo"]).shape == (3, 4)


def test_kind_heads_with_mismatched_inputs_are_refused(heads, features):
    with pytest.raises(ValueError, match=r"must be \[B, 48\], not \[64, 47\]"):
        heads(features[:, 1:], ["photo"] * 64)
    with pytest.raises(ValueError, match=r"must be \[B, 48\], not \[48\]"):
        heads(features[0], ["photo"])
    with pytest.raises(ValueError, match="64 rows of features came with 63 kinds"):
        heads(features, ["photo"] * 63)


@pytest.mark.parametrize(
    ("invalid", "message"),
    [
        ({"kinds": ("photo", "photo")}, "contain a duplicate"),
        ({"kinds": ("street",)}, "default kind 'photo' is none of street"),
        ({"kinds": ()}, "at least 1"),
        ({"kinds": ("photo", "a.b")}, "pattern"),
        ({"hidden": 0}, "greater than or equal to 1"),
        ({"depth": 3}, "unexpected|Unexpected"),
    ],
)
def test_heads_spec_with_invalid_values_is_refused(invalid, message):
    values = {"feature_dim": 48, "hidden": 64, "dim": 32, **invalid}
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(HeadsSpec).validate_python(values)


def test_heads_spec_survives_json_round_trip():
    spec = TypeAdapter(HeadsSpec)
    assert spec.validate_json(spec.dump_json(SPEC)) == SPEC


def test_start_at_tower_keeps_cosines_of_tower(features):
    torch.manual_seed(3)
    spec = HeadsSpec(feature_dim=48, hidden=512, dim=512, adapter_blocks=1, trunk_blocks=2)
    heads = KindHeads(spec).eval()
    normed = F.layer_norm(features, (spec.feature_dim,))
    cosines = F.cosine_similarity(normed[:, None], normed[None], dim=2)
    random_vectors = heads(features, ["photo"] * 64)
    heads.start_at_tower()
    with torch.inference_mode():
        photos, streets = (heads(features, [kind] * 64) for kind in ("photo", "street"))
    assert torch.equal(photos, streets)
    torch.testing.assert_close(photos @ photos.T, cosines, atol=0.02, rtol=0)
    assert (random_vectors @ random_vectors.T - cosines).abs().max() > 0.2
