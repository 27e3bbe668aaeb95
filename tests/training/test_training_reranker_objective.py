"""The reranker's objective: targets, augmentation and validation compared with loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pinpoint.geo.distance import haversine_m
from pinpoint.geo.points import destination
from pinpoint.nets.bundle.bundles import read_bundle
from pinpoint.training.reranker import train_reranker
from pinpoint.training.reranker.config import RerankerConfig, TargetConfig
from pinpoint.training.reranker.objective import (
    augment,
    collate,
    offset_targets_km,
    rerank_loss,
    reranker_batch_loss,
    sample_batch,
    soft_targets,
)
from pinpoint.training.reranker.validation import compute_reranker_metrics, evaluate_reranker

DROPS = (
    "drop_evidence",
    "drop_evidence_photo",
    "drop_gps_channel",
    "drop_source_kind",
    "drop_region",
)


def test_reranker_network_overfits_one_batch(examples):
    """Without augmentation a network of this size can separate a few queries."""
    _, found = examples
    config = RerankerConfig.model_validate(
        {
            "name": "heart",
            "license": "CC0",
            "queries": [{"labels": "l", "images": "i"}],
            "network": {"width": 32, "heads": 2, "candidate_blocks": 2},
            "augmentation": dict.fromkeys(DROPS, 0.0),
            "schedule": {"batch_size": 8, "learning_rate": 3e-3},
        }
    )
    rows = np.flatnonzero(found.rows["present"].any(1))[:8]
    net = train_reranker.init_reranker_state(config, 256).nets
    shown = collate(found, rows)
    targets = soft_targets(
        shown.distance_km(), shown.inputs.present.numpy(), shown.in_gallery, config.targets
    )
    entropy = -(targets * np.log(np.maximum(targets, 1e-30))).sum(1).mean()
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)

    def loss():
        with torch.no_grad():
            return float(rerank_loss(net(shown.inputs), shown, config.targets, 5.0))

    first = loss()
    for step in range(80):
        optimizer.zero_grad()
        reranker_batch_loss(net, found, rows, step, config).backward()
        optimizer.step()
    last = loss()
    assert last - entropy < 0.3 * (first - entropy), "the minimum is the entropy of the targets"


def test_soft_targets_agree_with_formula():
    targets = TargetConfig()
    away = np.array([[0.2, 30.0, 4_000.0], [500.0, 900.0, 60.0]])
    present = np.array([[True, True, True], [True, True, False]])
    found = soft_targets(away, present, np.array([True, False]), targets)
    for row in range(2):
        worth = [
            sum(w * math.exp(-d / s) for s, w in {1: 0.5, 25: 0.35, 200: 0.15}.items()) * there
            for d, there in zip(away[row], present[row], strict=True)
        ]
        worth.append((0.05, 1.0)[row])
        assert found[row].tolist() == pytest.approx([value / sum(worth) for value in worth])
    assert found[0, 0] > 0.75
    assert found[1, -1] > 0.9


def test_offset_targets_lead_to_ground_truth_within_radius(examples):
    _, found = examples
    shown = collate(found, np.arange(12))
    way = offset_targets_km(shown, 5.0)
    length = np.hypot(way[..., 0], way[..., 1])
    position = shown.inputs.position.numpy()
    turn = np.degrees(np.arctan2(way[..., 0], way[..., 1]))
    there = destination(position, turn, 1e3 * length)
    ground_truth = np.broadcast_to(shown.ground_truth[:, None], position.shape)
    left = haversine_m(there, ground_truth) / 1e3
    assert np.abs(left - np.maximum(shown.distance_km() - 5.0, 0.0)).max() < 1e-3
    assert (shown.distance_km() < 5.0).any()


@pytest.mark.parametrize(
    "what", ["drop_evidence", "drop_gps_channel", "drop_source_kind", "drop_region"]
)
def test_augment_removes_what_is_dropped(examples, what):
    _, found = examples
    rows = np.arange(len(found.rows))
    none = dict.fromkeys(DROPS, 0.0)
    drops = RerankerConfig.model_fields["augmentation"].default.model_copy(
        update={**none, what: 1.0}
    )
    before, after = collate(found, rows), augment(found, rows, 3, 0, drops)
    again = augment(found, rows, 3, 0, drops)
    assert torch.equal(after.inputs.present, again.inputs.present), "a function of seed and step"
    there, left = before.inputs.present.numpy(), after.inputs.present.numpy()
    near = after.inputs.evidence_present.numpy()
    assert not (left & ~there).any()
    assert not (near & ~left[..., None]).any()
    if what == "drop_evidence":
        assert not near.any()
        assert (left == there).all()
    if what == "drop_gps_channel":
        assert not after.inputs.gps.any()
        assert after.inputs.in_channel[..., 0][left].all()
        assert not after.inputs.in_channel[..., 1].any()
        assert (left != there).any()
    if what == "drop_source_kind":
        for row in rows:
            assert len(np.unique(after.inputs.kind[row].numpy()[left[row]])) <= 1
            assert len(np.unique(after.inputs.evidence_kind[row].numpy()[near[row]])) <= 1
    if what == "drop_region":
        away = before.distance_km()
        lost_ground_truth = before.in_gallery & ~after.in_gallery
        assert lost_ground_truth.any()
        assert (after.in_gallery & before.in_gallery).any()
        assert not (left & (away <= 25.0))[lost_ground_truth].any()
        kept = after.in_gallery & (there != left).any(1)
        assert ((away <= 25.0) & there)[kept].tolist() == ((away <= 25.0) & left)[kept].tolist()


def test_augment_hides_images_near_validation_queries(examples):
    _, found = examples
    rows = np.arange(len(found.rows))
    asked, place = collate(found, rows).inputs, found.rows["ground_truth"][:1]
    hiding = found.hide_near(place, 25_000.0)
    none = dict.fromkeys(DROPS, 0.0)
    drops = RerankerConfig.model_fields["augmentation"].default.model_copy(update=none)
    shown = augment(hiding, rows, 0, 0, drops).inputs
    away = haversine_m(asked.position.numpy(), place[0])
    wanted = asked.present.numpy() & (away > 25_000.0)
    assert (shown.present.numpy() == wanted).all()
    assert not shown.evidence_present[~shown.present].any()
    assert 0 < wanted.sum() < asked.present.sum()
    assert torch.equal(collate(hiding, rows).inputs.present, asked.present), "validation sees all"


def test_sample_batch_visits_every_query_once_per_pass():
    rows = np.array([3, 5, 8, 13, 21])
    passes = np.concatenate([sample_batch(rows, step, 4, 7) for step in range(5)]).reshape(4, 5)
    assert all(sorted(each) == rows.tolist() for each in passes.tolist())
    assert len({tuple(each) for each in passes.tolist()}) > 1


def test_reranker_metrics_agree_with_loop(reranked, examples):
    config, _, made, _ = reranked
    _, found = examples
    net = open_net(made)
    rows = np.arange(len(found.rows))
    metrics = compute_reranker_metrics(evaluate_reranker(net, found, rows, config))
    hits = dict.fromkeys(("top1", "oracle", "vote", "rerank"), 0)
    with torch.no_grad():
        for row in rows:
            shown = collate(found, rows[row : row + 1])
            away = [
                haversine_m(np.array(place), shown.ground_truth[0]) / 1e3
                for place, there in zip(
                    shown.inputs.position[0].tolist(), shown.inputs.present[0], strict=True
                )
                if there
            ]
            scores = net(shown.inputs).logits[0].numpy()
            hits["top1"] += bool(away[0] < 25)
            hits["oracle"] += bool(min(away) < 25)
            hits["vote"] += bool(away[int(found.rows["vote_choice"][row])] < 25)
            hits["rerank"] += bool(away[int(scores.argmax())] < 25)
    for name, count in hits.items():
        assert metrics[f"{name} all@25km"] == pytest.approx(count / len(rows))
    assert metrics["queries not_in_gallery"] == 4
    assert metrics["queries retrieved"] + metrics["queries not_retrieved"] == len(rows) - 4


def open_net(made):
    from pinpoint.nets.reranker.bundle_reranker import load_reranker

    return load_reranker(read_bundle(made.bundle))
