"""The training loop: exact resuming after interrupts, and losses that agree with loops."""

from __future__ import annotations

import csv
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from pinpoint.errors import BadRequestError, ConflictError
from pinpoint.geo.distance import pairwise_m
from pinpoint.training.core import loop
from pinpoint.training.core.checkpoints import CHECKPOINT, resume_checkpoint
from pinpoint.training.core.configs import EmbedderConfig, ManifestSourceConfig, read_config
from pinpoint.training.core.loop import LoopContext
from pinpoint.training.core.sampling import BatchSampler
from pinpoint.training.embedder.features import Features
from pinpoint.training.embedder.objective import FeatureTable, embedder_batch_loss

WIDTH = 24


def config(**changes):
    plain: dict[str, Any] = {
        "name": "tried",
        "license": "CC0",
        "note": "Of a test.",
        "tower": "none",
        "sources": [{"manifest": "m.csv", "kind": "photo"}],
        "networks": {"dim": 16, "hidden": 24, "fourier_features_per_scale": 4},
        "losses": {"num_sampled_negatives": 8},
        "schedule": {
            "steps": 12,
            "batch_size": 16,
            "warmup_steps": 2,
            "checkpoint_steps": 5,
            "learning_rate": 3e-3,
        },
    }
    for name, change in changes.items():
        plain[name] = {**plain[name], **change} if isinstance(change, dict) else change
    return EmbedderConfig.model_validate(plain)


@pytest.fixture(scope="module")
def table(samples):
    values = np.random.default_rng(0).standard_normal((len(samples), WIDTH)).astype(np.float16)
    features = Features(values=values, rejected={})
    return FeatureTable.of(samples, features, np.arange(len(samples)), config())


@pytest.fixture(scope="module")
def sampler(samples):
    return BatchSampler(samples, np.arange(len(samples)), batch_size=16, seed=0)


def run(asked, table, sampler, folder, until=None):
    folder.mkdir(exist_ok=True)
    known = LoopContext(folder=folder, identity=asked.digest())
    state = resume_checkpoint(loop.init_state(asked, sampler.kinds, WIDTH), folder, asked.digest())
    began = state.step
    if until is not None:

        def stop(step):
            if step >= until:
                raise KeyboardInterrupt
            return sampler.batch(step)

        broken = type("Broken", (), {"batch": staticmethod(stop)})()
        with pytest.raises(KeyboardInterrupt):
            loop.train(state, table=table, sampler=broken, config=asked, context=known)
        return began, state
    done = loop.train(state, table=table, sampler=sampler, config=asked, context=known)
    return began, done


def weights(state):
    both = {"nets": state.nets.state_dict(), "average": state.averaged_nets.state_dict()}
    return {f"{part}.{key}": value for part, own in both.items() for key, value in own.items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("until", [3, 5, 8, 11])
def test_train_after_interrupt_gives_same_weights(table, sampler, tmp_path, until):
    asked = config()
    _, whole = run(asked, table, sampler, tmp_path / "whole")
    run(asked, table, sampler, tmp_path / "broken", until=until)
    began, resumed = run(asked, table, sampler, tmp_path / "broken")
    assert began == until // 5 * 5, "it resumes from the last checkpoint"
    assert same(weights(whole), weights(resumed))
    fresh = weights(loop.init_state(asked, sampler.kinds, WIDTH))
    for part in ("nets.heads", "average.heads", "nets.location", "average.location"):
        own = [key for key in fresh if key.startswith(part) and fresh[key].is_floating_point()]
        assert not all(torch.equal(fresh[key], weights(resumed)[key]) for key in own), part


def test_train_with_other_seed_gives_other_weights(table, sampler, tmp_path):
    _, one = run(config(), table, sampler, tmp_path / "one")
    _, other = run(config(schedule={"seed": 1}), table, sampler, tmp_path / "other")
    assert not same(weights(one), weights(other))


def test_resume_checkpoint_of_other_run_is_refused(table, sampler, tmp_path):
    run(config(), table, sampler, tmp_path / "run")
    other = config(schedule={"learning_rate": 1e-2})
    with pytest.raises(ConflictError, match="a run with another config, other images"):
        run(other, table, sampler, tmp_path / "run")
    path = tmp_path / "run" / CHECKPOINT
    for data in (path.read_bytes()[:1000], b"", b"no checkpoint"):
        path.write_bytes(data)
        with pytest.raises(ConflictError, match="cannot be resumed"):
            run(config(), table, sampler, tmp_path / "run")
    torch.save([1, 2], path)
    with pytest.raises(ConflictError, match="cannot be resumed"):
        run(config(), table, sampler, tmp_path / "run")


def test_train_loss_falls_and_is_logged(table, sampler, tmp_path):
    asked = config(schedule={"steps": 200, "checkpoint_steps": 200})
    _, state = run(asked, table, sampler, tmp_path / "run")
    with (tmp_path / "run" / loop.LOG).open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    losses = [float(line["loss"]) for line in lines]
    assert [int(line["step"]) for line in lines] == [50, 100, 150, 200]
    assert losses[-1] < 0.8 * losses[0]
    assert float(lines[-1]["learning_rate"]) < float(lines[0]["learning_rate"])
    assert state.step == 200


def test_train_average_and_learning_rate_follow_formulas(table, sampler, tmp_path):
    """The averaged weights and the learning rate follow their formulas at every step."""
    asked = config(
        schedule={"steps": 6, "checkpoint_steps": 1, "warmup_steps": 2, "ema_decay": 0.9}
    )
    kept = loop.init_state(asked, sampler.kinds, WIDTH).nets.state_dict()
    kept = {key: value.clone() for key, value in kept.items() if value.is_floating_point()}
    for step in range(6):
        folder = tmp_path / str(step)
        _, state = (
            run(asked, table, sampler, folder, until=step + 1)
            if step < 5
            else run(asked, table, sampler, folder)
        )
        # The schedule is at the next step, also after the last one.
        at = step + 1
        rate = 3e-3 * min(1, (at + 1) / 3) * 0.5 * (1 + math.cos(math.pi * at / 6))
        assert state.optimizer.param_groups[0]["lr"] == pytest.approx(rate, abs=1e-12)
        share = min(0.9, (1 + step) / (10 + step))
        now = state.nets.state_dict()
        for key, value in kept.items():
            kept[key] = share * value + (1 - share) * now[key]
            assert torch.allclose(state.averaged_nets.state_dict()[key], kept[key], atol=1e-6), key


def test_train_averaged_weights_have_lower_loss(table, sampler, tmp_path):
    asked = config(schedule={"steps": 120, "checkpoint_steps": 120, "ema_decay": 0.95})
    first = loop.init_state(asked, sampler.kinds, WIDTH).nets
    _, state = run(asked, table, sampler, tmp_path / "run")
    with torch.no_grad():
        before, after = (
            sum(
                float(embedder_batch_loss(nets, table, sampler.batch(n), 119, asked))
                for n in range(5)
            )
            for nets in (first, state.averaged_nets)
        )
    assert after < 0.8 * before


def test_train_with_patience_stops_at_best_weights(table, sampler, tmp_path):
    """With scores 0.3, 0.5, 0.4, 0.5 step 4 is best, and training stops two checkpoints later."""
    asked = config(schedule={"steps": 40, "checkpoint_steps": 2, "patience": 2})
    folder, said = tmp_path / "run", iter((0.3, 0.5, 0.4, 0.5, 0.9))
    folder.mkdir()
    averages = []

    def score(average):
        averages.append({key: value.clone() for key, value in average.state_dict().items()})
        return next(said)

    known = LoopContext(folder=folder, identity=asked.digest())
    state = loop.init_state(asked, sampler.kinds, WIDTH)
    state = loop.train(
        state, table=table, sampler=sampler, config=asked, score=score, context=known
    )
    assert (state.step, state.best.step, len(averages)) == (8, 4, 4)
    assert same(state.averaged_nets.state_dict(), averages[1])
    again = resume_checkpoint(loop.init_state(asked, sampler.kinds, WIDTH), folder, asked.digest())
    again = loop.train(
        again, table=table, sampler=sampler, config=asked, score=score, context=known
    )
    assert (again.step, len(averages)) == (8, 4), "a finished run does not continue"
    assert same(again.averaged_nets.state_dict(), averages[1])


def test_train_that_diverges_keeps_last_checkpoint(table, sampler, tmp_path):
    run(config(), table, sampler, tmp_path / "run", until=6)
    before = (tmp_path / "run" / CHECKPOINT).read_bytes()
    wild = replace(table, features=np.full_like(table.features, np.nan))
    with pytest.raises(BadRequestError, match="training diverged at step 5"):
        run(config(), wild, sampler, tmp_path / "run")
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == before


def test_near_pairs_draw_finds_partners_for_batch(samples, table, sampler):
    """Without partners, batches that are uniform over cells rarely contain a pair."""
    drawn = table.near_pairs.draw(0, sampler.batch(0))
    assert (drawn >= 0).sum() >= 4


def test_embedder_batch_loss_agrees_with_loop(samples, table, sampler):
    """Without sampled negatives: image against position for each kind, image against image."""
    asked = config(
        losses={
            "num_sampled_negatives": 0,
            "image_gps": 0.7,
            "image_image": 0.4,
            "positive_radius_m": 800.0,
        }
    )
    nets = loop.init_state(asked, sampler.kinds, WIDTH).nets
    rows = sampler.batch(3)
    found = float(embedder_batch_loss(nets, table, rows, 3, asked).detach())
    size, drawn = len(rows), table.near_pairs.draw(3, rows)
    shown = [*rows, *sorted({row for row in drawn if row >= 0} - set(rows.tolist()))]
    with torch.no_grad():
        kinds = [samples.kinds[row] for row in shown]
        features = torch.from_numpy(table.features[shown].astype(np.float32))
        seen = nets.heads(features, kinds).double()
        places = nets.location(torch.from_numpy(samples.positions[rows])).double()
    away = pairwise_m(samples.positions[shown], samples.positions[shown])
    first, last, half = asked.losses.negative_radius_start_m, asked.losses.negative_radius_end_m, 6
    radius = first ** (1 - 3 / half) * last ** (3 / half)

    def softplus(x):
        return math.log1p(math.exp(-abs(x))) + max(x, 0.0)

    def term(left, right, i, j, positive):
        z = 10.0 * float(left[i] @ right[j]) - 10.0
        u = min(1.0, away[i, j] / radius)
        return softplus(-z) if positive else u * u * (3 - 2 * u) * softplus(z)

    total, count = 0.0, range(len(shown))
    for kind in sorted(set(kinds)):
        own = [i for i in range(size) if kinds[i] == kind]
        parts = (term(seen, places, i, j, i == j) for i in own for j in range(size))
        total += 0.7 * sum(parts) / len(own)
    names = samples.creators[shown]
    pairs = {
        (i, j)
        for i in count
        for j in count
        if away[i, j] <= 800.0
        and (kinds[i] != kinds[j] or (names[i] != names[j] and "" not in (names[i], names[j])))
    }
    assert pairs
    parts = (term(seen, seen, i, j, (i, j) in pairs) for i in count for j in count)
    total += 0.4 * sum(parts) / max(len(pairs), size / 4)
    assert found == pytest.approx(total, rel=1e-3)


def test_read_config_with_invalid_values_is_refused(tmp_path):
    path = tmp_path / "run.toml"
    with pytest.raises(BadRequestError, match=r"run\.toml cannot be read"):
        read_config(path)
    good = 'name = "a"\nlicense = "CC0"\nnote = "n"\ntower = "t"\n'
    good += 'sources = [{ manifest = "deep/m.csv", kind = "photo" }]\n'
    for text, words in (
        ("name = ", "is not valid TOML"),
        (good + "more = 1\n", "more"),
        (good.replace("photo", "foto"), "kind: Input should be 'photo' or 'street'"),
        (good + "[schedule]\nbatch_size = 1\n", r"schedule\.batch_size"),
        (good + "[losses]\npositive_radius_m = -1\n", r"losses\.positive_radius_m"),
    ):
        path.write_text(text)
        with pytest.raises(BadRequestError, match=words):
            read_config(path)
    path.write_text(good)
    read = read_config(path)
    (source,) = read.sources
    assert isinstance(source, ManifestSourceConfig)
    assert source.manifest == tmp_path / "deep" / "m.csv"
    moved = tmp_path / "elsewhere.toml"
    moved.write_text(good.replace("deep", "other"))
    assert read_config(moved).digest() == read.digest(), "the digest does not cover folders"
