"""The same files in two sources, on PostgreSQL and the index: one vote, both sources named."""

from __future__ import annotations

import shutil

import pytest

from pinpoint.records import SearchFilter
from pinpoint.search import pipeline
from pinpoint.search.context import QueryPhoto
from stack_fixtures import jpeg, write_photos


def locate(harness, org, photo):
    return pipeline.locate(
        QueryPhoto(data=photo, file="q.jpg"), SearchFilter(), harness.search_context(org)
    )


def summary(harness, org, answer):
    """An answer by file name instead of id: the id decides which of two copies is kept."""
    ids = [ranked.candidate.id for ranked in answer.ranked]
    ids += [neighbor.id for ranked in answer.ranked for neighbor in ranked.evidence]
    with harness.database.read(org) as catalog:
        files = {id_: image.file_name for id_, image in catalog.images(ids).items()}
    return (
        answer.point,
        answer.credible_discs,
        [
            (
                files[ranked.candidate.id],
                round(ranked.weight, 9),
                round(ranked.evidence_share, 9),
                sorted(files[neighbor.id] for neighbor in ranked.evidence),
                sorted(ranked.similarities),
            )
            for ranked in answer.ranked
        ],
        [(citation.file_name, citation.role, citation.distance_m) for citation in answer.citations],
    )


@pytest.mark.parametrize("kind", ["photo", "street"])
def test_locate_duplicate_source_changes_only_citations(harness, tmp_path, kind):
    org = harness.organization()
    write_photos(tmp_path / "walk", 12)
    harness.ingest(tmp_path / "walk", org, source="walk")
    photo = jpeg(4, 0.0, 0.1)  # the pixels of a photo of the gallery, in another file
    before = locate(harness, org, photo)
    shutil.copytree(tmp_path / "walk", tmp_path / "again")
    batch = harness.ingest(tmp_path / "again", org, source="again", kind=kind)
    assert batch.indexed == 12
    after = locate(harness, org, photo)
    if kind == "photo":
        assert summary(harness, org, after) == summary(harness, org, before)
    assert len(after.ranked) == len(before.ranked) == 12
    with harness.database.read(org) as catalog:
        for ranked in after.ranked:
            images = catalog.images(
                [ranked.candidate.id, *(neighbor.id for neighbor in ranked.evidence)]
            )
            hashes = [image.sha256 for image in images.values()]
            assert len(set(hashes)) == len(hashes) == 1 + len(ranked.evidence)
    assert after.citations
    for cited in after.citations:
        assert {cited.source, *(copy.source for copy in cited.copies)} == {
            "walk",
            "again",
        }
        assert [copy.file_name for copy in cited.copies] == [cited.file_name]


def test_locate_deleted_copy_is_not_cited(harness, tmp_path):
    org = harness.organization()
    write_photos(tmp_path / "walk", 2)
    harness.ingest(tmp_path / "walk", org, source="walk")
    harness.ingest(tmp_path / "walk", org, source="again")
    cited = locate(harness, org, jpeg(1, 0.0, 0.1)).citations[0]
    assert len(cited.copies) == 1
    with harness.database.write(org) as catalog:
        catalog.delete_image(cited.copies[0].image_id)
    harness.run()
    assert locate(harness, org, jpeg(1, 0.0, 0.1)).citations[0].copies == ()
