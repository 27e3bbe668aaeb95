"""Activation of another bundle while the gallery serves queries, and back."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from sqlalchemy import text

from pinpoint.errors import (
    DatabaseUnavailableError,
    ModelMismatchError,
    PinpointError,
)
from pinpoint.ingest import pipeline
from pinpoint_workers import maintenance
from small_stack import PHOTOS, WORKER, SmallStack, two_bundles
from stack_fixtures import write_photos


@pytest.fixture
def stack(home, database_url, api_database_url, redis_url, tmp_path):
    small_stack = two_bundles(
        SmallStack(home, database_url, api_database_url, redis_url), tmp_path / "in"
    )
    yield small_stack
    small_stack.close()


class QueryThread:
    """Sends queries from a thread without a pause."""

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
        """Index build → digests of the bundles that queried it."""
        builds_by_contract = {}
        for _, answer in self.answers:
            builds_by_contract.setdefault(answer.index_build, set()).add(answer.bundle_digest)
        return builds_by_contract

    def mixed(self) -> list:
        """Answers with a similarity that differs from that of the two vectors of the contract."""
        wrong, stack = [], self._stack
        for encoder in (stack.descriptor, stack.tiny):
            digest = encoder.contract.digest
            stored = stack.vectors(digest)
            for photo, answer in self.answers:
                if answer.bundle_digest == digest:
                    query = run_query(stack, encoder, photo)
                    for ranked in answer.ranked:
                        vector = stored[ranked.candidate.id]
                        cosine = vector @ query / np.linalg.norm(vector)
                        if abs(cosine - ranked.candidate.score) > 2e-3:
                            wrong.append((answer.index_build, cosine, ranked.candidate.score))
        return wrong


def run_query(stack, encoder, photo):
    read = stack.api.decoder.read(photo.name, photo.read_bytes(), query=True)
    return encoder.encode_query(read.faces[0].pixels)


@pytest.mark.ci
@pytest.mark.timeout(240)
def test_activate_and_revert_during_queries_and_ingest_lose_nothing(stack):
    photos = sorted(stack.folder.iterdir())[:6]
    old, new = stack.descriptor.contract, stack.tiny.contract
    with QueryThread(stack, photos) as load:
        document = stack.run("bundles", "activate", "tiny", "--json")
        assert (document["live"], document["already"], document["reembedded"]) == (
            PHOTOS,
            0,
            PHOTOS,
        )
        assert (document["contract"], document["unreachable"]) == (new.digest, {})
        assert (
            document["drift"]["missing"]
            == document["drift"]["stale"]
            == document["drift"]["extra"]
            == 0
        )
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
        best = max(ranked.candidate.score for ranked in answer.ranked)
        assert best > 0.995, f"{photo.name} is in the gallery, whatever the bundle"
    assert stack.held() == (stack.live(), old.digest)
    assert len(stack.live()) == PHOTOS + 3


@pytest.mark.timeout(240)
def test_ingest_with_the_old_bundle_raises_and_is_repeated(stack):
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
def test_reconcile_after_killed_activation_embeds_the_missing_images(stack, monkeypatch):
    stack.run("bundles", "activate", "tiny", "--json")
    digest, lost = stack.tiny.contract.digest, sorted(stack.live())[:3]
    with stack.worker.reembed_queue._transactions.begin() as unit:
        gone = "DELETE FROM embeddings WHERE contract = :contract AND image_id = ANY(:ids)"
        unit.connection.execute(text(gone), {"contract": digest, "ids": lost})
    stack.worker.index.delete_points(lost)
    monkeypatch.setattr(maintenance, "open_services", lambda: stack.worker)
    maintenance.reconcile_index([])
    waiting = stack.worker.repository.unindexed_images(digest, 10)
    assert waiting == lost
    pipeline.index_images(waiting, stack.worker.ingest_components())
    assert stack.held() == (stack.live(), digest)


@pytest.mark.timeout(240)
def test_reconcile_skips_images_of_an_open_ingest(stack, monkeypatch):
    write_photos(stack.folder, 3, first=300)
    ids, digest = stack.register(stack.folder), stack.descriptor.contract.digest

    def gone(*_args, **_more):
        raise DatabaseUnavailableError("restarted between rows and vectors")

    with monkeypatch.context() as broken:
        broken.setattr(stack.worker.repository, "save_vectors", gone)
        with pytest.raises(DatabaseUnavailableError):
            pipeline.ingest_items(ids, WORKER, stack.worker.ingest_components())
    monkeypatch.setattr(maintenance, "open_services", lambda: stack.worker)
    maintenance.reconcile_index([])
    assert len(stack.vectors(digest)) == PHOTOS
    pipeline.ingest_items(ids, WORKER, stack.worker.ingest_components())
    assert len(stack.vectors(digest)) == PHOTOS + 3
