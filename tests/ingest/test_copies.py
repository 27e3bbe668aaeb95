"""The same files in two sources, on PostgreSQL and the index: one vote, both sources named."""

from __future__ import annotations

import shutil

import pytest

from pinpoint.records import SearchFilter
from pinpoint.search import pipeline
from pinpoint.search.context import QueryPhoto
from stack_fixtures import jpeg, write_photos


def located(harness, org, photo):
    return pipeline.locate(
        QueryPhoto(data=photo, file="q.jpg"), SearchFilter(), harness.search_context(org)
    )


def summary(harness, org, answer):
    """What an answer says, by file instead of id: which of two copies is kept follows their ids."""
    ids = [each.candidate.id for each in answer.ranked]
    ids += [near.id for each in answer.ranked for near in each.evidence]
    with harness.database.read(org) as catalog:
        files = {id_: image.file_name for id_, image in catalog.images(ids).items()}
    return (
        answer.point,
        answer.credible_discs,
        [
            (
                files[each.candidate.id],
                round(each.weight, 9),
                round(each.evidence_share, 9),
                sorted(files[near.id] for near in each.evidence),
                sorted(each.similarities),
            )
            for each in answer.ranked
        ],
        [(each.file_name, each.role, each.distance_m) for each in answer.citations],
    )


@pytest.mark.parametrize("kind", ["photo", "street"])
def test_locate_second_source_with_the_same_files_changes_nothing_but_the_citations(
    harness, tmp_path, kind
):
    org = harness.organization()
    write_photos(tmp_path / "walk", 12)
    harness.ingest(tmp_path / "walk", org, source="walk")
    photo = jpeg(4, 0.0, 0.1)  # the pixels of a photo of the gallery, in another file
    before = located(harness, org, photo)
    shutil.copytree(tmp_path / "walk", tmp_path / "again")
    batch = harness.ingest(tmp_path / "again", org, source="again", kind=kind)
    assert batch.indexed == 12
    after = located(harness, org, photo)
    if kind == "photo":
        assert summary(harness, org, after) == summary(harness, org, before)
    assert len(after.ranked) == len(before.ranked) == 12
    with harness.database.read(org) as catalog:
        for each in after.ranked:
            images = catalog.images([each.candidate.id, *(near.id for near in each.evidence)])
            hashes = [image.sha256 for image in images.values()]
            assert len(set(hashes)) == len(hashes) == 1 + len(each.evidence)
    assert after.citations
    for cited in after.citations:
        assert {cited.source, *(each.source for each in cited.copies)} == {"walk", "again"}
        assert [each.file_name for each in cited.copies] == [cited.file_name]


def test_locate_deleted_copy_is_named_no_more(harness, tmp_path):
    org = harness.organization()
    write_photos(tmp_path / "walk", 2)
    harness.ingest(tmp_path / "walk", org, source="walk")
    harness.ingest(tmp_path / "walk", org, source="again")
    cited = located(harness, org, jpeg(1, 0.0, 0.1)).citations[0]
    assert len(cited.copies) == 1
    with harness.database.write(org) as catalog:
        catalog.delete_image(cited.copies[0].image_id)
    harness.run()
    assert located(harness, org, jpeg(1, 0.0, 0.1)).citations[0].copies == ()
