"""Two installations over one engine: neither sees, counts or deletes the other's points."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from qdrant_client import QdrantClient
from sqlalchemy import text

from index_gallery import ORG_A, SPEC, FolderSource, gallery
from pinpoint.errors import ConfigurationError
from pinpoint.ingest.reconcile import reconcile_index_rows
from pinpoint.records import IndexFilter, IndexQuery
from pinpoint.stack.index.swap import RebuildableIndex
from pinpoint.store.db.installation import Installation
from pinpoint.store.vectors.edge import EdgeIndex
from pinpoint.store.vectors.qdrant import QdrantIndex
from pinpoint.store.vectors.rebuild_source import RebuildSource
from pinpoint.store.vectors.rpc.client import RemoteIndex
from pinpoint.store.vectors.rpc.server import IndexServer
from stack_fixtures import ServiceHarness, write_photos

ONE, TWO = str(uuid4()), str(uuid4())
POINTS = 40


class OwnedSource(FolderSource):
    """A point source of one installation."""

    def __init__(self, folder: Path, installation: str) -> None:
        super().__init__(folder)
        self.installation = installation

    def spec(self):
        return replace(super().spec(), installation=self.installation)


@pytest.fixture
def client():
    made = QdrantClient(location=":memory:")
    yield made
    made.close()


def on_server(client, installation, alias="pinpoint"):
    return QdrantIndex(":memory:", alias=alias, installation=lambda: installation, client=client)


@contextmanager
def owned(folder, installation):
    """The embedded index of a home, asked by one installation."""
    live = RebuildableIndex(folder, "nowhere:nothing")
    live.load()
    with tempfile.TemporaryDirectory(prefix="pp", dir="/tmp") as short:
        server = IndexServer(Path(short) / "i.sock", live)
        server.start()
        try:
            yield RemoteIndex(
                Path(short) / "i.sock", timeout_s=20, installation=lambda: installation
            )
        finally:
            server.close()
            live.close()


def filled(index, installation):
    index.ensure(replace(SPEC, installation=installation))
    index.upsert(gallery(POINTS))
    return index


def everything_of(index, spec):
    """All that one can ask of an index or do to it, by name."""
    points = gallery(POINTS)
    asked = IndexQuery(
        channel="image",
        vector=points[1].vectors["image"],
        filter=IndexFilter(organization_id=ORG_A),
        limit=5,
    )
    return {
        "info": index.info,
        "ensure": lambda: index.ensure(spec),
        "count": index.count,
        "search": lambda: index.search([asked]),
        "scroll": lambda: index.scroll(None, 10),
        "fetch": lambda: index.fetch([points[0].id]),
        "upsert": lambda: index.upsert([replace(points[0], version=9)]),
        "write_tombstones": lambda: index.write_tombstones({points[0].id: 9}),
        "delete_points": lambda: index.delete_points([points[0].id]),
    }


def assert_refused_in_words(index):
    for name, do in everything_of(index, replace(SPEC, installation=TWO)).items():
        with pytest.raises(ConfigurationError, match="belongs to another installation") as caught:
            do()
        assert caught.value.reason == "other_installation", name
        assert "--take-over" in caught.value.message
        assert ONE not in caught.value.message


def test_server_asked_by_another_installation_refuses_everything(client):
    first, second = filled(on_server(client, ONE), ONE), on_server(client, TWO)
    assert_refused_in_words(second)
    with pytest.raises(ConfigurationError):
        second.drop()
    assert first.count() == POINTS
    assert first.info().installation == ONE
    assert (first.scroll(None, 100)) == [(each.id, 1, True) for each in _by_id()]


def _by_id():
    return sorted(gallery(POINTS), key=lambda each: each.id)


def test_server_with_two_aliases_keeps_two_installations_apart(client):
    first = filled(on_server(client, ONE), ONE)
    second = on_server(client, TWO, alias="other")
    assert not second.info().ready
    second.ensure(replace(SPEC, installation=TWO))
    assert (second.count(), first.count()) == (0, POINTS)
    second.upsert(gallery(3))
    second.write_tombstones({_by_id()[0].id: 5})
    assert (second.info().points, first.info().points) == (len(second.scroll(None, 9)) - 1, POINTS)


def test_server_taken_over_leaves_the_collection_of_the_other(client, tmp_path):
    filled(on_server(client, ONE), ONE)
    (before,) = [each.name for each in client.get_collections().collections]
    (tmp_path / "n").write_text("7")
    second = on_server(client, TWO)
    source = OwnedSource(tmp_path, TWO)
    with pytest.raises(ConfigurationError):
        second.rebuild(source)
    assert [each.name for each in client.get_collections().collections] == [before]
    second.rebuild(source, take_over=True)
    assert (second.info().points, second.info().installation) == (7, TWO)
    assert client.count(before).count == POINTS
    second.rebuild(source)
    names = {each.name for each in client.get_collections().collections}
    assert len(names) == 2
    assert before in names


def test_server_with_collection_of_an_earlier_version_asks_for_a_decision(client, tmp_path):
    QdrantIndex(":memory:", client=client).ensure(SPEC)
    index = on_server(client, TWO)
    with pytest.raises(ConfigurationError, match="names no installation"):
        index.count()
    (tmp_path / "n").write_text("3")
    index.rebuild(OwnedSource(tmp_path, TWO), take_over=True)
    assert index.count() == 3


def test_embedded_index_moved_into_another_home_refuses_everything(tmp_path):
    with owned(tmp_path / "one", ONE) as first:
        filled(first, ONE)
        assert (first.count(), first.info().installation) == (POINTS, ONE)
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    with owned(tmp_path / "two", TWO) as second:
        assert_refused_in_words(second)
        with pytest.raises(ConfigurationError):
            second.rebuild()
        second.ping()
        assert second.progress().state == "idle"
    with owned(tmp_path / "one", ONE) as first:
        assert first.count() == POINTS


def test_build_names_its_installation_in_its_file(tmp_path):
    index = EdgeIndex(tmp_path / "build")
    index.ensure(replace(SPEC, installation=ONE))
    index.ensure(SPEC)
    with pytest.raises(ConfigurationError):
        index.ensure(replace(SPEC, installation=TWO))
    index.close()
    again = EdgeIndex(tmp_path / "build")
    assert again.info().installation == ONE
    again.close()


def test_reconcile_of_a_second_installation_deletes_nothing(
    database_url, api_database_url, tmp_path, client
):
    """As it was: an empty database on the same server took 1,872 points for its own."""
    filled(on_server(client, ONE), ONE)
    harness = ServiceHarness(database_url, api_database_url, tmp_path / "harness")
    try:
        mine = Installation(harness.owner).id()
        assert mine == Installation(harness.as_api).id() != ONE
        assert (
            RebuildSource(harness.owner, lambda: harness.encoder.contract).spec().installation
            == mine
        )
        write_photos(tmp_path / "in", 2)
        harness.ingest(tmp_path / "in", harness.organization())
        with pytest.raises(ConfigurationError):
            reconcile_index_rows(
                repository=harness.repository,
                index=on_server(client, mine),
                queue=harness.queue,
                contract=SPEC.contract,
                chunk=64,
            )
        assert harness.scalar("SELECT count(*) FROM images WHERE state = 'pending'") == 0
        with harness.owner.begin() as unit, pytest.raises(Exception, match="unique constraint"):
            unit.connection.execute(
                text("INSERT INTO installation (id) VALUES (gen_random_uuid())")
            )
    finally:
        harness.close()
    assert on_server(client, ONE).count() == POINTS
