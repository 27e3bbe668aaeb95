"""The run uses the real search flow, accounts for every photo, and resumes after interruption."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from evaluation.labeled_gallery import PLACES
from pinpoint.errors import BadBundleError, BadRequestError, ConflictError, IndexUnavailableError
from pinpoint.evaluation.run import run_manifest
from pinpoint.evaluation.run.evaluate import build_context, exclusions_for, vector_width
from pinpoint.evaluation.run.results import read_results, write_results
from pinpoint.evaluation.run.rows import EXCLUDED, UNFILTERED, read_rows, read_vectors
from pinpoint.geo.distance import geodesic_m
from pinpoint.records import Point, SearchFilter
from pinpoint.search import pipeline
from pinpoint.search.context import QueryPhoto


def rows_of(out):
    return {row["file"]: row for row in read_rows(out)}


def bare(row):
    """A row without the values that differ between two runs of one query."""
    arms = {name: {**arm, "timings_ms": 0} for name, arm in row["arms"].items()}
    return {**row, "timings_ms": 0, "arms": arms}


def test_run_every_query_has_row_and_problem(evaluation_harness, finished):
    rows = rows_of(finished[0])
    assert list(rows) == [q.file for q in evaluation_harness.labeled().queries]
    problems = {name: row["problem"] for name, row in rows.items() if row["problem"]}
    assert problems == {
        "broken.jpg": "undecodable",
        "empty.jpg": "empty_file",
        "missing.jpg": "missing_file",
    }
    assert all(rows[name]["detail"] and not rows[name]["arms"] for name in problems)
    assert all(
        set(row["arms"]) == {UNFILTERED, EXCLUDED} for row in rows.values() if not row["problem"]
    )


def test_run_row_equals_answer_of_search_flow(evaluation_harness, finished):
    data = (evaluation_harness.images / "unseen-5.jpg").read_bytes()
    query = next(q for q in evaluation_harness.labeled().queries if q.file == "unseen-5.jpg")
    digest = hashlib.sha256(data).hexdigest()
    row = rows_of(finished[0])["unseen-5.jpg"]
    assert row["sha256"] == digest
    for name, exclusions in (
        (UNFILTERED, None),
        (EXCLUDED, exclusions_for(query, digest, evaluation_harness.run_config())),
    ):
        answer = pipeline.locate(
            QueryPhoto(data=data, file="x", kind="photo"),
            SearchFilter(),
            build_context(evaluation_harness.run_config(), evaluation_harness.components),
            exclusions=exclusions,
        )
        arm = row["arms"][name]
        assert (arm["lat"], arm["lon"]) == (answer.point.lat, answer.point.lon)
        assert arm["radii_m"] == {f"{r.probability:g}": r.radius_m for r in answer.credible_discs}
        by_rank = sorted(answer.ranked, key=lambda entry: entry.candidate.rank)
        assert arm["candidate_weight"] == [entry.weight for entry in by_rank]
        assert arm["candidate_score"] == [entry.candidate.score for entry in by_rank]
        assert set(arm["candidate_channels"]) == {"image"}
        assert arm["candidate_lat"] == [entry.candidate.point.lat for entry in by_rank]
        assert arm["top1_id"] == str(by_rank[0].candidate.id)
        assert (arm["ranker"], arm["calibrated"]) == ("vote", False)
        assert (arm["bundle"], arm["index_build"]) == (answer.bundle_digest, answer.index_build)
        assert geodesic_m(answer.point, Point(*PLACES[5])) < 500


def test_run_leaking_images_are_used_in_served_arm_only(evaluation_harness, finished):
    rows = rows_of(finished[0])
    same_place_ids = {str(evaluation_harness.ids[f"photo-1-{n}.jpg"]) for n in range(4)}
    itself = rows["itself.jpg"]["arms"]
    assert itself[UNFILTERED]["top1_id"] == str(evaluation_harness.ids["photo-1-0.jpg"])
    assert itself[UNFILTERED]["candidate_score"][0] > 0.999
    assert itself[EXCLUDED]["top1_id"] in same_place_ids - {
        str(evaluation_harness.ids["photo-1-0.jpg"])
    }
    assert itself[EXCLUDED]["excluded"] == 1
    copy = rows["copy.jpg"]["arms"]
    assert copy[UNFILTERED]["top1_id"] == str(evaluation_harness.ids["photo-2-1.jpg"])
    assert max(copy[EXCLUDED]["candidate_score"]) < 0.95 <= copy[UNFILTERED]["candidate_score"][0]
    assert copy[EXCLUDED]["excluded"] == 0
    # `bert1` took two photos at each of three places.
    assert rows["author.jpg"]["arms"][EXCLUDED]["excluded"] == 6
    assert rows["author.jpg"]["arms"][UNFILTERED]["excluded"] == 0


@pytest.mark.parametrize(
    ("exclude", "excluded"),
    [((), None), (("self",), {"itself.jpg": 1}), (("creator",), {"author.jpg": 6})],
)
def test_run_exclusions_can_be_selected(evaluation_harness, tmp_path, exclude, excluded):
    evaluation_harness.run(tmp_path / "run", exclude=exclude)
    rows = rows_of(tmp_path / "run")
    if excluded is None:
        assert all(set(row["arms"]) <= {UNFILTERED} for row in rows.values())
        return
    excluded_rows = {n: row["arms"][EXCLUDED]["excluded"] for n, row in rows.items() if row["arms"]}
    assert {name: number for name, number in excluded_rows.items() if number} == excluded
    assert rows["copy.jpg"]["arms"][EXCLUDED]["candidate_score"][0] > 0.95


def test_run_interrupted_resumes(evaluation_harness, finished, tmp_path):
    out, progress = tmp_path / "run", []

    def stop_at_seven(completed, total):
        progress.append(completed)
        if completed == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluation_harness.run(out, on_progress=stop_at_seven)
    assert progress == list(range(8))
    # Simulates a crash during a write.
    with (out / "rows.jsonl").open("ab") as file:
        file.write(b'{"number": 7, "fi')
    with (out / "vectors.f16").open("ab") as file:
        file.write(b"\x00" * 333)
    progress.clear()
    evaluation_harness.run(
        out, on_progress=lambda completed, total: progress.append((completed, total))
    )
    assert progress[0] == (7, 22)
    assert progress[-1] == (22, 22)
    resumed, uninterrupted = rows_of(out), rows_of(finished[0])
    assert list(resumed) == list(uninterrupted)
    assert [bare(row) for row in resumed.values()] == [bare(row) for row in uninterrupted.values()]
    width = vector_width(evaluation_harness.components)
    np.testing.assert_array_equal(read_vectors(out, width), read_vectors(finished[0], width))
    before = (out / "rows.jsonl").read_bytes()
    evaluation_harness.run(out)
    assert (out / "rows.jsonl").read_bytes() == before


def test_run_vector_index_refers_to_query_vector(evaluation_harness, finished):
    vectors = read_vectors(finished[0], vector_width(evaluation_harness.components))
    rows = [row for row in read_rows(finished[0]) if row["vector"] is not None]
    assert sorted(row["vector"] for row in rows) == list(range(len(vectors)))
    for row in rows[::5]:
        read = evaluation_harness.components.decoder.read(
            "q", (evaluation_harness.images / row["file"]).read_bytes(), query=True
        )
        expected = evaluation_harness.components.encoder.encode_query(read.faces[0].pixels, "photo")
        np.testing.assert_allclose(vectors[row["vector"]], expected, atol=1e-3)


def test_run_folder_of_another_run_is_rejected(evaluation_harness, finished, tmp_path):
    out = finished[0]
    with pytest.raises(
        ConflictError, match=r"settings\.ranker was 'vote', is 'top1'.*another --out"
    ):
        evaluation_harness.run(out, ranker="top1")
    with pytest.raises(ConflictError, match=r"labels\.evaluated was 22, is 3"):
        evaluation_harness.run(out, max_queries=3)
    with pytest.raises(ConflictError, match=r"settings\.exclude"):
        evaluation_harness.run(out, exclude=("self",))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    with pytest.raises(ConflictError, match="contains other files"):
        evaluation_harness.run(tmp_path / "photos")


def test_run_corrupt_rows_are_rejected(evaluation_harness, tmp_path):
    out = tmp_path / "run"
    evaluation_harness.run(out, max_queries=3)
    lines = (out / "rows.jsonl").read_text().splitlines()
    (out / "rows.jsonl").write_text("\n".join([lines[0], "{", *lines[1:]]) + "\n")
    with pytest.raises(BadRequestError, match="line 2 is not a row"):
        evaluation_harness.run(out, max_queries=3)
    (out / "rows.jsonl").write_text("\n".join(lines) + "\n")
    (out / "vectors.f16").write_bytes(b"")
    with pytest.raises(BadRequestError, match="lacks vectors"):
        evaluation_harness.run(out, max_queries=3)


def test_run_filters_source_kinds_and_sources(evaluation_harness, tmp_path):
    with evaluation_harness.harness.database.read(evaluation_harness.organization_id) as catalog:
        street = catalog.source("street").id
    for name, search_filter in {
        "kind": SearchFilter(source_kinds=("street",)),
        "source": SearchFilter(source_ids=(street,)),
    }.items():
        run = evaluation_harness.run(tmp_path / name, search_filter=search_filter, max_queries=4)
        for row in read_rows(tmp_path / name):
            assert set(row["arms"][UNFILTERED]["candidate_source_kind"]) == {"street"}
        assert run["settings"]["source_kinds" if name == "kind" else "sources"] != []


def test_run_index_failure_ends_run_without_row(evaluation_harness, tmp_path):
    class Gone:
        def __init__(self, index):
            self.info, self.count = index.info, index.count

        def search(self, queries):
            raise IndexUnavailableError("the index does not answer")

    parts, evaluation_harness.components = (
        evaluation_harness.components,
        replace(evaluation_harness.components, index=Gone(evaluation_harness.components.index)),
    )
    try:
        with pytest.raises(IndexUnavailableError):
            evaluation_harness.run(tmp_path / "run", max_queries=3)
        assert list(read_rows(tmp_path / "run")) == []
    finally:
        evaluation_harness.components = parts
    evaluation_harness.run(tmp_path / "run", max_queries=3)
    assert len(list(read_rows(tmp_path / "run"))) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ranker": "oracle"}, "no ranker 'oracle'; there are vote, top1, rerank"),
        (
            {"search_filter": SearchFilter(source_kinds=("foto",))},
            "no source kind foto; there are photo, street",
        ),
        ({"exclude": ("self", "country")}, "cannot exclude country; there are self, creator"),
        ({"near_duplicate_cosine": 0.0}, "the near-duplicate cosine must be in"),
    ],
)
def test_run_invalid_plan_is_rejected(evaluation_harness, tmp_path, changes, words):
    with pytest.raises(BadRequestError, match=words):
        evaluation_harness.run(tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_run_index_of_another_bundle_is_rejected(evaluation_harness, tmp_path):
    class Other:
        def info(self):
            return replace(evaluation_harness.harness.index.info(), contract="another")

    parts, evaluation_harness.components = (
        evaluation_harness.components,
        replace(evaluation_harness.components, index=Other()),
    )
    try:
        with pytest.raises(BadBundleError, match="built for bundle another"):
            evaluation_harness.run(tmp_path / "run")
    finally:
        evaluation_harness.components = parts


def test_results_equal_rows(evaluation_harness, finished):
    rows = list(read_rows(finished[0]))
    arms = read_results(finished[0])
    assert set(arms) == {UNFILTERED, EXCLUDED}
    for name, arm in arms.items():
        assert list(arm.files) == [row["file"] for row in rows]
        for n, row in enumerate(rows):
            answer = row["arms"].get(name)
            np.testing.assert_array_equal(arm.ground_truth[n], (row["lat"], row["lon"]))
            if answer is None:
                assert np.isnan(arm.answers[n]).all()
                assert np.isnan(arm.candidates[n]).all()
                continue
            np.testing.assert_array_equal(arm.answers[n], (answer["lat"], answer["lon"]))
            present = ~np.isnan(arm.weights[n])
            assert arm.weights[n][present].tolist() == answer["candidate_weight"]
            assert arm.candidates[n][present, 1].tolist() == answer["candidate_lon"]
            assert arm.radii_m["0.9"][n] == answer["radii_m"]["0.9"]
            assert arm.strata[n] == {**row["strata"], "kind": row["query_kind"]}
            assert arm.row_ms[n] >= arm.photo_ms[n] + arm.flow_ms[n]
    flagged = [row["file"] for row, flag in zip(rows, arm.placeholder, strict=True) if flag]
    assert flagged == [f"gone-{n}.jpg" for n in range(4)]


def test_label_digest_changes_with_every_value(evaluation_harness):
    queries = evaluation_harness.labeled().queries
    digests = {
        run_manifest.digest_labels(queries),
        run_manifest.digest_labels(queries[1:]),
        run_manifest.digest_labels(queries[::-1]),
    }
    changes = {
        "file": "x",
        "ground_truth": Point(1, 2),
        "creator": "x",
        "sequence": "x",
        "strata": {"a": "b"},
    }
    for name, value in changes.items():
        digests.add(
            run_manifest.digest_labels([replace(queries[0], **{name: value}), *queries[1:]])
        )
    assert len(digests) == 3 + len(changes)
    assert run_manifest.digest_labels(tuple(queries)) == run_manifest.digest_labels(list(queries))
    assert json.dumps(asdict(queries[0]))


def test_results_rewritten_are_identical(finished, evaluation_harness):
    before = (finished[0] / "results.parquet").read_bytes()
    run = run_manifest.read_run_manifest(finished[0])
    assert (
        write_results(finished[0], run, vector_width(evaluation_harness.components)).read_bytes()
        == before
    )
