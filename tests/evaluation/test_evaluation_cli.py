"""`pinpoint evaluate` and `pinpoint compare` on a running stack, with real label rows.

The photos of the benchmarks are not available: images are generated under the label names.
"""

from __future__ import annotations

import csv
import json
import sys
from uuid import uuid4

import pytest

from evaluation.tables import write
from media.pictures import saved
from pinpoint.cli.main import main
from pinpoint.evaluation.labels.areas import find_areas
from pinpoint.evaluation.labels.labels import read_labels
from pinpoint.evaluation.labels.protocols import PROTOCOLS
from search.views import view
from shared_data import shared_data

ROWS = 20
OSV5M = (
    "id,latitude,longitude,sequence,creator_id,land_cover,climate,drive_side,"
    "unique_country,unique_region,unique_sub-region,unique_city"
)


@pytest.fixture
def pinpoint(running_stack, monkeypatch, capsys):
    """Runs a command as the operator of the stack; with `--json` its one document."""

    def run(*arguments, code=0):
        monkeypatch.setenv("PINPOINT_HOME", str(running_stack.home))
        monkeypatch.setattr(sys, "argv", ["pinpoint", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        assert (ended.value.code or 0) == code, output
        return json.loads(output.out) if "--json" in arguments else output

    return run


@pytest.fixture
def im2gps3k():
    """The label file of IM2GPS3k and its first rows."""
    path = shared_data() / "labels" / "im2gps3k_places365.csv"
    return path, read_labels(PROTOCOLS["im2gps3k"], path).queries[:ROWS]


@pytest.fixture
def organization(pinpoint, im2gps3k, tmp_path):
    """An organization whose gallery has a photo and a street view near every real position."""
    org = f"dry-{uuid4().hex[:8]}"
    pinpoint("orgs", "create", org)
    for kind in ("photo", "street"):
        rows = []
        (tmp_path / kind).mkdir()
        for number, question in enumerate(im2gps3k[1]):
            name = f"{number}.jpg"
            (tmp_path / kind / name).write_bytes(saved(view(number, len(kind)), quality=90))
            truth = question.ground_truth
            author = question.creator if kind == "photo" and number % 2 else "nobody"
            rows.append((name, truth.lat + 0.001, truth.lon, author, f"walk{number}"))
        manifest = tmp_path / kind / "manifest.csv"
        write(manifest, "file,latitude,longitude,creator,sequence", rows)
        batch = pinpoint(
            "ingest",
            manifest,
            "--source",
            kind,
            "--source-kind",
            kind,
            "--wait",
            "--org",
            org,
            "--json",
        )
        assert batch["indexed"] == ROWS
    return org


def pictures(folder, names, *, missing=(), broken=()):
    """A generated image for every label; some are missing or invalid."""
    folder.mkdir()
    for number, name in enumerate(names):
        if number in missing:
            continue
        data = b"not a picture" if number in broken else saved(view(number, 77), quality=90)
        (folder / name).write_bytes(data)
    return folder


def check(report, *, missing, unreadable):
    """Check every denominator of the report."""
    counts = report["counts"]
    assert counts["evaluated"] == ROWS
    assert counts["missing_image"] == missing
    assert counts["unreadable_image"] == unreadable
    read = ROWS - missing - sum(unreadable.values())
    assert counts["readable"] == read
    for arm in ("unfiltered", "excluded"):
        metrics = report["arms"][arm]["all"]
        assert metrics["rows"] == metrics["answered"] == read
        for threshold, accuracy in metrics["accuracy"].items():
            share = metrics["accuracy_of_labeled"][threshold]
            assert share == pytest.approx(accuracy["value"] * read / ROWS)
    # Images of one place look alike, so nearly all are located.
    near = {arm: report["arms"][arm]["all"]["accuracy"]["25"]["value"] for arm in report["arms"]}
    assert near["unfiltered"] > 0.8
    assert near["excluded"] <= near["unfiltered"]
    assert report["run"]["settings"]["search"]["candidates"] == 48


def test_evaluate_im2gps3k_end_to_end(pinpoint, organization, im2gps3k, tmp_path):
    path, questions = im2gps3k
    names = [question.file for question in questions]
    images = pictures(tmp_path / "images", names, missing=(3, 4), broken=(7,))
    out = tmp_path / "run"
    command = ("evaluate", "im2gps3k", "--images", images, "--labels", path, "--max-queries", ROWS)
    report = pinpoint(*command, "--org", organization, "--out", out, "--json")
    check(report, missing=2, unreadable={"unsupported_format": 1})
    counts = report["counts"]
    assert (counts["expected_rows"], counts["released_images"]) == (2_997, 3_000)
    assert (counts["rows"], counts["queries"]) == (2_997, 2_997)
    assert counts["creators"] == len({question.creator for question in questions})
    assert report["convention"]["name"] == "geoestimation"
    assert report["leakage"]["photos_with_rows_excluded"] > 0
    assert any(f"Only {ROWS} of 2997" in note for note in report["notes"])
    text = (out / "report.md").read_text()
    for line in ("| rows of labels read | 2997 |", "| evaluated | 20 |", "| readable | 17 |"):
        assert line in text
    for name in ("results.parquet", "report.json", "rows.jsonl", *report["figures"]):
        assert (out / name).stat().st_size > 0
    text_output = pinpoint(
        *command, "--org", organization, "--out", out, "--convention", "osv5m"
    ).out
    assert "2 images missing, 1 unreadable, 17 read" in text_output
    assert "osv5m: haversine, R = 6371 km; d < threshold" in text_output


def test_evaluate_osv5m_and_compare_end_to_end(pinpoint, organization, im2gps3k, tmp_path):
    questions = im2gps3k[1]
    truths = [(question.ground_truth.lat, question.ground_truth.lon) for question in questions]
    rows = []
    for number, (truth, area) in enumerate(zip(truths, find_areas(truths), strict=True)):
        named = [area[level] for level in ("country", "region", "sub_region", "city")]
        if number == 0:
            named[2] = ""
        climate = str(number % 2)
        rows.append((number, *truth, f"walk{number}", f"c{number % 6}", "1", climate, "1", *named))
    path = tmp_path / "test.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([OSV5M.split(","), *rows])
    images = pictures(tmp_path / "images", [f"{n}.jpg" for n in range(ROWS)], missing=(5,))
    out = tmp_path / "run"
    command = ("evaluate", "osv5m", "--images", images, "--labels", path)
    report = pinpoint(*command, "--org", organization, "--out", out, "--json")
    check(report, missing=1, unreadable={})
    assert report["counts"]["expected_rows"] == 210_122
    assert report["convention"]["name"] == "osv5m"
    areas = report["arms"]["unfiltered"]["all"]["areas"]
    assert set(areas) == {"country", "region", "sub_region", "city"}
    assert (areas["sub_region"]["rows"], areas["sub_region"]["labeled"]) == (19, 18)
    assert areas["country"]["as_released"] >= areas["city"]["as_released"]
    assert areas["country"]["labeled_only"] > 0.8
    assert areas["sub_region"]["as_released"] < areas["sub_region"]["labeled_only"]
    # Near every query the gallery contains only images of its own sequence.
    assert report["leakage"]["photos_with_rows_excluded"] == 19
    assert report["arms"]["excluded"]["all"]["accuracy"]["25"]["value"] < 0.3
    assert report["leakage"]["unfiltered_minus_excluded"]["25"]["low"] > 0.3
    assert set(report["arms"]["unfiltered"]["strata"]["climate"]) == {"0", "1"}

    other = tmp_path / "top1"
    pinpoint(
        *command, "--org", organization, "--out", other, "--ranker", "top1", "--exclude", "none"
    )
    comparison = pinpoint("compare", out, other, "--json")
    assert comparison["photos"] == {"unfiltered": 19}
    assert "settings.ranker was 'vote', is 'top1'" in comparison["differences"]
    text_output = pinpoint("compare", out, other).out
    assert "accuracy@25km" in text_output
    assert "osv5m: haversine, R = 6371 km" in text_output
    again = pinpoint(*command, "--org", organization, "--out", out, "--ranker", "top1", code=73)
    assert "settings.ranker was 'vote', is 'top1'" in again.err


def test_evaluate_describe_needs_labels_only(pinpoint, im2gps3k, tmp_path, monkeypatch):
    path = im2gps3k[0]
    description = pinpoint("evaluate", "im2gps3k", "--labels", path, "--summarize-labels", "--json")
    assert (description["rows"], description["queries"], description["creators"]["number"]) == (
        2_997,
        2_997,
        198,
    )
    assert description["coordinates"]["share_sharing"] == pytest.approx(0.511, abs=5e-4)
    images = pictures(tmp_path / "images", [question.file for question in im2gps3k[1]])
    description = pinpoint(
        "evaluate", "im2gps3k", "--labels", path, "--images", images, "--summarize-labels", "--json"
    )
    assert description["images_missing"] == 2_997 - ROWS
    assert "198" in pinpoint("evaluate", "im2gps3k", "--labels", path, "--summarize-labels").out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("mp16",), 64, "no protocol 'mp16'; the protocols are synthetic, im2gps"),
        (("custom",), 64, "give --labels FILE and --images DIR"),
        (("custom", "--labels", "{labels}", "--convention", "flat"), 64, "no convention 'flat'"),
        (("custom", "--labels", "{labels}", "--ranker", "oracle"), 64, "no ranker 'oracle'"),
        (("custom", "--labels", "{labels}", "--exclude", "me"), 64, "cannot exclude me"),
        (("custom", "--labels", "{labels}", "--in-source", "x"), 66, "no source x"),
        (("custom", "--labels", "{labels}", "--org", "x"), 66, "no organization|no organization"),
        (("custom", "--labels", "{labels}", "--bundle", "x"), 78, "no bundle 'x'"),
        (("custom", "--labels", "{tmp}/none.csv"), 65, "no labels at"),
    ],
)
def test_evaluate_invalid_arguments_are_rejected(pinpoint, tmp_path, arguments, code, words):
    labels = write(tmp_path / "labels.csv", "file,latitude,longitude", [("a.jpg", 1.5, 2.5)])
    options = [argument.format(labels=labels, tmp=tmp_path) for argument in arguments]
    message = pinpoint("evaluate", *options, "--out", tmp_path / "out", code=code).err
    assert any(word in message for word in words.split("|")), message
    assert not (tmp_path / "out").exists()
