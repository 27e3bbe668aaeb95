"""Requests for exports: filters, rights, limits, clients that leave, and the audit log."""

from __future__ import annotations

import csv
import io
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from pinpoint.api.v1.image_filter_parameters import ImageFilterParameters, to_image_filter
from pinpoint.api_settings import ApiSettings
from pinpoint.media.exports.temporary_files import open_temporary_folder, remove_abandoned_folders
from pinpoint.records import ImageFilter, KeyGrant
from pinpoint.settings import Settings
from pinpoint.stack.paths import StackPaths

LISTS = {"creator", "sequence", "camera", "attribute"}
SUFFIXES = ["parquet", "fgb", "gpkg", "geojsons", "csv"]


def export_rows(http, **params):
    answer = http.get("/v1/exports/images.csv", params=params)
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.text, newline="")))


def last_audit_row(gallery):
    return gallery.query("SELECT * FROM audit_log ORDER BY created_at DESC LIMIT 1")[0]


def wait_for(condition):
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("the condition did not become true within 10 s")


def test_export_filters_are_those_of_the_image_list(gallery):
    with gallery.http() as http:
        streets = export_rows(http, source="streets")
        by_kind = export_rows(http, source_kind="street")
        failed = export_rows(http, state="failed")
        unknown = http.get("/v1/exports/images.csv", params={"source": "lanes"})
        typo = http.get("/v1/exports/images.csv", params={"sources": "streets"})
    with gallery.services.database.read(gallery.organization_id) as catalog:
        image_filter = ImageFilter(source_ids=(catalog.source("streets").id,))
        listed = catalog.list_images(image_filter, limit=1000)
    assert {row["id"] for row in streets} == {str(image.id) for image in listed}
    assert streets == by_kind
    assert {row["attribution"] for row in streets} == {"City of Zürich"}
    assert len(failed) == 1
    assert unknown.status_code == 404
    assert typo.status_code == 422


def test_export_with_areas_times_and_attributes_equals_the_image_list(gallery):
    square = '{"type":"Polygon","coordinates":[[[-60,-45],[60,-45],[60,45],[-60,45],[-60,-45]]]}'
    queries: list[dict[str, Any]] = [
        {"bbox": "170,-90,-170,90"},
        {"polygon": square},
        {"lat": 0.0, "lon": 180.0, "radius_m": 2_000_000},
        {"datetime": "2024-05-02T00:00:00Z/2024-05-05T00:00:00Z", "creator": "日本 🗻"},
        {"attribute": "t=100%"},
        {"sequence": ["s0", "s1"], "camera": "Zoë"},
    ]
    with gallery.http() as http:
        for query in queries:
            exported = export_rows(http, **query)
            image_filter = last_audit_row(gallery)["image_filter"]
            assert set(image_filter) == {"format", *query}
            parameters = ImageFilterParameters.model_validate(
                {
                    name: [value] if name in LISTS and isinstance(value, str) else value
                    for name, value in query.items()
                }
            )
            with gallery.services.database.read(gallery.organization_id) as catalog:
                listed = catalog.list_images(to_image_filter(parameters, catalog), limit=1000)
            expected = {str(image.id) for image in listed if image.state != "failed"}
            assert {row["id"] for row in exported} == expected
            assert 0 < len(expected) < 200, query


def test_export_with_text_that_looks_like_sql_is_quoted(gallery):
    with gallery.http() as http:
        for text in ("'; DROP TABLE images --", "%s %(id)s %", '"', "\\' OR 1=1 --"):
            assert export_rows(http, file_name=text) == []
        assert len(export_rows(http)) == 298


def test_export_of_operator_has_paths_and_of_key_has_not(gallery):
    key_file = StackPaths(gallery.home).operator_key_file
    key_file.write_text("pk_operator_of_this_machine")
    key_file.chmod(0o600)
    with gallery.http() as http, gallery.http("pk_operator_of_this_machine") as operator:
        operator.headers["X-Pinpoint-Organization"] = "acme"
        with_key, with_paths = export_rows(http), export_rows(operator)
    assert {row["uri"][:6] for row in with_key} == {"https:", ""}
    assert {row["uri"][:6] for row in with_paths} == {"https:", "file:/"}
    assert last_audit_row(gallery)["key_id"] is None


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_head_has_the_content_type_and_no_body(gallery, suffix):
    with gallery.http() as http:
        head = http.head(f"/v1/exports/images.{suffix}")
        answer = http.get(f"/v1/exports/images.{suffix}", params={"state": "failed"})
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["Content-Type"] == answer.headers["Content-Type"]


def test_export_needs_its_scope_and_a_known_format(gallery):
    from pinpoint.store.db.api_keys import ApiKeyStore

    _, reader = ApiKeyStore(gallery.owner).create_key("acme", "reader", KeyGrant(scopes=("read",)))
    with gallery.http(reader) as http:
        assert http.get("/v1/exports/images.csv").status_code == 403
        assert http.head("/v1/exports/images.csv").status_code == 403
    with gallery.http() as http:
        assert http.get("/v1/exports/images.shp").status_code == 422


def test_export_is_written_to_the_audit_log(gallery):
    with gallery.http() as http:
        export_rows(http, source_kind="street", state="indexed")
    row = last_audit_row(gallery)
    assert row["operation"] == "export"
    assert row["num_rows"] == 99
    assert row["image_filter"] == {
        "format": "csv",
        "source_kind": ["street"],
        "state": ["indexed"],
    }
    assert row["key_id"] is not None


def test_second_export_of_an_organization_is_refused_while_one_runs(gallery):
    slots = gallery.app.state.export_slots
    gallery.limit(max_running=2)
    with slots.occupy(gallery.organization_id, 2), gallery.http() as http:
        refused = http.get("/v1/exports/images.csv")
    assert refused.status_code == 503
    assert refused.json()["reason"] == "overloaded"
    assert int(refused.headers["Retry-After"]) > 0
    with gallery.http() as http:
        assert http.get("/v1/exports/images.csv").status_code == 200, "the slot is free again"


def test_export_beyond_the_disk_limit_is_413_and_leaves_no_file(gallery):
    gallery.limit(max_disk_bytes=1_000_000)
    root = StackPaths(gallery.home).exports_dir
    with open_temporary_folder(root) as folder:
        (folder / "other").write_bytes(bytes(1_100_000))
        with gallery.http() as http:
            for suffix in ("fgb", "gpkg"):
                refused = http.get(f"/v1/exports/images.{suffix}")
                assert refused.status_code == 413, refused.text
                assert "PINPOINT_EXPORT_MAX_DISK_BYTES" in refused.json()["detail"]
            assert http.get("/v1/exports/images.parquet").status_code == 200
    assert gallery.temporary_files == []


def test_export_beyond_its_time_limit_is_503(gallery):
    gallery.limit(timeout_s=0.001)
    with gallery.http() as http:
        late = http.get("/v1/exports/images.parquet")
    assert late.status_code == 503


@pytest.mark.parametrize("suffix", ["gpkg", "csv"])
def test_export_may_take_longer_than_the_time_budget_of_a_request(gallery, monkeypatch, suffix):
    from pinpoint.store.gallery import export_rows as store

    parse = store._parse_lines

    def parse_slowly(lines, schema):
        time.sleep(2)
        return parse(lines, schema)

    monkeypatch.setattr(store, "_parse_lines", parse_slowly)
    services = gallery.services.settings.services
    gallery.services.settings = Settings(services=services, api=ApiSettings(request_budget_s=1))
    with gallery.http() as http:
        answer = http.get(f"/v1/exports/images.{suffix}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Pinpoint-Rows"] == "298"


def test_client_that_leaves_ends_the_export(gallery, monkeypatch):
    """The statement ends, the slot is free, and the audit log has the rows that were read."""
    monkeypatch.setattr("pinpoint.store.gallery.export_rows.EXPORT_BATCH_ROWS", 10)
    monkeypatch.setattr("pinpoint.api.export_stream.PIECE_BYTES", 100)
    before = len(gallery.query("SELECT id FROM audit_log"))
    url = urlsplit(gallery.url)
    with socket.create_connection((url.hostname, url.port), timeout=10) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
        client.sendall(
            f"GET /v1/exports/images.geojsons HTTP/1.1\r\nHost: {url.netloc}\r\n"
            f"Authorization: Bearer {gallery.key}\r\n\r\n".encode()
        )
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    wait_for(lambda: len(gallery.query("SELECT id FROM audit_log")) == before + 1)
    assert last_audit_row(gallery)["num_rows"] <= 298
    running = (
        "SELECT pid FROM pg_stat_activity WHERE query LIKE 'COPY (SELECT%' AND state = 'active'"
    )
    wait_for(lambda: gallery.query(running) == [])
    with gallery.http() as http:
        assert http.get("/v1/exports/images.csv").status_code == 200


def test_failure_during_the_download_closes_the_connection(gallery, monkeypatch):
    """The client sees an error instead of a short file that looks whole."""
    from pinpoint.errors import DatabaseUnavailableError
    from pinpoint.store.gallery import export_rows as store

    parse, calls = store._parse_lines, []

    def fail_late(lines, schema):
        calls.append(lines)
        if len(calls) > 3:
            raise DatabaseUnavailableError("lost")
        return parse(lines, schema)

    monkeypatch.setattr(store, "EXPORT_BATCH_ROWS", 10)
    monkeypatch.setattr(store, "_parse_lines", fail_late)
    with gallery.http() as http, pytest.raises(httpx.RemoteProtocolError):
        http.get("/v1/exports/images.csv")
    assert last_audit_row(gallery)["num_rows"] == 30


def test_folders_of_killed_exports_are_removed_and_those_in_use_stay(tmp_path):
    with open_temporary_folder(tmp_path) as used:
        abandoned = tmp_path / "dead"
        abandoned.mkdir()
        (abandoned / "images.gpkg").write_bytes(b"part")
        (tmp_path / "dead.lock").touch()
        assert remove_abandoned_folders(tmp_path) == 1
        assert used.is_dir()
        assert not abandoned.exists()
    assert list(tmp_path.iterdir()) == []
    assert remove_abandoned_folders(tmp_path / "missing") == 0
