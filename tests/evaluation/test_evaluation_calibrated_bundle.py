"""A bundle is calibrated end to end: run, fit, calibration file, second run, API."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from shapely.geometry import Point as Place
from shapely.geometry import shape

from pinpoint.api.v1.schemas.answer import AnswerOut
from pinpoint.errors import BadBundleError
from pinpoint.evaluation.calibration import fit
from pinpoint.evaluation.labels.labels import read_labels
from pinpoint.evaluation.labels.protocols import PROTOCOLS
from pinpoint.evaluation.metrics import summary
from pinpoint.evaluation.report import calibration_plots
from pinpoint.evaluation.report.report_file import make_report
from pinpoint.evaluation.run.evaluate import vector_width
from pinpoint.evaluation.run.results import read_results, write_results
from pinpoint.evaluation.run.rows import read_rows
from pinpoint.evaluation.run.run_manifest import read_run_manifest
from pinpoint.metrics.conventions import CONVENTIONS
from pinpoint.nets.bundle.bundles import SHIPPED_FOLDER, copy_bundle, read_bundle
from pinpoint.nets.bundle.calibrations import write_calibration
from pinpoint.nets.bundle.digests import public_contract
from pinpoint.records import SearchFilter
from pinpoint.search.context import QueryPhoto
from pinpoint.search.pipeline import locate
from pinpoint.synthetic.dataset import make_planet
from stack_fixtures import ServiceHarness


@pytest.fixture(scope="module")
def planet(tmp_path_factory):
    """A tiny planet whose test queries have the role `calibration`."""
    new_planet = make_planet(tmp_path_factory.mktemp("planet"), preset="tiny", seed=3)
    with new_planet.labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["role"] = {"test": "calibration", "null-test": "null-train"}.get(row["role"], "other")
    with new_planet.labels.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return new_planet


@pytest.mark.ci
def test_calibration_of_a_bundle_is_used_end_to_end(
    evaluation_harness, planet, tmp_path, postgres, server_paths
):
    folder = copy_bundle(SHIPPED_FOLDER / "world-tiny", tmp_path / "bundle").weights.parent
    name = "e_calibrated"
    postgres.clone("template_pinpoint", name)
    harness = ServiceHarness(
        server_paths.owner_url(name), server_paths.api_url(name), tmp_path / "harness", str(folder)
    )
    try:
        org = harness.organization()
        harness.ingest(planet.manifests()["test-photo"], org, source="photos", kind="photo")
        parts = replace(
            evaluation_harness.components,
            encoder=harness.encoder,
            index=harness.index,
            database=harness.database,
        )
        only = (("role", "calibration"), ("role", "null-train"), ("kind", "photo"))
        plan = {"organization_id": org, "images": planet.folder / "queries/images", "filters": only}
        labeled = read_labels(PROTOCOLS["synthetic"], planet.labels)
        before = _run(evaluation_harness, parts, labeled, tmp_path / "before", plan)
        assert {row["arms"]["unfiltered"]["calibrated"] for row in before} == {False}
        assert {row["strata"]["role"] for row in before} == {"calibration", "null-train"}

        calibration = fit.fit_calibration(tmp_path / "before")
        write_calibration(folder, calibration)
        fresh = type(harness.encoder)(harness.settings)
        parts = replace(parts, encoder=fresh)
        after = _run(
            evaluation_harness, parts, labeled, tmp_path / "after", {**plan, "exclude": ()}
        )
        for row in after:
            served = row["arms"]["unfiltered"]
            assert served["calibrated"]
            assert list(served["probability_within_km"]) == ["1", "25", "200", "750", "2500"]
            chances = list(served["probability_within_km"].values())
            assert chances == sorted(chances)
            assert served["radii_m"]["0.5"] <= served["radii_m"]["0.9"]
            assert served["credible_region_km2"]["0.5"] <= served["credible_region_km2"]["0.9"]
        first = after[0]
        data = (planet.folder / "queries/images" / first["file"]).read_bytes()
        answer = locate(
            QueryPhoto(data=data, file="x", kind=first["query_kind"]),
            SearchFilter(),
            harness.search_context(org, encoder=fresh, settings=parts.search),
        )
        _check_wire(AnswerOut.of(answer, 3), first)
        write_results(
            tmp_path / "after", read_run_manifest(tmp_path / "after"), vector_width(parts)
        )
        _check_figures(tmp_path / "after", after)
    finally:
        harness.close()
        postgres.drop(name)
    _check_foreign(folder, calibration)


def _run(evaluation_harness, parts, labeled, out, plan):
    original, evaluation_harness.components = evaluation_harness.components, parts
    try:
        evaluation_harness.run(out, labeled=labeled, **plan)
    finally:
        evaluation_harness.components = original
    return list(read_rows(out))


def _check_wire(answer, row):
    """The API answer has the numbers of the row, and its regions are valid and equal GeoJSON."""
    served = row["arms"]["unfiltered"]
    assert answer.calibrated
    assert "Fitted on" in answer.calibration_note
    assert {
        f"{radius.radius_km:g}": radius.probability
        for radius in answer.posterior.probability_within_km
    } == served["probability_within_km"]
    for area in answer.posterior.credible_regions:
        region = shape(json.loads(area.geometry.model_dump_json()))
        assert region.is_valid
        assert region.covers(Place(row["lon"], row["lat"])) == bool(
            served["credible_region_covers"][f"{area.probability:g}"]
        )


def _check_figures(folder, after):
    """Areas, probabilities and abstention of the report equal those of the rows."""
    metrics = summary.compute_metrics(
        read_results(folder)["unfiltered"], CONVENTIONS["pinpoint"], (1,)
    )
    figures = summary.summarize_metrics(metrics, np.ones(len(after), dtype=bool))
    rows = [row["arms"]["unfiltered"] for row in after]
    for share, area in figures["credible_regions"].items():
        inside = [row["credible_region_covers"][share] for row in rows]
        assert (area["coverage"]["value"], area["stated"]) == (np.mean(inside), len(rows))
    assert metrics.probability_within_km[25.0].tolist() == [
        row["probability_within_km"]["25"] for row in rows
    ]
    withheld = np.array([row["abstention_reason"] is not None for row in rows])
    covered = np.array([row["strata"]["covered"] == "true" for row in after])
    assert figures["abstention"]["abstention_rate_in_gallery"] == withheld[covered].mean()
    assert figures["abstention"]["abstention_rate_not_in_gallery"] == withheld[~covered].mean()
    assert {strata["calibration"] for strata in metrics.strata} == {
        row["calibration_group"] for row in rows
    }
    drawn = make_report(folder, lambda file: None)["figures"]
    plots = (
        calibration_plots.RELIABILITY_FILE,
        calibration_plots.RISK_COVERAGE_FILE,
        calibration_plots.RECALL_AREA_FILE,
    )
    assert set(plots) <= set(drawn)
    for name in plots:
        with Image.open(folder / name) as image:
            assert "synthetic planet, not the Earth" in image.info["Description"]
            assert np.asarray(image.convert("L")).std() > 5


def _check_foreign(folder, calibration):
    for other, words in (
        (replace(calibration, contract_digest="0" * 64), "was fitted on the bundle world-tiny"),
        (replace(calibration, reranker_digest="0" * 64), "was fitted with another reranker"),
    ):
        write_calibration(folder, other)
        bundle = read_bundle(folder)
        with pytest.raises(BadBundleError, match=words):
            public_contract(bundle.contract, 512, bundle.calibrations)
