"""A gallery calibrates itself: scored on labeled queries of a planet, and shown on real streets.

The planet is another one than that of the shipped weights. Its galleries of three roles are one
small gallery; its test queries, and those of regions without a gallery, check the calibration.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from reference_tables import table

from conftest import dismiss, home_folder, watch_over
from pinpoint.evaluation.calibration.calibration_set import CALIBRATION_ROLES, CalibrationSet
from pinpoint.evaluation.calibration.cross_fit import score_queries, summarize
from pinpoint.evaluation.calibration.fit import fit_calibration
from pinpoint.evaluation.run.rows import EXCLUDED, read_decision_features, read_rows
from pinpoint.nets.bundle.bundles import SHIPPED_FOLDER
from pinpoint.settings import ServiceSettings, Settings
from pinpoint.stack.supervisor import lifecycle
from shared_data import shared_data

PRESET, SEED = "small", int(os.environ.get("PINPOINT_TEST_GALLERY_SEED", "8"))
GALLERIES = ("rerank", "calibration", "test")
OUTSIDE_SHARE = 0.25
SHARES = (0.0, 0.1, OUTSIDE_SHARE)
REAL_BUNDLE = "efficientnet-lite0-vlad"


class GalleryStack:
    """A stack of its own, used by its commands."""

    def __init__(self, home: Path, bundle: str) -> None:
        self.home, self.bundle = home, bundle
        self.settings = Settings(services=ServiceSettings(home=home / "stack"))

    def command(self, *words: str | Path) -> Any:
        """Run a command and return its JSON document."""
        plain = {name: value for name, value in os.environ.items() if "PINPOINT_" not in name}
        done = subprocess.run(
            [sys.executable, "-m", "pinpoint.cli", *map(str, words), "--json"],
            env={
                **plain,
                "PINPOINT_HOME": str(self.home / "stack"),
                "PINPOINT_BUNDLE": self.bundle,
                "PINPOINT_DEVICE": "cpu",
                "OMP_WAIT_POLICY": "passive",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)


@contextmanager
def running_stack(bundle: str):
    with home_folder() as home:
        stack = GalleryStack(home, bundle)
        watcher = watch_over(home / "stack")
        try:
            stack.command("up")
            yield stack
        finally:
            lifecycle.stop_stack(stack.settings)
            dismiss(watcher)
            lifecycle.erase_stack(stack.settings)


def read_held_out(folder: Path) -> CalibrationSet:
    """The answered queries that no calibration was fitted on."""
    rows = [row for row in read_rows(folder) if row["strata"]["role"] not in CALIBRATION_ROLES]
    return CalibrationSet.of_rows(
        [(read_decision_features(row["arms"][EXCLUDED]["features"]), row) for row in rows]
    )


@pytest.mark.timeout(3_600)
def test_gallery_calibration_holds_for_labeled_queries():
    with running_stack("world-tiny") as stack:
        planet, run = stack.home / "planet", stack.home / "gallery-run"
        stack.command("synthetic", "create", planet, "--preset", PRESET, "--seed", SEED)
        for role in GALLERIES:
            for kind in ("photo", "street"):
                manifest = planet / "galleries" / f"{role}-{kind}" / "manifest.csv"
                source = ("--source", f"{role}-{kind}", "--source-kind", kind)
                assert stack.command("ingest", manifest, *source, "--wait")["failed"] == 0
        ranker = ("--ranker", "vote", "--concurrency", "2")
        calibrated = stack.command(
            *("calibrate", "--from-gallery", "--outside-share", OUTSIDE_SHARE),
            *("--max-queries", "1600", "--out", run, *ranker),
        )
        labeled = stack.home / "labeled"
        roles = ("--filter", "role=test", "--filter", "role=null-test")
        out = ("--out", labeled, "--no-unfiltered")
        stack.command("evaluate", "synthetic", "--images", planet, *roles, *out, *ranker)
        show_report(calibrated["report"])
        summaries = check(run, labeled)
    today, stated = summaries[0.0], summaries[OUTSIDE_SHARE]
    for summary in summaries.values():
        assert 0.85 <= summary["covered"]["coverage"]["0.9"] <= 0.95
        assert summary["covered"]["false_abstention_rate"] <= 0.15
    assert today["covered"]["debiased_ece"] <= 0.1
    # Calibrated where the share is as assumed.
    mix = stated["mix"]
    assert mix["mean_probability_within_25_km"] == pytest.approx(mix["accuracy_25_km"], abs=0.06)
    mean = "mean_probability_within_25_km"
    assert stated["uncovered"][mean] < today["uncovered"][mean] - 0.05
    assert stated["uncovered"]["abstention_rate"] >= 0.4


def check(run: Path, labeled: Path) -> dict[float, dict[str, Any]]:
    """Summaries on the labeled queries by the assumed share; prints them."""
    queries = read_held_out(labeled)
    summaries = {}
    for share in SHARES:
        calibration = fit_calibration(run, outside_share=share)
        summaries[share] = summarize(score_queries(queries, calibration), OUTSIDE_SHARE)
    rows = [
        (
            f"{share:g}",
            f"{covered['accuracy_25_km']:.3f}",
            f"{covered['mean_probability_within_25_km']:.3f}",
            f"{covered['debiased_ece']:.3f}",
            f"{covered['coverage']['0.9']:.1%}",
            f"{uncovered['mean_probability_within_25_km']:.3f}",
            f"{covered['false_abstention_rate']:.1%}",
            f"{uncovered['abstention_rate']:.1%}",
        )
        for share, covered, uncovered in (
            (share, summary["covered"], summary["uncovered"])
            for share, summary in summaries.items()
        )
    ]
    head = ["assumed share", "right", "P(25 km)", "ECE", "90 % regions hold"]
    head += ["uncovered: P(25 km)", "correct withheld", "uncovered withheld"]
    sys.stdout.write(f"\nlabeled queries, planet {PRESET} {SEED}\n{table(head, rows)}\n")
    points = [
        (
            f"{point['withheld_correct']:.1%}",
            f"{point['withheld_uncovered']:.1%}",
            f"{point['mean_probability_of_answered_uncovered']:.3f}",
        )
        for point in summaries[OUTSIDE_SHARE]["trade_off"]
    ]
    head = ["correct withheld", "uncovered withheld", "P(25 km) of the other uncovered"]
    sys.stdout.write(f"trade-off at {OUTSIDE_SHARE:g}\n{table(head, points)}\n")
    return summaries


@pytest.mark.timeout(1_800)
def test_report_of_real_streets_names_what_it_holds_for():
    folder = shared_data() / "street" / "panoramax"
    if not (SHIPPED_FOLDER / REAL_BUNDLE).is_dir():
        pytest.skip(f"no built-in bundle {REAL_BUNDLE}")
    with running_stack(REAL_BUNDLE) as stack:
        source = ("--source", "panoramax", "--source-kind", "street")
        batch = stack.command("ingest", folder / "manifest.csv", *source, "--wait")
        assert batch["indexed"] == 204
        run = stack.home / "gallery-run"
        report = stack.command("calibrate", "--from-gallery", "--out", run)["report"]
        lifecycle.stop_stack(stack.settings)
        stack.command("up")  # a running stack keeps the calibration that it loaded
        photo = next(iter(sorted(folder.glob("*.jpg"))))
        answer = stack.command("locate", photo)
    show_report(report)
    assert report["queries"]["street"]["covered"] == 204
    assert report["holds_for"]
    assert report["notes"], "one area: nothing is known about photos from elsewhere"
    assert "of the gallery itself" in json.dumps(answer)


def show_report(report: dict[str, Any]) -> None:
    sys.stdout.write("\n" + json.dumps(report, indent=1) + "\n")
