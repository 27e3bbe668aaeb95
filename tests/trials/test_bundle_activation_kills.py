"""A change of bundle that is killed while it encodes, and again while it builds the index."""

from __future__ import annotations

import pytest

from small_stack import PHOTOS, SmallStack, two_bundles
from stack_fixtures import write_photos


@pytest.fixture
def stack(home, database_url, api_database_url, redis_url, tmp_path):
    made = two_bundles(SmallStack(home, database_url, api_database_url, redis_url), tmp_path / "in")
    yield made
    made.close()


@pytest.mark.timeout(240)
def test_bundles_activate_after_kills_resumes(stack):
    digest = stack.tiny.contract.digest
    encoding = stack.command("bundles", "activate", "tiny", "--images-per-second", "30")
    write_photos(stack.folder, 40, first=100)
    stack.ingest(stack.folder)
    stack.kill_when(encoding, lambda: len(stack.vectors(digest)) > 0)
    there = len(stack.vectors(digest))
    assert 0 < there < PHOTOS + 40
    assert stack.held() == (stack.live(), stack.descriptor.contract.digest)
    building = stack.command("bundles", "activate", "tiny")
    index = stack.worker.index
    stack.kill_when(building, lambda: index.progress().state == "streaming")
    write_photos(stack.folder, 2, first=900)
    stack.ingest(stack.folder)
    done = stack.run("bundles", "activate", "tiny", "--json")
    assert done["already"] >= PHOTOS + 40
    assert stack.held() == (stack.live(), digest)
    assert len(stack.live()) == PHOTOS + 42
    assert stack.vectors(digest).keys() == stack.live()
    again = stack.run("bundles", "activate", "tiny", "--json")
    assert (again["reembedded"], again["build"]) == (0, done["build"])
