"""Losses: agreement with loops, no positives, symmetry, autocast, overfitting of one batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pinpoint.geo.cells import cell_ids
from pinpoint.geo.distance import pairwise_m
from pinpoint.nets.bundle.specs import HeadsSpec, LocationSpec
from pinpoint.nets.embedder.heads import KindHeads
from pinpoint.nets.embedder.location import LocationTower
from pinpoint.nets.embedder.losses import (
    OccupiedCells,
    Temperature,
    cross_source_pairs,
    negative_radius_m,
    negative_weights,
    sample_negatives,
    sigmoid_contrastive,
)


def pairs(seed, rows=6, columns=9, share=0.2):
    """Two sides of unit vectors, targets and weights."""
    torch.manual_seed(seed)
    left = F.normalize(torch.randn(rows, 16), dim=1)
    right = F.normalize(torch.randn(columns, 16), dim=1)
    return left, right, torch.rand(rows, columns) < share, torch.rand(rows, columns)


def sigmoid_loss_by_loop(left, right, scale, bias, targets, weights):
    total = count = 0.0
    for row, left_vector in enumerate(left.tolist()):
        for column, right_vector in enumerate(right.tolist()):
            dot = math.fsum(a * b for a, b in zip(left_vector, right_vector, strict=True))
            z = scale * dot + bias
            if targets[row, column]:
                total += math.log1p(math.exp(-z))
                count += 1
            else:
                total += float(weights[row, column]) * math.log1p(math.exp(z))
    return total / count if count else 0.0


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("scale", "bias"), [(10.0, -10.0), (30.0, 2.0), (0.5, 0.0)])
def test_sigmoid_contrastive_agrees_with_loop(seed, scale, bias):
    left, right, targets, weights = pairs(seed)
    found = sigmoid_contrastive(left, right, scale, bias, targets, weights)
    assert found.item() == pytest.approx(
        sigmoid_loss_by_loop(left, right, scale, bias, targets, weights), rel=1e-5
    )
    swapped = sigmoid_contrastive(right, left, scale, bias, targets.T, weights.T)
    assert swapped.item() == pytest.approx(found.item(), rel=1e-6)
    plain = sigmoid_contrastive(left, right, scale, bias, targets)
    ones = torch.ones_like(weights)
    assert plain.item() == pytest.approx(
        sigmoid_loss_by_loop(left, right, scale, bias, targets, ones), rel=1e-5
    )


def test_sigmoid_contrastive_with_diagonal_targets_is_the_siglip_loss():
    left, right, _, _ = pairs(3, rows=8, columns=8)
    scale, bias = Temperature()()
    assert (scale.item(), bias.item()) == pytest.approx((10.0, -10.0))
    signs = 2 * torch.eye(8) - 1
    paper = -F.logsigmoid(signs * (scale * left @ right.T + bias)).sum() / 8
    found = sigmoid_contrastive(left, right, scale, bias, torch.eye(8, dtype=torch.bool))
    torch.testing.assert_close(found, paper)


@pytest.mark.parametrize("shape", [(6, 9), (6, 0), (0, 9), (0, 0)])
def test_sigmoid_contrastive_without_positives_has_zero_loss_and_gradient(shape):
    left, right, _, weights = pairs(4, *shape)
    left.requires_grad_(True)
    temperature = Temperature()
    none = torch.zeros(shape, dtype=torch.bool)
    scale, bias = temperature()
    loss = sigmoid_contrastive(left, right, scale, bias, none, weights)
    assert loss.item() == 0.0
    loss.backward()
    for parameter in (left, temperature.log_scale, temperature.bias):
        assert torch.equal(parameter.grad, torch.zeros_like(parameter))


def test_sigmoid_contrastive_weights_apply_to_negatives_only():
    left, right, _, _ = pairs(5, rows=2, columns=3)
    left.requires_grad_(True)
    targets = torch.tensor([[True, False, False], [False, False, False]])
    weights = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    sigmoid_contrastive(left, right, 10.0, -1.0, targets, weights).backward()
    assert left.grad[0].abs().max() > 0.1
    assert torch.equal(left.grad[1], torch.zeros(16))
    alone = sigmoid_contrastive(left[:1], right[:1], 10.0, -1.0, targets[:1, :1], weights[:1, :1])
    assert alone.item() > 0


def test_sigmoid_contrastive_under_autocast_is_unchanged():
    left, right, targets, weights = pairs(6)
    plain = sigmoid_contrastive(left, right, 10.0, -10.0, targets, weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = sigmoid_contrastive(left, right, 10.0, -10.0, targets, weights)
        assert (left @ right.T).dtype == torch.bfloat16
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, plain)
    # Far from zero neither side overflows.
    assert sigmoid_contrastive(left, right, 1e4, -1e4, targets).isfinite()


def test_sigmoid_contrastive_of_split_batch_averages_to_whole():
    left, right, targets, weights = pairs(7, rows=8)
    whole = sigmoid_contrastive(left, right, 10.0, -5.0, targets, weights)
    parts_of_batch = [slice(0, 4), slice(4, 8)]
    parts = [
        sigmoid_contrastive(
            left[part], right, 10.0, -5.0, targets[part], weights[part], targets.sum() / 2
        )
        for part in parts_of_batch
    ]
    assert float(sum(parts) / 2) == pytest.approx(whole.item(), rel=1e-6)


def test_sigmoid_contrastive_with_mismatched_shapes_is_refused():
    left, right, targets, weights = pairs(8)
    with pytest.raises(ValueError, match=r"must be \[6, 9\] bool, not \[9, 6\]"):
        sigmoid_contrastive(left, right, 1.0, 0.0, targets.T)
    with pytest.raises(ValueError, match=r"bool, not \[6, 9\] torch.float32"):
        sigmoid_contrastive(left, right, 1.0, 0.0, targets.float())
    with pytest.raises(ValueError, match=r"weights must be \[6, 9\]"):
        sigmoid_contrastive(left, right, 1.0, 0.0, targets, weights[:, :1])


def weight_by_loop(away_m, radius_m):
    if away_m >= radius_m:
        return 1.0
    return 3 * (away_m / radius_m) ** 2 - 2 * (away_m / radius_m) ** 3


@pytest.mark.parametrize("radius_m", [1.0, 2_000.0, 25_000.0])
def test_negative_weights_agree_with_loop_and_are_monotone(radius_m):
    away = torch.linspace(0, 1.5 * radius_m, 30_001, dtype=torch.float64)
    found = negative_weights(away.view(1, -1), radius_m)
    assert found.dtype == torch.float32
    assert found.shape == (1, 30_001)
    expected = [weight_by_loop(distance_m, radius_m) for distance_m in away.tolist()]
    np.testing.assert_allclose(found[0], expected, atol=1e-7)
    assert found[0, 0] == 0
    assert (found[0][away >= radius_m] == 1).all()
    rises = found[0].diff()
    assert rises.min() >= 0
    # Smooth: no step is steeper than 1.5 / radius, the slope in the middle.
    assert rises.max() <= 1.5 * 1.5 / 30_000 + 1e-6


@pytest.mark.parametrize("radius_m", [0.0, -1.0, math.nan])
def test_negative_weights_with_invalid_radius_is_refused(radius_m):
    with pytest.raises(ValueError, match="above 0 m"):
        negative_weights(torch.zeros(1, 1), radius_m)


def test_negative_radius_shrinks_geometrically_then_stays():
    radii = [negative_radius_m(n, steps=4, start_m=25_600.0, end_m=100.0) for n in range(7)]
    assert radii == pytest.approx([25_600, 6_400, 1_600, 400, 100, 100, 100])
    assert negative_radius_m(3, steps=9, start_m=5.0, end_m=5.0) == pytest.approx(5.0)
    for wrong in ({"end_m": 0.0}, {"end_m": 30_000.0}, {"steps": 0}, {"start_m": math.inf}):
        with pytest.raises(ValueError, match="a radius cannot shrink"):
            negative_radius_m(0, **{"steps": 4, "start_m": 25_600.0, "end_m": 100.0, **wrong})


def is_pair_by_loop(row, column, away_m, kinds, groups, within_m, same_kind):
    if row == column or away_m[row, column] > within_m:
        return False
    if kinds[row] != kinds[column]:
        return True
    both_grouped = groups[row] >= 0 and groups[column] >= 0
    return bool(same_kind and both_grouped and groups[row] != groups[column])


@pytest.mark.parametrize("same_kind", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_cross_source_pairs_agree_with_loop(seed, same_kind):
    rng = np.random.default_rng(seed)
    # Some at the same position, some across the antimeridian.
    spots = np.array([[10.0, 179.9995], [10.0, -179.9995], [10.001, 180.0], [40.0, 5.0]])
    away = torch.tensor(pairwise_m(spots[rng.integers(4, size=24)]))
    kinds, groups = (torch.tensor(rng.integers(low, 3, 24)) for low in (0, -1))
    found = cross_source_pairs(away, kinds, groups, 120.0, same_kind=same_kind)
    expected = [
        [is_pair_by_loop(a, b, away, kinds, groups, 120.0, same_kind) for b in range(24)]
        for a in range(24)
    ]
    assert found.dtype == torch.bool
    assert found.tolist() == expected
    assert torch.equal(found, found.T)
    assert 0 < found.sum() < 24 * 23
    none = torch.zeros(0, dtype=torch.long)
    assert cross_source_pairs(torch.zeros(0, 0), none, none, 1.0).shape == (0, 0)
    with pytest.raises(ValueError, match="24 kinds need"):
        cross_source_pairs(away[:3], kinds, groups, 1.0)


def test_cross_source_pairs_at_limit_are_included():
    away, apart = torch.tensor([[0.0, 50.0], [50.0, 0.0]]), torch.tensor([0, 1])
    assert cross_source_pairs(away, apart, apart, 50.0).tolist() == [[False, True], [True, False]]
    assert not cross_source_pairs(away, apart, apart, 49.9).any()


@pytest.fixture(scope="module")
def gallery():
    """Cells of a dense city, a village and single images, in mixed order."""
    rng = np.random.default_rng(9)
    spots = np.array([[48.1, 11.5], [-3.0, 40.0], [60.0, -150.0], [0.0, 0.0]])
    rows = rng.permutation(np.repeat(np.arange(4), [900, 90, 9, 1]))
    return cell_ids(spots[rows], (5,))[:, 0]


def test_sample_negatives_is_uniform_over_cells_and_rows(gallery):
    drawn = sample_negatives(OccupiedCells.of(gallery), 40_000, np.random.default_rng(1))
    assert drawn.dtype == np.int64
    cells, counts = np.unique(gallery[drawn], return_counts=True)
    assert set(cells) == set(gallery)
    # Five standard deviations of a binomial; by the gallery's density it would be 36,000 and 40.
    assert np.abs(counts - 10_000).max() < 5 * math.sqrt(40_000 * 0.25 * 0.75)
    for cell in cells:
        rows = np.flatnonzero(gallery == cell)
        times = np.bincount(drawn, minlength=len(gallery))[rows]
        expected = 10_000 / len(rows)
        assert np.abs(times - expected).max() < 6 * math.sqrt(expected) + 500 * (len(rows) == 1)


def test_sample_negatives_agrees_with_loop_and_seed(gallery):
    found = sample_negatives(OccupiedCells.of(gallery), 500, np.random.default_rng(2))
    rng = np.random.default_rng(2)
    rows = {cell: np.flatnonzero(gallery == cell) for cell in sorted(set(gallery.tolist()))}
    chosen = [list(rows)[n] for n in rng.integers(len(rows), size=500)]
    within = rng.integers([len(rows[cell]) for cell in chosen])
    assert found.tolist() == [rows[c][n] for c, n in zip(chosen, within, strict=True)]
    assert sample_negatives(OccupiedCells.of(gallery), 0, rng).shape == (0,)
    with pytest.raises(ValueError, match="no images"):
        sample_negatives(OccupiedCells.of(gallery[:0]), 1, rng)


def test_embedder_networks_overfit_one_batch():
    """32 images of both kinds; half of the positions are 1.1 km from the other half."""
    torch.manual_seed(10)
    heads = KindHeads(HeadsSpec(feature_dim=64, hidden=128, dim=64))
    tower = LocationTower(LocationSpec(hidden=128, dim=64))
    temperature = Temperature()
    spots = np.random.default_rng(11).uniform((-60, -180), (60, 180), (16, 2))
    positions = torch.tensor(np.concatenate([spots, np.add(spots, [0.01, 0.0])]))
    features, kinds = torch.randn(32, 64), ["photo", "street"] * 16
    targets = torch.eye(32, dtype=torch.bool)
    nets = torch.nn.ModuleList([heads, tower, temperature])
    optimizer = torch.optim.AdamW(nets.parameters(), lr=3e-3, weight_decay=0.0)
    losses = []
    for _ in range(400):
        optimizer.zero_grad()
        scale, bias = temperature()
        loss = sigmoid_contrastive(heads(features, kinds), tower(positions), scale, bias, targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] > 5
    assert losses[-1] < 0.02
    found = heads(features, kinds) @ tower(positions).T
    assert found.argmax(dim=1).tolist() == list(range(32))
