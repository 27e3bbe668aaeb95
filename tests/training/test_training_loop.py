"""The loop: broken off anywhere it ends as if it had not been, and minimises what it says."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
import torch

from pinpoint.errors import BadRequest, Conflict
from pinpoint.geo.distance import pairwise_m
from pinpoint.training import loop
from pinpoint.training.configs import EmbedderConfig, read_config
from pinpoint.training.features import Features
from pinpoint.training.objective import Table, batch_loss
from pinpoint.training.sampling import BatchSampler

WIDTH = 24


def config(**changes):
    plain = {
        "name": "tried",
        "licence": "CC0",
        "note": "Of a test.",
        "tower": "none",
        "sources": [{"manifest": "m.csv", "kind": "photo"}],
        "networks": {"dim": 16, "hidden": 24, "location_waves": 4},
        "losses": {"extra_places": 8},
        "schedule": {
            "steps": 12,
            "batch": 16,
            "warm_steps": 2,
            "checkpoint_steps": 5,
            "rate": 3e-3,
        },
    }
    for name, change in changes.items():
        plain[name] = {**plain[name], **change} if isinstance(change, dict) else change
    return EmbedderConfig.model_validate(plain)


@pytest.fixture(scope="module")
def table(samples):
    values = np.random.default_rng(0).standard_normal((len(samples), WIDTH)).astype(np.float16)
    return Table.of(samples, Features(values=values, refused={}), np.arange(len(samples)))


@pytest.fixture(scope="module")
def sampler(samples):
    return BatchSampler(samples, np.arange(len(samples)), batch=16, seed=0)


def run(asked, table, sampler, folder, until=None):
    folder.mkdir(exist_ok=True)
    state = loop.resume(loop.begin(asked, sampler.kinds, WIDTH), folder, asked)
    began = state.step
    if until is not None:

        def stop(step):
            if step >= until:
                raise KeyboardInterrupt
            return sampler.batch(step)

        broken = type("Broken", (), {"batch": staticmethod(stop)})()
        with pytest.raises(KeyboardInterrupt):
            loop.run(state, table=table, sampler=broken, config=asked, folder=folder)
        return began, state
    done = loop.run(state, table=table, sampler=sampler, config=asked, folder=folder)
    return began, done


def weights(state):
    both = {"nets": state.nets.state_dict(), "average": state.average.state_dict()}
    return {f"{part}.{key}": value for part, own in both.items() for key, value in own.items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("until", [3, 5, 8, 11])
def test_a_run_that_was_broken_off_ends_as_one_that_was_not(table, sampler, tmp_path, until):
    asked = config()
    _, whole = run(asked, table, sampler, tmp_path / "whole")
    run(asked, table, sampler, tmp_path / "broken", until=until)
    began, resumed = run(asked, table, sampler, tmp_path / "broken")
    assert began == until // 5 * 5, "it goes on from the last checkpoint"
    assert same(weights(whole), weights(resumed))
    assert not same(weights(whole), weights(loop.begin(asked, sampler.kinds, WIDTH)))


def test_another_seed_gives_other_weights(table, sampler, tmp_path):
    _, one = run(config(), table, sampler, tmp_path / "one")
    _, other = run(config(schedule={"seed": 1}), table, sampler, tmp_path / "other")
    assert not same(weights(one), weights(other))


def test_a_checkpoint_of_another_run_or_of_nothing_is_refused(table, sampler, tmp_path):
    run(config(), table, sampler, tmp_path / "run")
    other = config(schedule={"rate": 1e-2})
    with pytest.raises(Conflict, match="a run of another config"):
        run(other, table, sampler, tmp_path / "run")
    path = tmp_path / "run" / loop.CHECKPOINT
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(Conflict, match="cannot be gone on with"):
        run(config(), table, sampler, tmp_path / "run")


def test_the_loss_falls_and_is_logged(table, sampler, tmp_path):
    asked = config(schedule={"steps": 300, "checkpoint_steps": 300})
    _, state = run(asked, table, sampler, tmp_path / "run")
    with (tmp_path / "run" / loop.LOG).open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    losses = [float(line["loss"]) for line in lines]
    assert [int(line["step"]) for line in lines] == [50, 100, 150, 200, 250, 300]
    assert losses[-1] < 0.8 * losses[0]
    assert float(lines[-1]["rate"]) < float(lines[0]["rate"])
    assert state.step == 300


def test_the_loss_of_a_batch_against_a_loop_over_pairs(samples, table, sampler):
    """Without extra places: picture against place for each kind, picture against picture."""
    asked = config(losses={"extra_places": 0, "place": 0.7, "picture": 0.4, "near_m": 800.0})
    nets = loop.begin(asked, sampler.kinds, WIDTH).nets
    rows = sampler.batch(3)
    found = float(batch_loss(nets, table, rows, 3, asked).detach())
    with torch.no_grad():
        kinds = [samples.kinds[row] for row in rows]
        features = torch.from_numpy(table.features[rows].astype(np.float32))
        seen = nets.heads(features, kinds).double()
        places = nets.location(torch.from_numpy(samples.positions[rows])).double()
    away = pairwise_m(samples.positions[rows], samples.positions[rows])
    first, last, half = asked.losses.first_radius_m, asked.losses.last_radius_m, 6
    radius = first ** (1 - 3 / half) * last ** (3 / half)

    def softplus(x):
        return math.log1p(math.exp(-abs(x))) + max(x, 0.0)

    def term(left, right, i, j, positive):
        z = 10.0 * float(left[i] @ right[j]) - 10.0
        u = min(1.0, away[i, j] / radius)
        return softplus(-z) if positive else u * u * (3 - 2 * u) * softplus(z)

    total, count = 0.0, range(len(rows))
    for kind in sorted(set(kinds)):
        own = [i for i in count if kinds[i] == kind]
        total += 0.7 * sum(term(seen, places, i, j, i == j) for i in own for j in count) / len(own)
    names = samples.creators[rows]
    pairs = {
        (i, j)
        for i in count
        for j in count
        if away[i, j] <= 800.0
        and (kinds[i] != kinds[j] or (names[i] != names[j] and "" not in (names[i], names[j])))
    }
    if pairs:
        parts = (term(seen, seen, i, j, (i, j) in pairs) for i in count for j in count)
        total += 0.4 * sum(parts) / len(pairs)
    assert found == pytest.approx(total, rel=1e-3)


def test_configs_that_cannot_be_used(tmp_path):
    path = tmp_path / "run.toml"
    with pytest.raises(BadRequest, match=r"run\.toml cannot be read"):
        read_config(path)
    good = 'name = "a"\nlicence = "CC0"\nnote = "n"\ntower = "t"\n'
    good += 'sources = [{ manifest = "deep/m.csv", kind = "photo" }]\n'
    for text, words in (
        ("name = ", "is no TOML"),
        (good + "more = 1\n", "more"),
        (good.replace("photo", "foto"), "no source kind foto"),
        (good + "[schedule]\nbatch = 1\n", r"schedule\.batch"),
        (good + "[losses]\nnear_m = -1\n", r"losses\.near_m"),
    ):
        path.write_text(text)
        with pytest.raises(BadRequest, match=words):
            read_config(path)
    path.write_text(good)
    read = read_config(path)
    assert read.sources[0].manifest == tmp_path / "deep" / "m.csv"
    moved = tmp_path / "elsewhere.toml"
    moved.write_text(good.replace("deep", "other"))
    assert read_config(moved).digest() == read.digest(), "where files lie does not count"
