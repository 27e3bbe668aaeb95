"""Both clients against a real stack: ingest, page, locate, export, errors."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from pinpoint_client import Upload, connect, connect_async, errors
from pinpoint_client.answers import Answer, Image
from stack_fixtures import write_photos

NUM_IMAGES = 5


@pytest.fixture(scope="module")
def client_gallery(running_stack, tmp_path_factory):
    """A source with images, uploaded by the client."""
    folder = tmp_path_factory.mktemp("client") / "in"
    write_photos(folder, NUM_IMAGES, first=41_000)
    sent, states = [], []
    with connect(running_stack.api_url, running_stack.operator_key) as client:
        source = client.add_source("typed", "photo", license="CC0-1.0")
        batch = client.ingest_folder(
            folder,
            source="typed",
            wait=True,
            on_progress=states.append,
            on_upload=lambda done, total: sent.append((done, total)),
        )
        yield SimpleNamespace(
            client=client, stack=running_stack, source=source, batch=batch, folder=folder,
            sent=sent, states=states,
        )  # fmt: skip
        client.erase_source("typed")


def test_client_ingests_a_folder_with_progress(client_gallery):
    batch = client_gallery.batch
    assert (batch.state, batch.items, batch.indexed) == ("closed", NUM_IMAGES, NUM_IMAGES)
    assert (batch.not_sent, batch.repeated) == ([], 0)
    done, total = client_gallery.sent[-1]
    assert done == total > sum(path.stat().st_size for path in client_gallery.folder.iterdir())
    assert client_gallery.states[-1].is_processed
    assert client_gallery.client.batch(batch.id).id == batch.id


def test_client_iterates_over_all_pages(client_gallery):
    client = client_gallery.client
    images = list(client.images(source="typed", limit=2))
    assert [type(image) for image in images] == [Image] * NUM_IMAGES
    assert len({image.id for image in images}) == NUM_IMAGES
    items = list(client.items(client_gallery.batch.id, limit=2))
    assert [item.position for item in items] == list(range(1, NUM_IMAGES + 1))
    assert client_gallery.batch.id in {batch.id for batch in client.batches(1)}
    assert "typed" in {source.name for source in client.sources()}


def test_client_returns_typed_answers(client_gallery):
    client = client_gallery.client
    photo = next(client_gallery.folder.iterdir())
    answer = client.locate(photo, sources=["typed"], top=2)
    assert isinstance(answer, Answer)
    assert -90 <= answer.point.lat <= 90
    best = answer.candidates[0]
    assert best.source == "typed"
    image = client.image(best.image_id)
    assert (image.lat, image.lon) == pytest.approx((best.lat, best.lon))
    assert client.thumbnail(image.id).startswith(b"\xff\xd8")
    assert client.locate_features(photo, sources=["typed"]).features
    assert client.similar(image_id=image.id).groups
    neighbors = client.neighbors(image.id, radius_m=50_000, limit=3)
    assert all(neighbor.distance_m <= 50_000 for neighbor in neighbors)
    points = client.neighbors_of_points([(image.lat, image.lon)], radius_m=10.0)
    assert image.id in {neighbor.id for neighbor in points[0].neighbors}
    assert sum(cell.images for cell in client.coverage(source="typed")) == NUM_IMAGES
    updated = client.update(image.id, creator="me")
    assert (updated.creator, updated.version) == ("me", image.version + 1)


def test_client_exports_images_to_a_file(client_gallery, tmp_path):
    exported = client_gallery.client.export(tmp_path / "images.csv", source="typed")
    assert (exported.format, exported.rows) == ("csv", NUM_IMAGES)
    assert exported.bytes == (tmp_path / "images.csv").stat().st_size
    with pytest.raises(errors.NotFoundError):
        client_gallery.client.export(tmp_path / "other.csv", source="no-such-source")
    assert [path.name for path in tmp_path.iterdir()] == ["images.csv"]


def test_client_raises_the_error_of_the_problem_type(client_gallery):
    client, stack = client_gallery.client, client_gallery.stack
    with pytest.raises(errors.ConflictError) as raised:
        client.add_source("typed", "photo")
    assert raised.value.status == 409
    assert raised.value.request_id
    with pytest.raises(errors.BadPhotoError):
        client.locate(b"no image")
    with pytest.raises(errors.BadRequestError, match="no file"):
        client.locate("no-such-file.jpg")
    with connect(stack.api_url, "wrong") as stranger, pytest.raises(errors.UnauthenticatedError):
        next(stranger.sources())


def test_client_manages_organizations_keys_and_limits(client_gallery):
    operator, url = client_gallery.client, client_gallery.stack.api_url
    created = operator.create_organization("typed-client")
    assert operator.organization("typed-client").id == created.id
    assert created.id in {entry.id for entry in operator.organizations(limit=1)}
    admin_key = operator.create_key("admin", role="admin", organization=created.id)
    assert [key.id for key in operator.keys(organization="typed-client")] == [admin_key.key.id]
    with connect(url, admin_key.secret) as admin:
        expires_at = datetime.now(UTC) + timedelta(days=1)
        viewer = admin.create_key(
            "viewer", role="viewer", expires_at=expires_at, granularity="city", min_radius_m=500.0
        )
        assert (viewer.key.granularity, viewer.key.min_radius_m) == ("city", 500.0)
        assert viewer.key.expires_at == expires_at
        with pytest.raises(errors.ForbiddenError):
            admin.organization("typed-client")
        rotated = admin.rotate_key(viewer.key.id)
        operator.set_key_limits(viewer.key.id, photos_per_day=7)
        assert operator.key_limits(viewer.key.id).overrides.photos_per_day == 7
        with connect(url, rotated.secret) as client:
            assert client.limits().limits.photos_per_day == 7
            operator.delete_key_limits(viewer.key.id)
            assert operator.key_limits(viewer.key.id).limits.photos_per_day == 0
            admin.revoke_key(viewer.key.id)
            with pytest.raises(errors.UnauthenticatedError, match="revoked"):
                client.limits()
        assert admin.key(viewer.key.id).revoked_at is not None
        assert {row.operation for row in admin.audit_rows()} >= {"rotate_key", "revoke_key"}
        operator.disable_organization(created.id)
        with pytest.raises(errors.UnauthenticatedError):
            next(admin.keys())


def test_client_completes_host_and_port_and_finds_the_operator_key(client_gallery, monkeypatch):
    stack = client_gallery.stack
    with connect(stack.api_url.removeprefix("http://"), stack.operator_key) as client:
        assert client.server == stack.api_url
        assert client.ready().ready
    monkeypatch.setenv("PINPOINT_HOME", str(stack.home))
    with connect() as client:
        assert client.source("typed").id == client_gallery.source.id


def test_async_client_gives_the_same_answers(client_gallery, monkeypatch, tmp_path):
    monkeypatch.setenv("PINPOINT_HOME", str(client_gallery.stack.home))
    photo = next(client_gallery.folder.iterdir())

    async def run():
        async with connect_async() as client:
            answers = await asyncio.gather(
                *(client.locate(photo, sources=["typed"], top=2) for _ in range(3))
            )
            images = [image async for image in client.images(source="typed", limit=2)]
            exported = await client.export(tmp_path / "images.csv", source="typed")
            batch = await client.ingest_files(
                [Upload(name=photo.name, path=photo)], source="typed", wait=True
            )
            with pytest.raises(errors.ConflictError):
                await client.add_source("typed", "photo")
        return answers, images, exported, batch

    answers, images, exported, batch = asyncio.run(run())
    expected = client_gallery.client.locate(photo, sources=["typed"], top=2)
    assert {answer.point for answer in answers} == {expected.point}
    assert (len(images), exported.rows) == (NUM_IMAGES, NUM_IMAGES)
    assert batch.duplicate == 1
