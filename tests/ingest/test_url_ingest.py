"""Files at URLs and in buckets, over real servers: each has a status, nothing is done twice."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from ingest.file_servers import ACCESS_KEY, ADDRESS, BUCKET, REGION, SECRET_KEY, serve_files
from pinpoint.errors import ConflictError, RemoteFileError, UnavailableError
from pinpoint.ingest import register_urls
from pinpoint.ingest.pipeline import reembed_images
from pinpoint.ingest.register_urls import add_bucket_pages, make_url_item
from pinpoint.media.files import sha256
from pinpoint.outgoing.remote_files import RemoteFiles
from pinpoint.outgoing_settings import RemoteSettings
from pinpoint.records import MetadataOverride
from pinpoint.store.ingest.reembed_queue import CatalogReembedQueue
from stack_fixtures import ServiceHarness, jpeg, plain_jpeg


@pytest.fixture
def server(monkeypatch):
    with serve_files() as running:
        for name, value in {
            "ALLOWED_HOSTS": ADDRESS,
            "ALLOWED_BUCKETS": f"s3://{BUCKET}/flights, gs://{BUCKET}",
            "ALLOWED_NETWORKS": f"{ADDRESS}/32",
            "ALLOWED_PORTS": str(running.port),
            "ALLOW_HTTP": "true",
            "S3_ENDPOINT_URL": running.url(""),
            "S3_REGION": REGION,
            "S3_ACCESS_KEY": ACCESS_KEY,
            "S3_SECRET_KEY": SECRET_KEY,
        }.items():
            monkeypatch.setenv(f"PINPOINT_REMOTE_{name}", value)
        yield running


@pytest.fixture
def harness(server, database_url, api_database_url, tmp_path):
    services = ServiceHarness(database_url, api_database_url, tmp_path / "harness")
    services.remote_files._guard._retry_pause_s = 0
    yield services
    services.close()


@pytest.fixture
def org(harness):
    return harness.organization()


def open_batch(harness, org, originals="copy"):
    with harness.database.write(org) as catalog:
        source = catalog.add_source(f"source-{originals}", "photo", originals=originals)
        return catalog.open_batch(source.id).id


def add_urls(harness, org, batch_id, *urls, **override):
    items = [
        make_url_item(
            url,
            harness.remote_files,
            metadata_override=MetadataOverride(position_source="caller", **override),
        )
        for url in urls
    ]
    with harness.database.write(org) as catalog:
        return catalog.add_items(batch_id, items, skip_existing=True)


def finish(harness, org, batch_id):
    with harness.database.write(org) as catalog:
        catalog.close_batch(batch_id)
    harness.run()
    with harness.database.read(org) as catalog:
        return catalog.batch(batch_id), catalog.batch_items(batch_id, limit=1_000)


def image_uris(harness):
    with harness.owner.begin() as unit:
        statement = "SELECT external_id, uri FROM images WHERE state = 'indexed'"
        return {row.external_id: row.uri for row in unit.connection.execute(text(statement))}


def test_url_ingest_keeps_what_the_policy_of_the_source_says(harness, org, server):
    photos = {}
    for number, originals in enumerate(("copy", "reference", "rendition")):
        url = server.url(f"/{originals}.jpg")
        photos[url] = server.files[f"/{originals}.jpg"] = jpeg(number, 48.85, 2.35)
        batch_id = open_batch(harness, org, originals)
        add_urls(harness, org, batch_id, url)
        batch, (item,) = finish(harness, org, batch_id)
        assert (batch.indexed, item.file, batch.is_processed) == (1, url, True)
        uri = image_uris(harness)[url]
        if originals == "reference":
            assert uri == url
            assert harness.remote_files.fetch_bytes(uri) == photos[url]
        else:
            assert uri.startswith("blob:")
            is_copy = sha256(harness.blobs.get(uri)) == sha256(photos[url])
            assert is_copy == (originals == "copy")
        assert list((harness.folder / "downloads").iterdir()) == []
    # Each once, and once more by the call above.
    assert len(server.requests) == len(photos) + 1


def test_url_ingest_of_a_reference_is_encoded_again_from_its_url(harness, org, server):
    server.files["/a.jpg"] = jpeg(1, 48.85, 2.35)
    batch_id = open_batch(harness, org, "reference")
    add_urls(harness, org, batch_id, server.url("/a.jpg"))
    finish(harness, org, batch_id)
    with harness.owner.begin() as unit:
        unit.connection.execute(text("DELETE FROM embeddings"))
        ids = list(unit.connection.execute(text("SELECT id FROM images")).scalars())
    queue = CatalogReembedQueue(harness.owner)
    assert reembed_images(ids, harness.components, queue).done == 1
    assert list((harness.folder / "downloads").iterdir()) == []
    server.files.clear()
    with harness.owner.begin() as unit:
        unit.connection.execute(text("DELETE FROM embeddings"))
    (rejection,) = reembed_images(ids, harness.components, queue).unreachable.values()
    assert rejection.error_code == "url_not_found"


def test_url_ingest_with_metadata_overrides_the_file(harness, org, server):
    server.files["/plain.jpg"] = plain_jpeg(1)
    batch_id = open_batch(harness, org)
    add_urls(harness, org, batch_id, server.url("/plain.jpg"), lat=10.0, lon=20.0)
    batch, _ = finish(harness, org, batch_id)
    assert batch.indexed == 1
    assert harness.scalar("SELECT ST_Y(geom)::int FROM images") == 10


def test_url_ingest_gives_each_failure_its_error_code(harness, org, server, monkeypatch):
    server.files["/a.jpg"] = jpeg(1, 48.85, 2.35)
    server.files["/text.jpg"] = b"no image"
    server.files["/large.jpg"] = bytes(2_000_000)
    monkeypatch.setattr(harness.remote_files, "_max_bytes", 1_000_000)
    expected = {
        server.url("/a.jpg"): ("indexed", None),
        server.url("/missing.jpg"): ("rejected", "url_not_found"),
        server.url("/text.jpg"): ("rejected", "unsupported_format"),
        server.url("/large.jpg"): ("rejected", "url_too_large"),
        f"http://{ADDRESS}:1/a.jpg": ("rejected", "url_refused"),
        "http://127.0.0.1/a.jpg": ("rejected", "url_refused"),
        "file:///etc/passwd": ("rejected", "url_refused"),
        f"s3://{BUCKET}/private/a.jpg": ("rejected", "url_refused"),
        f"s3://{BUCKET}/flights/none.jpg": ("rejected", "url_not_found"),
        f"gs://{BUCKET}/flights/none.jpg": ("failed", "url_unavailable"),
    }
    # The name of Google's store cannot be resolved in this test.
    monkeypatch.setattr(harness.remote_files._buckets._stores["gs"].guard, "_resolve", no_names)
    monkeypatch.setattr(harness.remote_files._buckets._stores["gs"].guard, "_retry_pause_s", 0)
    batch_id = open_batch(harness, org)
    add_urls(harness, org, batch_id, *expected)
    batch, items = finish(harness, org, batch_id)
    assert {item.file: (item.status, item.error_code) for item in items} == expected
    assert batch.items == len(expected)


def no_names(host, port):
    raise OSError("no such name")


def test_url_ingest_of_an_unavailable_server_is_retried_and_then_failed(harness, org, server):
    server.files["/a.jpg"] = jpeg(1, 48.85, 2.35)
    url = server.url("/a.jpg")
    batch_id = open_batch(harness, org)
    server.fails = 3
    add_urls(harness, org, batch_id, url)
    batch, (item,) = finish(harness, org, batch_id)
    assert (batch.failed, item.error_code) == (1, "url_unavailable")
    server.fails = 2
    with harness.database.write(org) as catalog:
        assert catalog.retry_batch(batch_id) == 1
    batch, (item,) = finish(harness, org, batch_id)
    assert (batch.indexed, item.error_code) == (1, None)


def test_url_ingest_with_a_repeated_request_adds_nothing_twice(harness, org, server):
    urls = []
    for number in range(4):
        server.files[f"/{number}.jpg"] = jpeg(number, 48.85, 2.35 + number / 100)
        urls.append(server.url(f"/{number}.jpg"))
    batch_id = open_batch(harness, org)
    assert len(add_urls(harness, org, batch_id, *urls[:3])) == 3
    assert len(add_urls(harness, org, batch_id, *urls, urls[3])) == 1
    batch, _ = finish(harness, org, batch_id)
    assert (batch.items, batch.indexed) == (4, 4)
    with pytest.raises(ConflictError):
        add_urls(harness, org, batch_id, *urls)


def fill_bucket(server, count):
    for number in range(count):
        key = f"flights/{number:02d} ü+&.jpg"
        server.objects[key] = jpeg(number, 48.85, 2.35 + number / 100)
    server.objects["flights/notes.txt"] = b"text"
    server.objects["flights/.hidden.jpg"] = b"hidden"
    server.objects["flights/folder/"] = b""
    server.objects["private/z.jpg"] = jpeg(99, 10, 10)
    server.page_size = 2


def add_listing(harness, org, batch_id, url):
    with harness.database.write(org) as catalog:
        return catalog.add_listing(batch_id, harness.remote_files.check_prefix(url))


def test_bucket_listing_ingests_all_images_below_the_prefix(harness, org, server):
    fill_bucket(server, 5)
    batch_id = open_batch(harness, org)
    add_listing(harness, org, batch_id, f"s3://{BUCKET}/flights/")
    # Closed before a worker has listed the bucket: it closes when the listing ends.
    with harness.database.write(org) as catalog:
        assert catalog.close_batch(batch_id).state == "open"
    harness.run()
    with harness.database.read(org) as catalog:
        batch = catalog.batch(batch_id)
    assert (batch.state, batch.items, batch.indexed, batch.is_processed) == ("closed", 5, 5, True)
    assert sorted(image_uris(harness)) == [
        f"s3://{BUCKET}/flights/{number:02d} ü+&.jpg" for number in range(5)
    ]
    assert not any("private" in path for path in server.requests)


def test_bucket_listing_interrupted_between_pages_continues_without_duplicates(
    harness, org, server, monkeypatch
):
    fill_bucket(server, 7)
    monkeypatch.setattr(register_urls, "_PAGES_PER_TASK", 1)
    batch_id = open_batch(harness, org)
    listing_id = add_listing(harness, org, batch_id, f"s3://{BUCKET}/flights/")
    listing = harness.listings.start(listing_id)
    assert add_bucket_pages(listing, harness.listings, harness.remote_files)
    num_requests = len(server.requests)
    # The worker was lost; another one has the same page again and adds nothing.
    assert not harness.listings.add_page(listing, None, [], "flights/99", send_next=False)
    server.fails = 1
    with pytest.raises(UnavailableError):
        add_bucket_pages(harness.listings.start(listing_id), harness.listings, harness.remote_files)
    assert harness.listings.unfinished(10) == [listing_id]
    harness.run()
    batch, items = finish(harness, org, batch_id)
    assert (batch.items, batch.indexed) == (7, 7)
    assert len({item.file for item in items}) == 7
    assert "start-after=flights%2F" in server.requests[num_requests]
    assert harness.listings.unfinished(10) == []


def test_bucket_listing_that_is_not_allowed_ends_with_a_rejected_item(harness, org, server):
    fill_bucket(server, 1)
    store = harness.remote_files._buckets._stores["s3"]
    object.__setattr__(store, "secret_key", "wrong")
    batch_id = open_batch(harness, org)
    add_listing(harness, org, batch_id, f"s3://{BUCKET}/flights/")
    batch, (item,) = finish(harness, org, batch_id)
    harness.run()
    assert (item.status, item.error_code) == ("rejected", "url_forbidden")
    assert batch.state == "closed"


def test_bucket_listing_of_a_canceled_batch_adds_nothing(harness, org, server):
    fill_bucket(server, 3)
    batch_id = open_batch(harness, org)
    add_listing(harness, org, batch_id, f"s3://{BUCKET}/flights/")
    with harness.database.write(org) as catalog:
        catalog.cancel_batch(batch_id)
    harness.run()
    with harness.database.read(org) as catalog:
        assert (catalog.batch(batch_id).items, catalog.batch(batch_id).state) == (0, "closed")


@pytest.mark.parametrize(
    "url",
    [
        *(f"s3://{BUCKET}/", f"s3://{BUCKET}/flightsX/", "s3://other/flights/", "s3:///flights/"),
        *(f"s3://{BUCKET}/flights/../private/", f"S3://{BUCKET}/flights/", f"s3://{BUCKET}"),
        *(f"s3://{BUCKET}@evil/flights/", f"s3://{BUCKET}/flights/\x00", "s3://../flights/"),
    ],
)
def test_bucket_that_is_not_allowed_is_refused(url, server, tmp_path):
    with pytest.raises(RemoteFileError) as raised:
        RemoteFiles(RemoteSettings(), tmp_path, 1_000).check_prefix(url)
    assert raised.value.reason == "url_refused"
