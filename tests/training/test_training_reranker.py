"""Training of a reranker, from a planet's labels to a bundle that serves."""

from __future__ import annotations

import json
import sys
import uuid
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pinpoint.cli.main import main
from pinpoint.cli.session import Session
from pinpoint.encoder_handle import EncoderHandle
from pinpoint.errors import BadRequestError, ConflictError
from pinpoint.evaluation.labels.labels import read_labels
from pinpoint.evaluation.labels.protocols import PROTOCOLS
from pinpoint.evaluation.run.evaluate import RunConfig, evaluate
from pinpoint.evaluation.run.rows import read_rows
from pinpoint.geo.distance import geodesic_m
from pinpoint.nets.bundle.bundles import read_bundle, resolve_bundle
from pinpoint.nets.reranker.bundle_reranker import open_reranker
from pinpoint.records import SearchFilter
from pinpoint.search import pipeline
from pinpoint.search.context import QueryPhoto
from pinpoint.settings import EncoderSettings, Settings
from pinpoint.training.reranker import train_reranker
from pinpoint.training.reranker.config import read_reranker_config
from pinpoint.training.reranker.examples import cache_examples, split_table
from pinpoint.training.reranker.objective import collate
from training.reranker_runs import TEXT, example_gallery, run_training

RECIPE = Path(__file__).parents[2] / "docs" / "configs" / "world-tiny-reranked.toml"


@pytest.mark.ci
def test_train_reranker_after_two_interrupts_gives_same_weights(world, reranked, tmp_path):
    config, folder, made, progress = reranked
    assert next(event for event in progress if event[0] == "examples") == ("examples", 58, 58)
    assert next(event for event in progress if event[0] == "steps") == ("steps", 4, 10)
    whole, _ = run_training(world, config, tmp_path / "run", tmp_path / "whole")
    one, other = (read_bundle(each.bundle).reranker.read_bytes() for each in (made, whole))
    assert one == other
    drop = ("training_s",)
    assert {k: v for k, v in made.report.items() if k not in drop} == {
        k: v for k, v in whole.report.items() if k not in drop
    }
    with pytest.raises(ConflictError, match="exists already"):
        run_training(world, config, folder / "run", made.bundle)
    changed = config.model_copy(update={"schedule": config.schedule.model_copy(update={"seed": 1})})
    with pytest.raises(ConflictError, match="a run with another config"):
        run_training(world, changed, folder / "run", tmp_path / "other")
    fewer = config.gallery.model_copy(update={"candidates": 12})
    with pytest.raises(ConflictError, match="something else"):
        run_training(
            world, config.model_copy(update={"gallery": fewer}), folder / "run", tmp_path / "o"
        )


def test_cache_examples_exclude_query_creator_and_near_duplicates(world, examples):
    """Example rows agree with the search flow and never name images of the query's creator."""
    harness, org = world
    asked, found = examples
    creators = {}
    with harness.database.read(org) as reader:
        ids = {uuid.UUID(bytes=each.ljust(16, b"\0")) for each in found.photos.ids.tolist()}
        creators = {id_: image.creator for id_, image in reader.images(list(ids)).items()}
    assert len(creators) == len(ids) > 50
    num_of_gallery_creators = 0
    for learner, row in zip(asked, found.rows, strict=True):
        named = [*row["id"][row["present"]], *row["evidence_id"][row["evidence_present"]].ravel()]
        people = {creators[uuid.UUID(bytes=each.ljust(16, b"\0"))] for each in named}
        assert learner.query.creator not in people
        num_of_gallery_creators += learner.query.creator in creators.values()
        truth = np.array([learner.query.ground_truth.lat, learner.query.ground_truth.lon])
        assert row["ground_truth"].tolist() == truth.tolist()
        null = learner.query.strata.get("role") == "null-train"
        assert row["in_gallery"].any() == (not null)
        near = row["evidence_present"]
        assert (row["evidence_distance_m"][near] <= 10_000 * 1.001).all()
        of_kind = (48, 2, 3)
        assert (np.diff(np.where(near, row["evidence_distance_m"], 1e9).reshape(of_kind)) >= 0)[
            near.reshape(of_kind)[..., 1:]
        ].all(), "nearest first"
    assert num_of_gallery_creators > 20, "many queries are by creators of the gallery"
    shown = collate(found, np.arange(len(asked)))
    assert shown.inputs.present.sum() == found.rows["present"].sum(), "every vector is known"
    best = shown.inputs.image[np.arange(len(asked)), 0]
    like = torch.nn.functional.cosine_similarity(shown.inputs.query, best)
    assert (like < 0.95 + 1e-3).all(), "no near-duplicates"
    assert (
        like[:, None] + 1e-3 >= (shown.inputs.image @ shown.inputs.query[..., None])[..., 0]
    ).all()


def test_cache_examples_is_independent_of_concurrency(world, examples, reranked, tmp_path):
    config = reranked[0]
    asked, found = examples
    table = split_table(asked, config.split.h3_resolution)
    several = replace(example_gallery(world, config), concurrency=3)
    again = cache_examples(tmp_path / "examples", asked, table, several)
    assert again.rows.tobytes() == found.rows.tobytes()
    assert again.photos.image.tobytes() == found.photos.image.tobytes()


def test_reranked_bundle_serves_same_index(world, planet, reranked):
    """The trained reranker answers the planet's queries with the same index."""
    harness, org = world
    _, folder, made, _ = reranked
    bundle = read_bundle(made.bundle)
    wanted = harness.encoder.contract.digest
    assert resolve_bundle(wanted, folder, 512, "descriptor") == str(made.bundle), (
        "the one that reranks"
    )
    assert bundle.contract.reranker.training.metrics == made.report["validation"]
    assert json.loads((folder / "run" / "report.json").read_text())["num_gallery_photos"] > 50
    settings = Settings(encoder=EncoderSettings(bundle=str(made.bundle), device="cpu"))
    encoder = EncoderHandle(settings)
    assert encoder.contract.digest == wanted
    judge = encoder.reranker
    assert judge.digest != harness.encoder.reranker.digest, (
        "the shipped bundle has another reranker"
    )
    assert judge is encoder.reranker, "loaded once"
    unseen = next(
        photo for photo in planet.queries if photo.role == "rerank" and photo.kind == "photo"
    )
    photo = QueryPhoto(data=unseen.path.read_bytes(), file="q.jpg", kind="photo")
    context = harness.search_context(org, reranker=judge)
    one, two = (pipeline.locate(photo, SearchFilter(), context) for _ in range(2))
    assert (one.ranker, len(one.ranked)) == ("rerank", 48)
    said = [
        [(r.candidate.id, r.rerank_logit, r.refined_position) for r in each.ranked]
        for each in (one, two)
    ]
    assert said[0] == said[1]
    assert all(geodesic_m(r.refined_position, r.candidate.point) < 5_050 for r in one.ranked)
    assert max(len(r.evidence) for r in one.ranked) == 6, "as much as in training"


def test_train_reranker_command_writes_verifiable_bundle(
    world, planet, tmp_path, monkeypatch, capsys
):
    """The command with the services of the test harness in place of a stack."""
    harness, _ = world

    @contextmanager
    def services(session, role, settings):
        assert session.organization == "acme"
        names = ("api_keys", "database", "encoder", "index")
        components = {name: getattr(harness, name) for name in names}
        yield SimpleNamespace(
            settings=harness.settings, decoder=harness.components.decoder, **components
        )

    def pinpoint(*arguments):
        monkeypatch.setattr(sys, "argv", ["pinpoint", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr().out

    monkeypatch.setattr(Session, "services", services)
    monkeypatch.setenv("PINPOINT_HOME", str(tmp_path / "home"))
    text = TEXT.format(planet=planet.folder, name="told", steps=2)
    text = text.replace("[gallery]", '[gallery]\nsources = ["rerank-photo"]')
    (tmp_path / "run.toml").write_text(text)
    asked = ("train", "reranker", "--config", tmp_path / "run.toml", "--out", tmp_path / "run")
    output = pinpoint(*asked, "--org", "acme")
    assert "gap closed" in output
    assert "PINPOINT_BUNDLE=told" in output
    shown = json.loads(pinpoint("bundles", "verify", "told", "--json"))
    assert shown["verified"]
    assert shown["reranker"]["evidence_per_kind"] == 3
    assert set(shown["weights_sha256"]) == {
        f"{x}.safetensors" for x in ("tower", "heads", "reranker")
    }


def test_evaluate_with_rerank_ranker_uses_reranker(world, planet, reranked, tmp_path):
    _, org = world
    config, _, made, _ = reranked
    labeled = read_labels(PROTOCOLS["synthetic"], planet.labels)
    only = (("role", "rerank"), ("kind", "street"))
    plan = RunConfig(organization_id=org, images=planet.folder / "queries/images", filters=only)
    plan = replace(plan, ranker="rerank")
    parts = example_gallery(world, config).components
    with pytest.raises(
        BadRequestError, match="world-tiny has no reranker; `pinpoint train reranker`"
    ):
        evaluate(labeled, tmp_path / "none", config=plan, components=parts)
    judge = open_reranker(read_bundle(made.bundle), parts.search.candidates, "cpu")
    ranked = evaluate(
        labeled, tmp_path / "a", config=plan, components=replace(parts, reranker=judge)
    )
    assert ranked["settings"]["reranker"] == judge.digest
    arms = [row["arms"] for row in read_rows(tmp_path / "a")]
    assert {arm["ranker"] for each in arms for arm in each.values()} == {"rerank"}
    assert len(arms) == 6


def test_read_reranker_config_with_invalid_values_is_refused(planet, tmp_path):
    text = TEXT.format(planet=planet.folder, name="a", steps=4)
    path = tmp_path / "a.toml"
    for old, new, words in (
        ('name = "a"', 'name = "descriptor"', "built in"),
        ("heads = 2", "heads = 3", "is not divisible by 3 heads"),
        ("candidates = 24", "candidates = 1", r"gallery\.candidates"),
        ('kind = "photo"', 'kind = "foto"', "kind: Input should be 'photo' or 'street'"),
    ):
        path.write_text(text.replace(old, new))
        with pytest.raises(BadRequestError, match=words):
            read_reranker_config(path)
    path.write_text(text)
    config = read_reranker_config(path)
    recipe = read_reranker_config(RECIPE)
    assert recipe.queries[0].labels == RECIPE.parent / "queries/labels.csv"
    assert (config.schedule.batch_size, config.schedule.learning_rate) == (8, 5e-4), (
        "the defaults are those of the reranker"
    )
    wrong = config.queries[0].model_copy(update={"filter": {"role": "moon"}})
    with pytest.raises(BadRequestError, match="has role=moon"):
        train_reranker._read_queries(0, wrong)
