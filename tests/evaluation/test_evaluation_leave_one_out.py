"""Leave-one-out queries on a real gallery: sample, exclusions, uncovered queries, report."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import uuid
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from media.pictures import saved
from pinpoint.errors import BadRequestError, ConflictError
from pinpoint.evaluation.calibration.fit import fit_calibration
from pinpoint.evaluation.report.self_calibration import report_self_calibration
from pinpoint.evaluation.run.evaluate import EvaluationComponents, RunConfig
from pinpoint.evaluation.run.leave_one_out import (
    TOO_FEW_IMAGES,
    LeaveOneOutConfig,
    choose_scopes,
    run_leave_one_out,
)
from pinpoint.evaluation.run.rows import read_rows
from pinpoint.geo.cells import cells_of
from pinpoint.geo.distance import haversine_m
from pinpoint.geo.points import lat_lon
from pinpoint.records import GallerySample, Point
from pinpoint.settings import SearchSettings
from search.synthetic_views import view
from stack_fixtures import ServiceHarness

PLACES = [(round(-60 + 5.3 * n, 3), round(-170 + 14.7 * n, 3)) for n in range(22)]
SEARCH = SearchSettings(candidates=12, evidence_per_kind=2)
NO_DUPLICATES = 0.9999
START = datetime(2026, 5, 1, tzinfo=UTC)
HEAD = ("file", "latitude", "longitude", "captured_at", "creator", "sequence")


def write_gallery(folder: Path, places, kind: str, *, sequences: bool) -> Path:
    """Four images per place: by two creators, or by one creator in two sequences of the place."""
    folder.mkdir(parents=True)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEAD)
        for place, (lat, lon) in enumerate(places):
            for number in range(4):
                name = f"{kind}-{place}-{number}.jpg"
                seed = number + (100 if kind == "street" else 0)
                (folder / name).write_bytes(saved(view(place, seed), quality=90))
                taken_at = START + timedelta(days=place, seconds=20 * number)
                creator = "city" if sequences else f"anna{place}-{number % 2}"
                sequence = f"drive{place}-{number % 2}" if sequences else ""
                row = (lat + 0.0004 * number, lon, taken_at.isoformat(), creator, sequence)
                writer.writerow((name, *row))
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def world(postgres, server_paths, tmp_path_factory):
    """A harness with photos by two creators and street views by one, at each of 22 places."""
    name = f"l_{uuid.uuid4().hex[:16]}"
    postgres.clone("template_pinpoint", name)
    folder = tmp_path_factory.mktemp("leave-one-out")
    harness = ServiceHarness(
        server_paths.owner_url(name), server_paths.api_url(name), folder / "harness"
    )
    try:
        org = harness.organization()
        for kind in ("photo", "street"):
            manifest = write_gallery(folder / kind, PLACES, kind, sequences=kind == "street")
            assert harness.ingest(manifest, org, source=kind, kind=kind).indexed == 4 * len(PLACES)
        yield harness, org
    finally:
        harness.close()
        postgres.drop(name)


def components_of(harness) -> EvaluationComponents:
    return EvaluationComponents(
        decoder=harness.components.decoder,
        encoder=harness.encoder,
        index=harness.index,
        database=harness.database,
        search=SEARCH,
        max_bytes=10_000_000,
    )


def run(world, folder, options=None, concurrency=1):
    harness, org = world
    return run_leave_one_out(
        folder,
        options=options or LeaveOneOutConfig(max_queries=400, max_uncovered=200),
        config=RunConfig(organization_id=org, images=Path(), near_duplicate_cosine=NO_DUPLICATES),
        components=components_of(harness),
        concurrency=concurrency,
    )


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    """A finished run: `(folder, manifest)`."""
    folder = tmp_path_factory.mktemp("gallery-run") / "run"
    return folder, run(world, folder, concurrency=2)


def images_of(world):
    harness, org = world
    ids = [id_ for id_, _, _ in harness.index.scroll(None, 10_000, org)]
    with harness.database.read(org) as catalog:
        return catalog.images(ids)


def sphere_m(a, b):
    return float(haversine_m(lat_lon([a]), lat_lon([b]))[0])


@pytest.mark.parametrize("per_kind", [5, 30, 1_000])
def test_sample_equals_loop_over_rounds(world, per_kind):
    harness, org = world
    images = images_of(world)
    with harness.database.read(org) as catalog:
        samples = catalog.sample_images(per_kind=per_kind, seed=3)
        assert samples == catalog.sample_images(per_kind=per_kind, seed=3)
        other = catalog.sample_images(per_kind=per_kind, seed=4)
        street = catalog.sample_images(per_kind=per_kind, seed=3, source_kinds=("street",))
    assert other != samples
    assert [sample.image_id for sample in street] == [
        sample.image_id for sample in samples if sample.source_kind == "street"
    ]
    assert all(sample.images_in_cell <= 4 for sample in street), "of this kind"
    cells = {id_: cells_of(image.point) for id_, image in images.items()}
    for kind in ("photo", "street"):
        strata = defaultdict(list)
        for id_, image in images.items():
            if image.source_kind == kind:
                draw = hashlib.md5(f"{id_}/3".encode()).hexdigest()
                strata[image.source_id, image.sequence, cells[id_].r7].append((draw, id_))
        ordered = sorted(
            (round_, draw, id_)
            for members in strata.values()
            for round_, (draw, id_) in enumerate(sorted(members))
        )
        assert [s.image_id for s in samples if s.source_kind == kind] == [
            id_ for _, _, id_ in ordered
        ][:per_kind]
    for sample in samples:
        own = images[sample.image_id]
        near = [
            image
            for id_, image in images.items()
            if image.source_kind == own.source_kind and cells[id_].r5 == cells[sample.image_id].r5
        ]
        assert sample.images_in_cell == len(near)
        assert sample.creator_images_in_cell == sum(i.creator == own.creator for i in near)
        assert sample.sequence_images_in_cell == (
            0 if own.sequence is None else sum(i.sequence == own.sequence for i in near)
        )


def test_same_capture_equals_loop(world):
    harness, org = world
    images = images_of(world)
    with harness.database.read(org) as catalog:
        for id_, image in list(images.items())[::7]:
            expected = {
                other_id
                for other_id, other in images.items()
                if (other.source_id, other.creator, other.sequence)
                == (image.source_id, image.creator, image.sequence)
                and abs((other.captured_at - image.captured_at).total_seconds()) <= 30
                and sphere_m(other.point, image.point) <= 1_000
            }
            assert set(catalog.same_capture_ids(id_, 30.0)) == expected
            assert catalog.same_capture_ids(id_, 0.0) == [id_]


def test_run_leaves_out_what_belongs_to_the_query(world, finished):
    folder, manifest = finished
    images = images_of(world)
    assert manifest["settings"]["scopes"] == {"photo": "creator", "street": "sequence"}
    rows = list(read_rows(folder))
    roles = [row["strata"]["role"] for row in rows]
    assert len(rows) == 2 * len(images)
    assert sorted(set(roles)) == ["calibration", "null-train"]
    for row in rows:
        own, arm = images[UUID(row["file"])], row["arms"]["excluded"]
        belonging = {
            id_
            for id_, image in images.items()
            if image.creator == own.creator
            and (own.source_kind == "photo" or image.sequence == own.sequence)
        }
        assert UUID(arm["top1_id"]) not in belonging
        assert row["query_kind"] == own.source_kind
        candidates = [
            Point(*p) for p in zip(arm["candidate_lat"], arm["candidate_lon"], strict=True)
        ]
        distances_m = [sphere_m(own.point, point) for point in candidates]
        if row["strata"]["role"] == "null-train":
            assert min(distances_m) > 50_000
            assert row["strata"]["covered"] == "false"
        else:
            assert row["strata"]["covered"] == "true"
            assert min(distances_m) < 1_000
    stated = {row["creator"] for row in rows if row["query_kind"] == "street"}
    assert stated == {f"drive{place}-{half}" for place in range(len(PLACES)) for half in (0, 1)}


def test_run_is_resumed_and_refuses_another_sample(world, finished, tmp_path):
    folder, manifest = finished
    lines = (folder / "rows.jsonl").read_text().splitlines(keepends=True)
    half = tmp_path / "half"
    half.mkdir()
    (half / "run.json").write_bytes((folder / "run.json").read_bytes())
    (half / "rows.jsonl").write_text("".join(lines[:100]))
    (half / "vectors.f16").write_bytes(b"")
    assert run(world, half) == manifest
    assert comparable(half) == comparable(folder)
    with pytest.raises(ConflictError, match="another run"):
        run(world, half, LeaveOneOutConfig(max_queries=400, max_uncovered=200, seed=1))


def comparable(folder):
    rows = {row["number"]: row for row in read_rows(folder)}
    for row in rows.values():
        row["timings_ms"] = row["arms"]["excluded"]["timings_ms"] = {}
    return rows


def test_report_states_scopes_and_both_kinds_of_queries(finished):
    folder, manifest = finished
    calibration = fit_calibration(folder, outside_share=0.25)
    assert calibration.coverage.outside_share == 0.25
    assert calibration.coverage.num_queries == 176
    assert "of the gallery itself" in calibration.note
    assert "25% of the photos" in calibration.note
    assert fit_calibration(folder).coverage.outside_share == 0.1
    assert fit_calibration(folder, outside_share=0.0).coverage is None
    report = report_self_calibration(
        folder, manifest, calibration, max_false_abstention=0.1, outside_share=0.25
    )
    assert report["queries"] == {
        kind: {"covered": 88, "uncovered": 88} for kind in ("photo", "street")
    }
    assert report["notes"] == []
    assert [text.split(":")[0] for text in report["holds_for"]] == ["photo", "street"]
    summary = report["cross_fitted"]
    assert summary["covered"]["queries"] == summary["uncovered"]["queries"] == 176
    assert summary["uncovered"]["correct"] == 0
    assert 0.7 <= summary["covered"]["coverage"]["0.9"] <= 1.0
    # Calibrated on the mix: the stated probability is the share of right answers.
    mix = summary["mix"]
    assert mix["mean_probability_within_25_km"] == pytest.approx(mix["accuracy_25_km"], abs=0.1)
    assert json.loads((folder / "report.json").read_text()) == report
    assert (folder / "self-calibration.png").stat().st_size > 10_000


@pytest.fixture
def harness(database_url, api_database_url, tmp_path):
    made = ServiceHarness(database_url, api_database_url, tmp_path / "harness")
    yield made
    made.close()


def test_gallery_of_one_drive_keeps_its_images_and_says_so(harness, tmp_path):
    org = harness.organization()
    places = [(48.0 + 0.01 * n, 2.0) for n in range(12)]
    manifest = write_gallery(tmp_path / "street", places, "street", sequences=True)
    text = re.sub(r"drive\d+-\d", "drive", manifest.read_text())
    manifest.write_text(text)
    assert harness.ingest(manifest, org, source="drive", kind="street").indexed == 48
    folder = tmp_path / "run"
    settings = run((harness, org), folder)["settings"]
    assert settings["scopes"] == {"drive": "capture"}
    rows = list(read_rows(folder))
    covered = [row for row in rows if row["strata"]["role"] == "calibration"]
    assert {row["strata"]["covered"] for row in covered} == {"true"}
    # Images at 0, 20, 40 and 60 s: those within 30 s are left out.
    assert {row["arms"]["excluded"]["excluded"] for row in covered} == {2, 3}
    uncovered = [row for row in rows if row["strata"]["role"] == "null-train"]
    assert {row["problem"] for row in uncovered} == {TOO_FEW_IMAGES}
    calibration = fit_calibration(folder)
    assert calibration.coverage is None
    report = report_self_calibration(
        folder,
        json.loads((folder / "run.json").read_text()),
        calibration,
        max_false_abstention=0.1,
        outside_share=0.0,
    )
    assert report["queries"]["street"] == {"covered": 48, f"not asked: {TOO_FEW_IMAGES}": 48}
    assert "leaving out 50 km" in report["notes"][0]
    assert "same drive" in report["holds_for"][0]


def test_small_radius_is_refused(world, tmp_path):
    options = LeaveOneOutConfig(uncovered_radius_km=10.0)
    with pytest.raises(BadRequestError, match="at least 25 km"):
        run(world, tmp_path / "run", options)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([(10, 4, 2)] * 4, "creator"),
        ([(10, 10, 2)] * 4, "sequence"),
        ([(10, 10, 10)] * 4, "capture"),
        ([(10, 4, 2), (10, 10, 2), (10, 10, 2)], "sequence"),
        ([(10, None, 2)] * 4, "sequence"),
        ([(10, None, None)] * 4, "capture"),
    ],
)
def test_scope_leaves_other_images_around_most_queries(counts, expected):
    sample = GallerySample(
        image_id=UUID(int=1),
        source_id=UUID(int=2),
        source="a",
        source_kind="photo",
        point=Point(0.0, 0.0),
        creator="c",
        sequence="s",
        sha256="",
        images_in_cell=0,
        creator_images_in_cell=0,
        sequence_images_in_cell=0,
    )
    samples = [
        replace(
            sample,
            creator=None if by_creator is None else "c",
            sequence=None if by_sequence is None else "s",
            images_in_cell=total,
            creator_images_in_cell=by_creator or 0,
            sequence_images_in_cell=by_sequence or 0,
        )
        for total, by_creator, by_sequence in counts
    ]
    assert choose_scopes(samples) == {"a": expected}
