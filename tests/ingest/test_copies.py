"""The same files in two sources, on PostgreSQL and the index: one vote, both sources named."""

from __future__ import annotations

import shutil

import pytest

from pinpoint.records import SearchFilter
from pinpoint.search import pipeline
from pinpoint.search.context import QueryPhoto
from stack_fixtures import jpeg, write_photos


def locate(rig, org, photo):
    return pipeline.locate(
        QueryPhoto(data=photo, file="q.jpg"), SearchFilter(), rig.search_context(org)
    )


def summary(rig, org, answer):
    """An answer by file name instead of id: the id decides which of two copies is kept."""
    ids = [ranked.candidate.id for ranked in answer.ranked]
    ids += [neighbor.id for ranked in answer.ranked for neighbor in ranked.evidence]
    with rig.database.read(org) as catalog:
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
def test_locate_duplicate_source_changes_only_citations(rig, tmp_path, kind):
    org = rig.organization()
    write_photos(tmp_path / "walk", 12)
    rig.ingest(tmp_path / "walk", org, source="walk")
    photo = jpeg(4, 0.0, 0.1)  # the pixels of a photo of the gallery, in another file
    before = locate(rig, org, photo)
    shutil.copytree(tmp_path / "walk", tmp_path / "again")
    batch = rig.ingest(tmp_path / "again", org, source="again", kind=kind)
    assert batch.indexed == 12
    after = locate(rig, org, photo)
    if kind == "photo":
        assert summary(rig, org, after) == summary(rig, org, before)
    assert len(after.ranked) == len(before.ranked) == 12
    with rig.database.read(org) as catalog:
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


def test_locate_deleted_copy_is_not_cited(rig, tmp_path):
    org = rig.organization()
    write_photos(tmp_path / "walk", 2)
    rig.ingest(tmp_path / "walk", org, source="walk")
    rig.ingest(tmp_path / "walk", org, source="again")
    cited = locate(rig, org, jpeg(1, 0.0, 0.1)).citations[0]
    assert len(cited.copies) == 1
    with rig.database.write(org) as catalog:
        catalog.delete_image(cited.copies[0].image_id)
    rig.run()
    assert locate(rig, org, jpeg(1, 0.0, 0.1)).citations[0].copies == ()
