"""A tiny planet is evaluated end to end: resolved by its folder, filtered by stratum."""

from __future__ import annotations

import json

import pytest

from pinpoint.errors import BadRequestError
from pinpoint.evaluation.labels.labels import read_labels
from pinpoint.evaluation.labels.protocols import PROTOCOLS
from pinpoint.evaluation.report.report_file import PLANET_NOTE, make_report
from pinpoint.evaluation.run import run_manifest
from pinpoint.evaluation.run.evaluate import evaluate, vector_width
from pinpoint.evaluation.run.results import write_results
from pinpoint.evaluation.run.rows import read_rows
from pinpoint.synthetic.dataset import make_planet

WORLD = PROTOCOLS["synthetic"]


@pytest.fixture(scope="module")
def planet(tmp_path_factory):
    return make_planet(tmp_path_factory.mktemp("planet"), preset="tiny", seed=3)


@pytest.mark.parametrize("named", ["images", "labels", "both", "file"])
def test_resolve_label_paths_of_planet_folder(planet, named):
    folder, images = planet.folder, planet.folder / "queries" / "images"
    paths = {
        "images": lambda: run_manifest.resolve_label_paths(None, folder, WORLD.label_file),
        "labels": lambda: run_manifest.resolve_label_paths(folder, None, WORLD.label_file),
        "both": lambda: run_manifest.resolve_label_paths(folder, images, WORLD.label_file),
        "file": lambda: run_manifest.resolve_label_paths(planet.labels, None, WORLD.label_file),
    }[named]()
    assert paths == run_manifest.LabelPaths(
        labels=planet.labels, images=images, planet=folder / "planet.json"
    )
    identity = run_manifest.read_planet(paths.planet)
    assert (identity["preset"], identity["seed"], identity["digest"]) == ("tiny", 3, planet.digest)


def test_resolve_label_paths_without_planet(tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("file,latitude,longitude\na.jpg,1,2\n")
    assert run_manifest.resolve_label_paths(labels, None, None).images == tmp_path
    assert run_manifest.resolve_label_paths(labels, tmp_path / "x", None).images == tmp_path / "x"
    assert run_manifest.resolve_label_paths(labels, None, None).planet is None
    assert run_manifest.read_planet(None) is None
    with pytest.raises(BadRequestError, match="give --labels FILE and --images DIR"):
        run_manifest.resolve_label_paths(None, None, None)
    (tmp_path / "planet.json").write_text('{"seed": 3}')
    with pytest.raises(BadRequestError, match="does not describe a planet"):
        run_manifest.read_planet(tmp_path / "planet.json")


def test_planet_is_evaluated_end_to_end(planet, evaluation_harness, tmp_path):
    org = evaluation_harness.harness.organization("planet")
    source = "test-photo"
    batch = evaluation_harness.harness.ingest(
        planet.manifests()[source], org, source=source, kind="photo"
    )
    assert batch.indexed == batch.items > 30
    paths = run_manifest.resolve_label_paths(None, planet.folder, WORLD.label_file)
    labeled = read_labels(WORLD, paths.labels)
    filters = (("role", "test"), ("kind", "photo"))
    run = evaluate(
        labeled,
        tmp_path / "run",
        config=evaluation_harness.run_config(
            organization_id=org, images=paths.images, filters=filters
        ),
        components=evaluation_harness.components,
        planet=run_manifest.read_planet(paths.planet),
    )
    expected = [
        q.file for q in labeled.queries if q.strata["role"] == "test" and q.query_kind == "photo"
    ]
    assert [row["file"] for row in read_rows(tmp_path / "run")] == expected
    write_results(tmp_path / "run", run, vector_width(evaluation_harness.components))
    report = make_report(tmp_path / "run", lambda file: None)
    assert report["notes"][0] == PLANET_NOTE
    assert any(
        f"Only {len(expected)} of" in note and "role = test" in note for note in report["notes"]
    )
    assert report["run"]["planet"]["digest"] == planet.digest
    assert report["counts"]["readable"] == len(expected)
    assert report["convention"]["name"] == "pinpoint"
    assert report["arms"]["unfiltered"]["all"]["areas"]["country"]["labeled"] == len(expected)
    assert planet.digest in (tmp_path / "run" / "report.md").read_text()
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == run


def test_run_unknown_stratum_is_rejected(planet, evaluation_harness, tmp_path):
    labeled = read_labels(WORLD, planet.labels)
    for filters in ((("role", "moon"),), (("weather", "wet"),)):
        with pytest.raises(
            BadRequestError, match=r"no query has .*; available strata are covered, kind"
        ):
            evaluation_harness.run(tmp_path / "run", labeled=labeled, filters=filters)
    assert not (tmp_path / "run").exists()
