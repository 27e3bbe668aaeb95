"""A reranker from a planet's labels to a bundle that serves, by the real flow on real parts."""

from __future__ import annotations

import json
import math
import uuid

import numpy as np
import pytest
import torch

from pinpoint.errors import BadRequest, Conflict
from pinpoint.evaluation.run import Parts, Plan
from pinpoint.geo.distance import geodesic_m, haversine_m
from pinpoint.geo.points import destination
from pinpoint.nets.bundles import bundle_of, read_bundle
from pinpoint.nets.rerankers import open_reranker
from pinpoint.records import Limits
from pinpoint.search import pipeline
from pinpoint.training import reranker
from pinpoint.training.examples import Gallery
from pinpoint.training.reranker import train_reranker
from pinpoint.training.reranker_config import RerankerConfig, TargetConfig, read_reranker_config
from pinpoint.training.reranker_objective import (
    batch_loss,
    drawn,
    dropped,
    lost,
    plain,
    soft_targets,
    ways_km,
)
from pinpoint.training.reranker_validation import measured, tried
from rig import Rig

TEXT = """
name = "{name}"
licence = "CC0-1.0"

[[questions]]
labels = "{planet}/queries/labels.csv"
images = "{planet}/queries/images"
protocol = "world"
only = {{ role = "rerank" }}
[[questions]]
labels = "{planet}/queries/labels.csv"
images = "{planet}/queries/images"
protocol = "world"
only = {{ role = "null-train" }}
[[questions]]
labels = "{planet}/galleries/rerank-photo/manifest.csv"
images = "{planet}/galleries/rerank-photo"
kind = "photo"
[gallery]
candidates = 24
evidence_per_kind = 3
[split]
share = 0.3
[network]
width = 32
heads = 2
candidate_blocks = 1
[schedule]
steps = {steps}
batch = 8
warm_steps = 2
checkpoint_steps = 4
"""


def written(planet, folder, name="ranked", steps=10):
    path = folder / f"{name}.toml"
    path.write_text(TEXT.format(planet=planet.folder, name=name, steps=steps))
    return read_reranker_config(path)


@pytest.fixture(scope="module")
def world(planet, postgres, server_places, tmp_path_factory):
    """The planet's gallery of the role `rerank` behind the shipped embedder."""
    name = f"r_{uuid.uuid4().hex[:16]}"
    postgres.clone("template_pinpoint", name)
    folder = tmp_path_factory.mktemp("world")
    rig = Rig(server_places.owner_url(name), server_places.api_url(name), folder, "world-tiny")
    try:
        org = rig.organization()
        for kind in ("photo", "street"):
            source = f"rerank-{kind}"
            rig.ingest(planet.manifests()[source], org, source=source, kind=kind)
        yield rig, org
    finally:
        rig.close()
        postgres.drop(name)


def gallery(world, config):
    rig, org = world
    search = rig.settings.search.model_copy(update={"candidates": config.gallery.candidates})
    return Gallery(
        plan=Plan(organization_id=org, images=rig.folder),
        parts=Parts(
            decoder=rig.parts.decoder,
            encoder=rig.encoder,
            index=rig.index,
            database=rig.database,
            search=search,
            max_bytes=10_000_000,
        ),
        evidence_radius_m=config.gallery.evidence_radius_m,
        evidence_per_kind=config.gallery.evidence_per_kind,
    )


def train(world, config, folder, into):
    rig, _ = world
    told = []
    made = train_reranker(
        config,
        folder,
        gallery=gallery(world, config),
        bundle=rig.encoder.bundle,
        into=into,
        on_progress=lambda what, done, total: told.append((what, done, total)),
    )
    return made, told


@pytest.fixture(scope="module")
def run(world, planet, tmp_path_factory):
    """A whole run, broken off once while it asks and once while it trains."""
    folder = tmp_path_factory.mktemp("run")
    config = written(planet, folder)
    into = folder / "bundles" / "ranked"
    with pytest.MonkeyPatch.context() as patch:
        asks, ask = [], pipeline.encoded

        def breaks(*args, **options):
            asks.append(1)
            if len(asks) == 40:
                raise KeyboardInterrupt
            return ask(*args, **options)

        patch.setattr(pipeline, "encoded", breaks)
        with pytest.raises(KeyboardInterrupt):
            train(world, config, folder / "run", into)
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        plainly = reranker.batch_loss

        def stops(net, examples, rows, step, asked):
            steps.append(step)
            if step == 6:
                raise KeyboardInterrupt
            return plainly(net, examples, rows, step, asked)

        patch.setattr(reranker, "batch_loss", stops)
        with pytest.raises(KeyboardInterrupt):
            train(world, config, folder / "run", into)
    assert steps == list(range(7))
    made, told = train(world, config, folder / "run", into)
    return config, folder, made, told


@pytest.fixture(scope="module")
def examples(world, planet, run):
    """The cached examples of that run, and its questions."""
    config, folder, _, _ = run
    asked = [
        each for part, one in enumerate(config.questions) for each in reranker._learners(part, one)
    ]
    table = reranker.table_of(asked, config.split.resolution)
    found = reranker.cache_examples(
        folder / "run" / "examples", asked, table, gallery(world, config)
    )
    return asked, found


def test_a_run_that_was_broken_off_twice_ends_as_one_that_was_not(world, planet, run, tmp_path):
    config, folder, made, told = run
    assert next(one for one in told if one[0] == "examples") == ("examples", 58, 58)
    assert next(one for one in told if one[0] == "steps") == ("steps", 4, 10)
    whole, _ = train(world, config, tmp_path / "run", tmp_path / "whole")
    one, other = (read_bundle(each.bundle).reranker.read_bytes() for each in (made, whole))
    assert one == other
    drop = ("seconds_of_steps",)
    assert {k: v for k, v in made.report.items() if k not in drop} == {
        k: v for k, v in whole.report.items() if k not in drop
    }
    with pytest.raises(Conflict, match="exists already"):
        train(world, config, folder / "run", made.bundle)
    changed = config.model_copy(update={"schedule": config.schedule.model_copy(update={"seed": 1})})
    with pytest.raises(Conflict, match="a run of another config"):
        train(world, changed, folder / "run", tmp_path / "other")
    fewer = config.gallery.model_copy(update={"candidates": 12})
    with pytest.raises(Conflict, match="something else"):
        train(world, config.model_copy(update={"gallery": fewer}), folder / "run", tmp_path / "o")


def test_examples_are_what_the_flow_finds_without_whom_it_must_not(world, examples):
    """Against the flow itself, and nothing of the question's own kin is ever there."""
    rig, org = world
    asked, found = examples
    creators = {}
    with rig.database.read(org) as reader:
        ids = {uuid.UUID(bytes=each.ljust(16, b"\0")) for each in found.photos.ids.tolist()}
        creators = {id_: image.creator for id_, image in reader.images(list(ids)).items()}
    assert len(creators) == len(ids) > 50
    own = 0
    for learner, row in zip(asked, found.rows, strict=True):
        named = [*row["id"][row["present"]], *row["near_id"][row["near_present"]].ravel()]
        people = {creators[uuid.UUID(bytes=each.ljust(16, b"\0"))] for each in named}
        assert learner.question.creator not in people
        own += learner.question.creator in creators.values()
        truth = np.array([learner.question.truth.lat, learner.question.truth.lon])
        assert row["truth"].tolist() == truth.tolist()
        null = learner.question.strata.get("role") == "null-train"
        assert row["supported"].any() == (not null)
        near = row["near_present"]
        assert (row["away_m"][near] <= 10_000 * 1.001).all()
        assert (np.diff(np.where(near, row["away_m"], np.inf).reshape(24, 2, 3)) >= 0)[
            near.reshape(24, 2, 3)[..., 1:]
        ].all(), "nearest first"
    assert own > 20, "many questions are about the gallery's own authors"
    shown = plain(found, np.arange(len(asked)))
    assert shown.asked.present.sum() == found.rows["present"].sum(), "every vector is known"
    best = shown.asked.image[np.arange(len(asked)), 0]
    like = torch.nn.functional.cosine_similarity(shown.asked.query, best)
    assert (like < 0.95 + 1e-3).all(), "no near-duplicates"
    assert (
        like[:, None] + 1e-3 >= (shown.asked.image @ shown.asked.query[..., None])[..., 0]
    ).all()


def test_it_learns_a_batch_by_heart(examples):
    """Without drops a network of this size has to be able to tell a few questions apart."""
    _, found = examples
    config = RerankerConfig.model_validate(
        {
            "name": "heart",
            "licence": "CC0",
            "questions": [{"labels": "l", "images": "i"}],
            "network": {"width": 32, "heads": 2, "candidate_blocks": 2},
            "drops": dict.fromkeys(("evidence", "photo", "channel", "kind", "region"), 0.0),
            "schedule": {"batch": 8, "rate": 3e-3},
        }
    )
    rows = np.flatnonzero(found.rows["present"].any(1))[:8]
    net = reranker.begin(config, 256).nets
    shown = plain(found, rows)
    wanted = soft_targets(
        shown.away_km(), shown.asked.present.numpy(), shown.supported, config.targets
    )
    least = -(wanted * np.log(np.maximum(wanted, 1e-30))).sum(1).mean()
    moves = torch.optim.AdamW(net.parameters(), lr=3e-3)
    first = float(lost(net(shown.asked), shown, config.targets, 5.0))
    for step in range(80):
        moves.zero_grad()
        batch_loss(net, found, rows, step, config).backward()
        moves.step()
    last = float(lost(net(shown.asked), shown, config.targets, 5.0))
    assert last - least < 0.3 * (first - least), "what cannot be lost is the targets' own entropy"


def test_soft_targets_against_their_formula():
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
        assert found[row].tolist() == pytest.approx([each / sum(worth) for each in worth])
    assert found[0, 0] > 0.8
    assert found[1, -1] > 0.9


def test_ways_lead_to_the_truth_and_no_farther_than_they_may(examples):
    _, found = examples
    shown = plain(found, np.arange(12))
    way = ways_km(shown, 5.0)
    length = np.hypot(way[..., 0], way[..., 1])
    position = shown.asked.position.numpy()
    turn = np.degrees(np.arctan2(way[..., 0], way[..., 1]))
    there = destination(position, turn, 1e3 * length)
    truth = np.broadcast_to(shown.truth[:, None], position.shape)
    left = haversine_m(there, truth) / 1e3
    assert np.abs(left - np.maximum(shown.away_km() - 5.0, 0.0)).max() < 1e-3
    assert (shown.away_km() < 5.0).any()


@pytest.mark.parametrize("what", ["evidence", "channel", "kind", "region"])
def test_what_is_dropped_is_gone_and_known_to_be_gone(examples, what):
    _, found = examples
    rows = np.arange(len(found.rows))
    none = dict.fromkeys(("evidence", "photo", "channel", "kind", "region"), 0.0)
    drops = RerankerConfig.model_fields["drops"].default.model_copy(update={**none, what: 1.0})
    before, after = plain(found, rows), dropped(found, rows, 3, 0, drops)
    again = dropped(found, rows, 3, 0, drops)
    assert torch.equal(after.asked.present, again.asked.present), "a function of seed and step"
    there, left = before.asked.present.numpy(), after.asked.present.numpy()
    near = after.asked.near_present.numpy()
    assert not (left & ~there).any()
    assert not (near & ~left[..., None]).any()
    if what == "evidence":
        assert not near.any()
        assert (left == there).all()
    if what == "channel":
        assert not after.asked.gps.any()
        assert after.asked.found[..., 0][left].all()
        assert not after.asked.found[..., 1].any()
        assert (left != there).any()
    if what == "kind":
        for row in rows:
            assert len(np.unique(after.asked.kind[row].numpy()[left[row]])) <= 1
            assert len(np.unique(after.asked.near_kind[row].numpy()[near[row]])) <= 1
    if what == "region":
        away = before.away_km()
        lost_truth = before.supported & ~after.supported
        assert lost_truth.any()
        assert (after.supported & before.supported).any()
        assert not (left & (away <= 25.0))[lost_truth].any()
        kept = after.supported & (there != left).any(1)
        assert ((away <= 25.0) & there)[kept].tolist() == ((away <= 25.0) & left)[kept].tolist()


def test_every_question_comes_once_in_a_pass():
    rows = np.array([3, 5, 8, 13, 21])
    passes = np.concatenate([drawn(rows, step, 4, 7) for step in range(5)]).reshape(4, 5)
    assert all(sorted(each) == rows.tolist() for each in passes.tolist())
    assert len({tuple(each) for each in passes.tolist()}) > 1


def test_validation_says_what_a_loop_over_questions_says(run, examples):
    config, _, made, _ = run
    _, found = examples
    net = open_net(made)
    rows = np.arange(len(found.rows))
    said = measured(tried(net, found, rows, config))
    hits = {"top1": 0, "oracle": 0, "vote": 0, "rerank": 0}
    with torch.no_grad():
        for row in rows:
            shown = plain(found, rows[row : row + 1])
            away = [
                haversine_m(np.array(place), shown.truth[0]) / 1e3
                for place, there in zip(
                    shown.asked.position[0].tolist(), shown.asked.present[0], strict=True
                )
                if there
            ]
            scores = net(shown.asked).scores[0].numpy()
            hits["top1"] += away[0] < 25
            hits["oracle"] += min(away) < 25
            hits["vote"] += away[int(found.rows["voted"][row])] < 25
            hits["rerank"] += away[int(scores.argmax())] < 25
    for name, count in hits.items():
        assert said[f"{name} all@25km"] == pytest.approx(count / len(rows))
    assert said["questions unsupported"] == 4
    assert said["questions found"] + said["questions missed"] == len(rows) - 4


def open_net(made):
    from pinpoint.nets.rerankers import load_reranker

    return load_reranker(read_bundle(made.bundle))


def test_the_bundle_serves_and_the_index_stays(world, planet, run):
    """The trained reranker answers the planet's questions over the same index."""
    rig, org = world
    _, folder, made, _ = run
    bundle = read_bundle(made.bundle)
    wanted = rig.encoder.contract.digest
    assert bundle_of(wanted, folder, 512, "descriptor") == str(made.bundle), "the one that reranks"
    assert bundle.contract.reranker.training.metrics == made.report["validation"]
    assert json.loads((folder / "run" / "report.json").read_text())["photos"] > 50
    judge = open_reranker(bundle, rig.settings.search.candidates, "cpu")
    unseen = next(each for each in planet.unseen if each.role == "rerank" and each.kind == "photo")
    ask = {
        "file": "q.jpg",
        "limits": Limits(),
        "organization_id": org,
        "kind": "photo",
        "decoder": rig.parts.decoder,
        "encoder": rig.encoder,
        "index": rig.index,
        "database": rig.database,
        "settings": rig.settings.search,
        "reranker": judge,
    }
    one, two = (pipeline.locate(unseen.path.read_bytes(), **ask) for _ in range(2))
    assert (one.ranker, len(one.ranked)) == ("rerank", 48)
    said = [[(r.candidate.id, r.score, r.refined) for r in each.ranked] for each in (one, two)]
    assert said[0] == said[1]
    assert all(geodesic_m(r.refined, r.candidate.point) < 5_050 for r in one.ranked)
    assert max(len(r.evidence) for r in one.ranked) == 6, "as much as in training"


def test_configs_that_cannot_be_used(planet, tmp_path):
    text = TEXT.format(planet=planet.folder, name="a", steps=4)
    path = tmp_path / "a.toml"
    for old, new, words in (
        ('name = "a"', 'name = "descriptor"', "built in"),
        ("heads = 2", "heads = 3", "cannot be shared by 3 heads"),
        ("candidates = 24", "candidates = 1", r"gallery\.candidates"),
        ('kind = "photo"', 'kind = "foto"', "no source kind foto"),
    ):
        path.write_text(text.replace(old, new))
        with pytest.raises(BadRequest, match=words):
            read_reranker_config(path)
    path.write_text(text)
    config = read_reranker_config(path)
    assert (config.schedule.batch, config.schedule.rate) == (8, 5e-4), "defaults are its own"
    wrong = config.questions[0].model_copy(update={"only": {"role": "moon"}})
    with pytest.raises(BadRequest, match="has role=moon"):
        reranker._learners(0, wrong)
