"""Another bundle under a gallery that goes on serving, and back again."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from sqlalchemy import text

from pinpoint.errors import (
    BadBundleError,
    DatabaseUnavailableError,
    ModelMismatchError,
    PinpointError,
)
from pinpoint.ingest import pipeline
from pinpoint.stack.backup.backup import write_backup
from pinpoint_workers import maintenance
from small_stack import PHOTOS, WORKER, SmallStack, two_bundles
from stack_fixtures import jpeg, write_photos


@pytest.fixture
def stack(home, database_url, api_database_url, redis_url, tmp_path):
    made = two_bundles(SmallStack(home, database_url, api_database_url, redis_url), tmp_path / "in")
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


@pytest.mark.timeout(240)
def test_a_bundle_is_used_and_left_again_under_questions_and_ingest(stack):
    photos = sorted(stack.folder.iterdir())[:6]
    old, new = stack.descriptor.contract, stack.tiny.contract
    with Asking(stack, photos) as load:
        done = stack.run("bundles", "activate", "tiny", "--json")
        assert (done["live"], done["already"], done["reembedded"]) == (PHOTOS, 0, PHOTOS)
        assert (done["contract"], done["unreachable"]) == (new.digest, {})
        assert done["drift"]["missing"] == done["drift"]["stale"] == done["drift"]["extra"] == 0
        assert stack.locate(photos[0]).bundle_digest == new.digest
        write_photos(stack.folder, 3, first=200)
        stack.ingest(stack.folder)  # by a worker that follows the index
        back = stack.run("bundles", "activate", "descriptor", "--json")
        assert (back["already"], back["reembedded"]) == (PHOTOS, 3)
        assert stack.locate(photos[0]).bundle_digest == old.digest
    assert load.failed == []
    assert load.mixed() == []
    assert {len(digests) for digests in load.builds().values()} == {1}
    assert set().union(*load.builds().values()) == {old.digest, new.digest}
    for photo, answer in load.answers:
        best = max(one.candidate.score for one in answer.ranked)
        assert best > 0.995, f"{photo.name} is in the gallery, whatever the bundle"
    assert stack.held() == (stack.live(), old.digest)
    assert len(stack.live()) == PHOTOS + 3


@pytest.mark.timeout(240)
def test_images_are_not_lost_without_a_word(stack):
    (stack.folder / "0003.jpg").unlink()
    (stack.folder / "0004.jpg").write_bytes(jpeg(77, 3.0, 3.0))
    before = stack.held()
    said = stack.run("bundles", "activate", "tiny", code=73)
    assert "2 of 24 images would be lost" in said
    assert "1 missing_file" in said
    assert "--allow-missing 2" in said
    assert stack.held() == before
    done = stack.run("bundles", "activate", "tiny", "--allow-missing", "2", "--json")
    assert done["unreachable"] == {"missing_file": 1, "file_modified_since_indexing": 1}
    assert len(stack.held()[0]) == PHOTOS - 2
    said = stack.run("bundles", "delete-vectors", "tiny", "--json", code=73)
    assert "the index holds the vectors of tiny" in said
    stack.run("bundles", "activate", "descriptor", "--json")
    assert stack.held() == before, "their old vectors are still there"
    forgotten = stack.run("bundles", "delete-vectors", "tiny", "--json")
    assert forgotten == {"bundle": "tiny-timm", "vectors": PHOTOS - 2}
    assert stack.vectors(stack.tiny.contract.digest) == {}
    assert len(stack.vectors(stack.descriptor.contract.digest)) == PHOTOS


@pytest.mark.timeout(240)
def test_what_a_worker_made_under_the_old_bundle_is_made_again(stack):
    write_photos(stack.folder, 3, first=300)
    ids = stack.register(stack.folder)
    behind = stack.worker.ingest_components()
    stack.run("bundles", "activate", "tiny", "--json")
    with pytest.raises(ModelMismatchError):
        pipeline.ingest_items(ids, WORKER, behind)
    assert len(stack.held()[0]) == PHOTOS
    stack.worker.with_current_encoder(
        lambda _: pipeline.ingest_items(ids, WORKER, stack.worker.ingest_components())
    )
    assert stack.held() == (stack.live(), stack.tiny.contract.digest)
    assert len(stack.live()) == PHOTOS + 3
    states = stack.rows("SELECT DISTINCT status FROM batch_items WHERE attempts > 1")
    assert states == [], "what was not their fault costs no try"


@pytest.mark.timeout(240)
def test_a_worker_makes_good_what_a_killed_command_left(stack, monkeypatch):
    stack.run("bundles", "activate", "tiny", "--json")
    digest, lost = stack.tiny.contract.digest, sorted(stack.live())[:3]
    with stack.worker.reembed_queue._transactions.begin() as unit:
        gone = "DELETE FROM embeddings WHERE contract = :contract AND image_id = ANY(:ids)"
        unit.connection.execute(text(gone), {"contract": digest, "ids": lost})
    stack.worker.index.delete_points(lost)
    monkeypatch.setattr(maintenance, "services", lambda: stack.worker)
    maintenance.reconcile_index([])
    waiting = stack.worker.repository.unindexed_images(digest, 10)
    assert waiting == lost
    pipeline.index_images(waiting, stack.worker.ingest_components())
    assert stack.held() == (stack.live(), digest)


@pytest.mark.timeout(240)
def test_a_worker_leaves_to_a_batch_what_the_batch_is_at(stack, monkeypatch):
    write_photos(stack.folder, 3, first=300)
    ids, digest = stack.register(stack.folder), stack.descriptor.contract.digest

    def gone(*_args, **_more):
        raise DatabaseUnavailableError("restarted between rows and vectors")

    with monkeypatch.context() as broken:
        broken.setattr(stack.worker.repository, "save_vectors", gone)
        with pytest.raises(DatabaseUnavailableError):
            pipeline.ingest_items(ids, WORKER, stack.worker.ingest_components())
    monkeypatch.setattr(maintenance, "services", lambda: stack.worker)
    maintenance.reconcile_index([])
    assert len(stack.vectors(digest)) == PHOTOS
    pipeline.ingest_items(ids, WORKER, stack.worker.ingest_components())
    assert len(stack.vectors(digest)) == PHOTOS + 3


@pytest.mark.timeout(240)
def test_list_questions_and_backup_go_by_what_the_index_holds(stack, tmp_path):
    def used():
        said = stack.run("bundles", "list", "--json")
        return [one["name"] for one in said["bundles"] if one["used"]]

    assert used() == ["descriptor"]
    stack.run("bundles", "activate", "tiny", "--json")
    assert used() == ["tiny"]
    folder = stack.paths.home / "bundles" / "tiny"
    folder.rename(folder.with_name(".away"))
    with pytest.raises(BadBundleError, match="no bundle here has the contract"):
        stack.locate(stack.folder / "0000.jpg")
    folder.with_name(".away").rename(folder)
    assert stack.locate(stack.folder / "0000.jpg").bundle == "tiny-timm"
    manifest = write_backup(stack.settings, tmp_path / "out.tar", lambda _: None)
    assert (manifest.bundle, manifest.contract) == ("tiny", stack.tiny.contract.digest)
    back = stack.command("bundles", "activate", "descriptor")
    out, error = back.communicate(timeout=100)
    assert back.returncode == 0, error
    assert "bundle descriptor is active, index build" in out
    assert "pinpoint config set bundle descriptor" in out
    assert used() == ["descriptor"]
