"""`pinpoint calibrate`, and the probabilities that `pinpoint locate` prints, without a stack."""

from __future__ import annotations

import json
import sys

import pytest

from evaluation import synthetic_runs
from pinpoint.cli.locate import show_answer
from pinpoint.cli.main import main
from pinpoint.nets.bundle.bundles import SHIPPED_FOLDER, copy_bundle, find_bundle
from pinpoint.nets.bundle.contract import descriptor_contract
from pinpoint.nets.bundle.digests import digest


@pytest.fixture
def pinpoint(tmp_path, monkeypatch, capsys):
    """Runs a command at a home without a stack."""
    monkeypatch.setenv("PINPOINT_HOME", str(tmp_path / "home"))

    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["pinpoint", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert (ended.value.code or 0) == code, captured
        return json.loads(captured.out) if "--json" in arguments else captured

    return run


def asked_of(folder, contract):
    """An evaluation run of a bundle with 36 queries by 12 creators."""
    gallery = {"bundle_digest": digest(contract, 512), "images": 4, "index_build": "b"}
    gallery["bundle"] = contract.name
    return synthetic_runs.write_run(
        folder, synthetic_runs.make_queries(36, seed=8), gallery=gallery
    )


def test_calibrate_needs_a_run_or_the_gallery(pinpoint, tmp_path):
    for arguments in (("calibrate",), ("calibrate", tmp_path / "run", "--from-gallery")):
        refused = pinpoint(*arguments, code=64)
        assert "--from-gallery" in refused.err


def test_calibrate_shipped_bundle_copies_it_to_the_home(pinpoint, tmp_path):
    shipped = SHIPPED_FOLDER / "world-tiny"
    run = asked_of(tmp_path / "run", find_bundle(str(shipped), tmp_path).contract)
    document = pinpoint("calibrate", run, "--json", "--license", "CC0-1.0")
    home = tmp_path / "home" / "bundles" / "world-tiny"
    assert document["file"] == str(home / "calibration-vote.json")
    assert (document["num_creators"], document["license"], document["ranker"]) == (
        12,
        "CC0-1.0",
        "vote",
    )
    assert list(document["strata"]) == ["all"]
    assert [path.name for path in shipped.glob("calibration-*")] == ["calibration-rerank.json"]
    calibrated = pinpoint("bundles", "show", "world-tiny", "--json")["calibrated"]
    assert calibrated == ["rerank", "vote"], "the one that came along is kept"
    # A copy keeps its calibration, and a calibration that does not fit is reported.
    other = copy_bundle(home, tmp_path / "other")
    assert list(other.calibrations) == ["rerank", "vote"]
    assert "abstains if outside_candidates is above" in pinpoint("calibrate", run).out


def test_calibrate_run_of_descriptor_or_other_bundle_is_rejected(pinpoint, tmp_path):
    run = asked_of(tmp_path / "run", descriptor_contract())
    assert "the descriptor has no folder" in pinpoint("calibrate", run, code=64).err
    message = pinpoint("calibrate", run, "--bundle", SHIPPED_FOLDER / "world-tiny", code=64).err
    assert "the run used the bundle descriptor" in message
    assert "contains no run" in pinpoint("calibrate", tmp_path, code=64).err


def test_locate_prints_probabilities_and_marks_uncalibrated_answers(capsys):
    answer = {
        "point": {"lat": 48.85, "lon": 2.35}, "abstention_reason": "not_in_gallery",
        "calibrated": True,
        "credible_discs": [{"probability": 0.9, "radius_m": 31_000.0}], "citations": {},
        "candidates": [],
        "timings_ms": {}, "bundle": {"name": "b", "note": "n"}, "ranker": "vote",
        "ranker_fallback_reason": None, "warnings": [], "claims": [],
        "index": {"build": "1"},
        "verification_threshold": None,
        "kept_query": None,
            "posterior": {
            "probability_within_km": [{"radius_km": 25, "probability": 0.42}],
            "credible_regions": [{"probability": 0.9, "area_km2": 12_345.6}],
            "names": [{"level": "country", "name": "FR", "probability": 0.6}],
        },
    }  # fmt: skip
    show_answer("a.jpg", answer)
    output_text = capsys.readouterr().out
    assert "90% within 31" in output_text
    assert (
        "no answer (the gallery probably has no image near it); the point is the best"
        in output_text
    )
    assert "probability within 25 km 42%; 90% in 12,346 km²" in output_text
    assert "FR 60%" in output_text
    show_answer(
        "a.jpg", {**answer, "abstention_reason": None, "posterior": None, "calibrated": False}
    )
    output_text = capsys.readouterr().out
    assert "of the vote" in output_text
    assert "not calibrated" in output_text
    assert "probability" not in output_text
