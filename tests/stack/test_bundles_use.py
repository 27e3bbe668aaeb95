"""Another bundle under a gallery that goes on serving, and back again."""

from __future__ import annotations

import threading
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import text

from nets.towers import timm_bundle
from pinpoint.bootstrap import LazyEncoder
from pinpoint.errors import BadBundle, OtherContract, PinpointError
from pinpoint.ingest import pipeline
from pinpoint.stack.backup import backup
from pinpoint_workers import upkeep
from rig import jpeg, write_photos
from small_stack import WORKER, SmallStack

PHOTOS = 24


@pytest.fixture
def stack(home, database_url, api_database_url, redis_url, tmp_path):
    """Photos under the descriptor, and a tiny tower that could take its place."""
    made = SmallStack(home, database_url, api_database_url, redis_url)
    made.tiny = LazyEncoder(made.settings, str(timm_bundle(home / "bundles" / "tiny")))
    made.descriptor = made.api.encoders.configured
    made.folder = tmp_path / "in"
    write_photos(made.folder, PHOTOS)
    made.ingest(made.folder)
    yield made
    made.close()


class Asking:
    """Questions from a thread, without a pause."""

    def __init__(self, stack: SmallStack, photos: list) -> None:
        self.answers, self.failed, self._stop = [], [], threading.Event()
        self._stack, self._photos = stack, photos
        self._thread = threading.Thread(target=self._ask)

    def _ask(self) -> None:
        while not self._stop.is_set():
            photo = self._photos[len(self.answers) % len(self._photos)]
            try:
                self.answers.append((photo, self._stack.locate(photo)))
            except PinpointError as error:
                self.failed.append(repr(error))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def builds(self):
        """Index build → digests of the bundles that asked it."""
        found = {}
        for _, answer in self.answers:
            found.setdefault(answer.index_build, set()).add(answer.bundle_digest)
        return found

    def mixed(self) -> list:
        """Answers with a similarity that is not that of the two vectors under their contract."""
        wrong, stack = [], self._stack
        for encoder in (stack.descriptor, stack.tiny):
            digest = encoder.contract.digest
            stored = stack.vectors(digest)
            for photo, answer in self.answers:
                if answer.bundle_digest == digest:
                    query = asked(stack, encoder, photo)
                    for one in answer.ranked:
                        own = stored[one.candidate.id]
                        cosine = own @ query / np.linalg.norm(own)
                        if abs(cosine - one.candidate.score) > 2e-3:
                            wrong.append((answer.index_build, cosine, one.candidate.score))
        return wrong


def asked(stack, encoder, photo):
    read = stack.api.decoder.read(photo.name, photo.read_bytes(), query=True)
    return encoder.encode_query(read.faces[0].pixels)


def held(stack):
    """Images in the index, by the PostgreSQL of today."""
    info = stack.api.index.info()
    return {row[0] for row in stack.api.index.scroll(None, 1_000) if row[2]}, info.contract


def live(stack) -> set[UUID]:
    return {row.id for row in stack.rows("SELECT id FROM images WHERE state <> 'deleted'")}


@pytest.mark.timeout(240)
def test_a_bundle_is_used_and_left_again_under_questions_and_ingest(stack):
    photos = sorted(stack.folder.iterdir())[:6]
    old, new = stack.descriptor.contract, stack.tiny.contract
    with Asking(stack, photos) as load:
        done = stack.run("bundles", "use", "tiny", "--json")
        assert (done["live"], done["already"], done["reembedded"]) == (PHOTOS, 0, PHOTOS)
        assert (done["contract"], done["unreachable"]) == (new.digest, {})
        assert done["drift"]["missing"] == done["drift"]["stale"] == done["drift"]["extra"] == 0
        assert stack.locate(photos[0]).bundle_digest == new.digest
        write_photos(stack.folder, 3, first=200)
        stack.ingest(stack.folder)  # by a worker that follows the index
        back = stack.run("bundles", "use", "descriptor", "--json")
        assert (back["already"], back["reembedded"]) == (PHOTOS, 3)
        assert stack.locate(photos[0]).bundle_digest == old.digest
    assert load.failed == []
    assert load.mixed() == []
    assert {len(digests) for digests in load.builds().values()} == {1}
    assert set().union(*load.builds().values()) == {old.digest, new.digest}
    for photo, answer in load.answers:
        best = max(one.candidate.score for one in answer.ranked)
        assert best > 0.995, f"{photo.name} is in the gallery, whatever the bundle"
    assert held(stack) == (live(stack), old.digest)
    assert len(live(stack)) == PHOTOS + 3


@pytest.mark.timeout(240)
def test_killed_while_it_encodes_and_while_it_builds_it_goes_on(stack):
    digest = stack.tiny.contract.digest
    encoding = stack.command("bundles", "use", "tiny", "--images-per-second", "30")
    write_photos(stack.folder, 40, first=100)
    stack.ingest(stack.folder)
    stack.kill_when(encoding, lambda: len(stack.vectors(digest)) > 0)
    there = len(stack.vectors(digest))
    assert 0 < there < PHOTOS + 40
    assert held(stack) == (live(stack), stack.descriptor.contract.digest)
    building = stack.command("bundles", "use", "tiny")
    index = stack.worker.index
    stack.kill_when(building, lambda: index.progress().state == "streaming")
    write_photos(stack.folder, 2, first=900)
    stack.ingest(stack.folder)
    done = stack.run("bundles", "use", "tiny", "--json")
    assert done["already"] >= PHOTOS + 40
    assert held(stack) == (live(stack), digest)
    assert len(live(stack)) == PHOTOS + 42
    assert stack.vectors(digest).keys() == live(stack)
    again = stack.run("bundles", "use", "tiny", "--json")
    assert (again["reembedded"], again["build"]) == (0, done["build"])


@pytest.mark.timeout(240)
def test_images_are_not_lost_without_a_word(stack):
    (stack.folder / "0003.jpg").unlink()
    (stack.folder / "0004.jpg").write_bytes(jpeg(77, 3.0, 3.0))
    before = held(stack)
    said = stack.run("bundles", "use", "tiny", code=73)
    assert "2 of 24 images would be lost" in said
    assert "1 missing_file" in said
    assert "--accept-missing 2" in said
    assert held(stack) == before
    done = stack.run("bundles", "use", "tiny", "--accept-missing", "2", "--json")
    assert done["unreachable"] == {"missing_file": 1, "changed_since": 1}
    assert len(held(stack)[0]) == PHOTOS - 2
    said = stack.run("bundles", "forget", "tiny", "--json", code=73)
    assert "the index holds the vectors of tiny" in said
    stack.run("bundles", "use", "descriptor", "--json")
    assert held(stack) == before, "their old vectors are still there"
    forgotten = stack.run("bundles", "forget", "tiny", "--json")
    assert forgotten == {"bundle": "tiny-timm", "vectors": PHOTOS - 2}
    assert stack.vectors(stack.tiny.contract.digest) == {}
    assert len(stack.vectors(stack.descriptor.contract.digest)) == PHOTOS


@pytest.mark.timeout(240)
def test_what_a_worker_made_under_the_old_bundle_is_made_again(stack):
    write_photos(stack.folder, 3, first=300)
    ids = stack.register(stack.folder)
    behind = stack.worker.ingest_parts()
    stack.run("bundles", "use", "tiny", "--json")
    with pytest.raises(OtherContract):
        pipeline.ingest_items(ids, WORKER, behind)
    assert len(held(stack)[0]) == PHOTOS
    stack.worker.with_live(
        lambda _: pipeline.ingest_items(ids, WORKER, stack.worker.ingest_parts())
    )
    assert held(stack) == (live(stack), stack.tiny.contract.digest)
    assert len(live(stack)) == PHOTOS + 3
    states = stack.rows("SELECT DISTINCT state FROM batch_items WHERE attempts > 1")
    assert states == [], "what was not their fault costs no try"


@pytest.mark.timeout(240)
def test_a_worker_makes_good_what_a_killed_command_left(stack, monkeypatch):
    stack.run("bundles", "use", "tiny", "--json")
    digest, lost = stack.tiny.contract.digest, sorted(live(stack))[:3]
    with stack.worker.backlog._transactions.begin() as unit:
        gone = "DELETE FROM embeddings WHERE contract = :contract AND image_id = ANY(:ids)"
        unit.connection.execute(text(gone), {"contract": digest, "ids": lost})
    stack.worker.index.forget(lost)
    monkeypatch.setattr(upkeep, "services", lambda: stack.worker)
    upkeep.reconcile_index([])
    waiting = stack.worker.ledger.lost_images(digest, 10)
    assert waiting == lost
    pipeline.index_images(waiting, stack.worker.ingest_parts())
    assert held(stack) == (live(stack), digest)


@pytest.mark.timeout(240)
def test_backup_and_list_name_what_the_index_holds(stack, tmp_path):
    def used():
        said = stack.run("bundles", "list", "--json")
        return [one["name"] for one in said["bundles"] if one["used"]]

    assert used() == ["descriptor"]
    stack.run("bundles", "use", "tiny", "--json")
    assert used() == ["tiny"]
    manifest = backup(stack.settings, tmp_path / "out.tar", lambda _: None)
    assert (manifest.bundle, manifest.contract) == ("tiny", stack.tiny.contract.digest)
    back = stack.command("bundles", "use", "descriptor")
    out, error = back.communicate(timeout=100)
    assert back.returncode == 0, error
    assert "bundle descriptor serves, index build" in out
    assert "export PINPOINT_BUNDLE=descriptor" in out
    assert used() == ["descriptor"]


def test_an_index_of_a_bundle_that_is_not_here_is_said(stack):
    folder = stack.places.home / "bundles" / "tiny"
    stack.run("bundles", "use", "tiny", "--json")
    folder.rename(folder.with_name(".away"))
    with pytest.raises(BadBundle, match="no bundle here has the contract"):
        stack.locate(stack.folder / "0000.jpg")
    folder.with_name(".away").rename(folder)
    answer = stack.locate(stack.folder / "0000.jpg")
    assert answer.bundle == "tiny-timm"
