"""JSONL files of jobs: errors by line, uploads, URLs, duplicates, and bounded memory."""

from __future__ import annotations

import io
import json
import socket
import tracemalloc

import httpx
import pytest

from pinpoint.api.v1.job_lines import read_lines
from pinpoint.errors import TooLargeError
from pinpoint.records import KeyGrant
from pinpoint.records.key_limits import KeyLimits


def read(text, **changes):
    options = {"max_items": 100, "max_line_bytes": 2_000, "allows_urls": False, **changes}
    data = text if isinstance(text, bytes) else text.encode()
    return list(read_lines(io.BytesIO(data), **options))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no json", "not JSON"),
        ("[1]", "valid dictionary"),
        ('{"custom_id": "a"}', "either url or upload"),
        ('{"custom_id": "a", "upload": "b", "url": "https://c"}', "either url or upload"),
        ('{"custom_id": "", "upload": "b"}', "custom_id"),
        ('{"custom_id": 7, "upload": "b"}', "custom_id"),
        ('{"custom_id": "a", "upload": "b", "more": 1}', "more"),
        ('{"custom_id": "a", "upload": "b", "parameters": {"top": 0}}', "parameters.top"),
        ('{"custom_id": "a", "upload": "b", "parameters": {"keep": true}}', "parameters.keep"),
        ('{"custom_id": "a", "upload": "b", "parameters": {"bbox": [1, 2]}}', "bbox must be"),
        ('{"custom_id": "a\\u0000", "upload": "b"}', "zero character"),
        ('{"custom_id": "\\ud800", "upload": "b"}', "cannot be stored"),
        (b'{"custom_id": "\xff", "upload": "b"}', "UTF-8"),
        ("[" * 100_000, "longer than"),
        ("[" * 1_900, "JSON"),
    ],
)
def test_invalid_line_is_a_failed_item_with_its_number(line, message):
    data = line if isinstance(line, bytes) else line.encode()
    good = b'{"custom_id": "good", "upload": "b"}'
    first, invalid, last = read(good + b"\n" + data + b"\n" + good.replace(b"good", b"last"))
    assert (first.error_code, last.error_code) == (None, None)
    assert (invalid.line_number, invalid.error_code) == (2, "invalid_line")
    assert message in invalid.error_message
    assert last.line_number == 3


def test_duplicate_custom_id_fails_the_later_line():
    line = '{"custom_id": "a", "upload": "b"}'
    first, second = read(f"{line}\n\n{line}")
    assert (first.error_code, second.error_code) == (None, "duplicate_custom_id")
    assert second.line_number == 3


def test_url_is_refused_unless_it_is_enabled():
    line = '{"custom_id": "a", "url": "https://example.org/a.jpg"}'
    assert read(line)[0].error_code == "url_inputs_disabled"
    assert read(line)[0].error_message == "URL inputs are not enabled"
    assert read(line, allows_urls=True)[0].error_code is None


def test_too_many_lines_raise():
    line = '{"custom_id": "%d", "upload": "b"}\n'
    with pytest.raises(TooLargeError, match="PINPOINT_JOB_MAX_ITEMS"):
        read("".join(line % number for number in range(101)))


def test_area_may_be_an_object():
    area = {"type": "Polygon", "coordinates": [[[2, 48], [3, 48], [3, 49], [2, 48]]]}
    line = {"custom_id": "a", "upload": "b", "parameters": {"polygon": area, "sources": ["x"]}}
    assert read(json.dumps(line))[0].error_code is None


def test_reading_ten_thousand_lines_needs_little_memory():
    line = '{"custom_id": "item-%d", "upload": "photo-%d.jpg", "parameters": {"top": 3}}\n'
    data = "".join(line % (number, number) for number in range(10_000)).encode()
    read(data[:200], max_items=10_000)
    tracemalloc.start()
    count = sum(
        1
        for _ in read_lines(
            io.BytesIO(data), max_items=10_000, max_line_bytes=2_000, allows_urls=False
        )
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 10_000
    assert peak < 4_000_000


def test_job_of_lines_reports_invalid_lines_and_missing_uploads(job_server, photos):
    names = list(photos)
    lines = [
        {"custom_id": "one", "upload": names[0], "parameters": {"top": 1}},
        {"custom_id": "same-photo", "upload": names[0]},
        {"custom_id": "two", "upload": names[1]},
        {"custom_id": "never-sent", "upload": "missing.jpg"},
        {"custom_id": "one", "upload": names[2]},
        {"custom_id": "remote", "url": "https://example.org/a.jpg"},
        {"custom_id": "bad-source", "upload": names[3], "parameters": {"sources": ["nowhere"]}},
    ]
    text = "\n".join(json.dumps(line) for line in lines) + "\nno json\n"
    parts = [("lines", ("in.jsonl", text)), ("files", (names[0], photos[names[0]]))]
    response = job_server.http.post(
        "/v1/jobs/locate", files=parts, data={"start": "false", "parameters": '{"top": 2}'}
    )
    assert response.status_code == 201, response.text
    job = response.json()["job"]
    assert (job["counts"]["total"], job["counts"]["invalid_lines"]) == (8, 3)
    assert job["counts"]["waiting_for_upload"] == 3
    more = [("files", (name, photos[name])) for name in (names[1], names[3], names[4])]
    uploads = job_server.http.post(f"/v1/jobs/{job['id']}/files", files=more).json()["uploads"]
    assert [upload["status"] for upload in uploads] == ["stored", "stored", "not_referenced"]
    assert len(job_server.photos()) == 3
    job_server.http.post(f"/v1/jobs/{job['id']}/start")
    ended = job_server.work(job["id"])
    assert ended["counts"]["completed"] == 3
    results = {line["custom_id"]: line for line in job_server.lines(job["id"])}
    assert {name: len(line["answer"]["candidates"]) for name, line in results.items()} == {
        "one": 1,
        "same-photo": 2,
        "two": 2,
    }
    failed = {
        (line["line_number"], line["custom_id"]): line["error"]["code"]
        for line in job_server.lines(job["id"], "errors")
    }
    assert failed == {
        (4, "never-sent"): "upload_missing",
        (5, "one"): "duplicate_custom_id",
        (6, "remote"): "url_inputs_disabled",
        (7, "bad-source"): "not_found",
        (8, None): "invalid_line",
    }
    page = job_server.http.get(f"/v1/jobs/{job['id']}/items", params={"state": "failed"}).json()
    assert [item["line_number"] for item in page["items"]] == [4, 5, 6, 7, 8]
    assert job_server.photos() == []


def test_lines_of_a_job_count_as_photos_of_the_day(job_server, photos):
    services = job_server.stack.api
    key, secret = job_server.stack.worker.api_keys.create_key(
        "acme", "limited", KeyGrant(scopes=("locate",))
    )
    job_server.stack.worker.key_limiter.set_overrides(key.id, KeyLimits(photos_per_day=5))
    lines = [{"custom_id": str(n), "url": f"https://photos.test/{n}.jpg"} for n in range(4)]
    lines += [{"custom_id": "uploaded", "upload": "a.jpg"}, {"custom_id": "invalid"}]
    text = "\n".join(map(json.dumps, lines))
    headers = {"Authorization": f"Bearer {secret}"}
    object.__setattr__(services, "url_fetcher", services.remote_files)
    try:
        with httpx.Client(
            base_url=job_server.http.base_url, headers=headers, trust_env=False
        ) as http:
            forms = [[("lines", ("in.jsonl", part))] for part in (text, text.splitlines()[0])]
            created = http.post("/v1/jobs/locate", files=forms[0], data={"start": "false"})
            job_id = created.json()["job"]["id"]
            upload = [("files", ("a.jpg", photos["walk/0.jpg"]))]
            uploaded = http.post(f"/v1/jobs/{job_id}/files", files=upload)
            before = http.get("/v1/jobs").json()
            refused = http.post("/v1/jobs/locate", files=[*forms[1], *upload])
            assert http.get("/v1/jobs").json() == before
    finally:
        object.__setattr__(services, "url_fetcher", None)
    assert created.json()["job"]["counts"]["invalid_lines"] == 1
    assert '"photos";r=0' in created.headers["RateLimit"]
    # Its line is counted already.
    assert uploaded.status_code == 202
    assert (refused.status_code, refused.json()["violated-policies"]) == (429, ["photos"])
    job_server.http.delete(f"/v1/jobs/{job_id}")
    job_server.work_deleted(job_id)
    assert job_server.photos() == []


def test_job_of_invalid_lines_only_fails(job_server):
    parts = [("lines", ("in.jsonl", "no json\nneither\n"))]
    job_id = job_server.http.post("/v1/jobs/locate", files=parts).json()["job"]["id"]
    assert job_server.work(job_id)["state"] == "failed"


def test_job_of_ten_thousand_lines_is_created_at_once(job_server):
    lines = "".join(
        json.dumps({"custom_id": f"item-{number}", "upload": f"{number}.jpg"}) + "\n"
        for number in range(10_000)
    )
    response = job_server.http.post(
        "/v1/jobs/locate",
        files=[("lines", ("in.jsonl", lines))],
        data={"start": "false"},
    )
    counts = response.json()["job"]["counts"]
    assert (counts["total"], counts["waiting_for_upload"]) == (10_000, 10_000)
    job_id = response.json()["job"]["id"]
    page = job_server.http.get(
        f"/v1/jobs/{job_id}/items", params={"after": 9_998, "limit": 5}
    ).json()
    assert [item["custom_id"] for item in page["items"]] == ["item-9998", "item-9999"]
    job_server.http.delete(f"/v1/jobs/{job_id}")
    job_server.work_deleted(job_id)


@pytest.mark.parametrize(
    ("data", "files", "status"),
    [
        ({"parameters": "[]"}, [], 422),
        ({"parameters": '{"top": 1000}'}, [], 422),
        ({"parameters": '{"sources": ["nowhere"]}'}, [], 404),
        ({"more": "1"}, [], 422),
        ({}, [("photo", ("a.jpg", b"x"))], 422),
        ({}, [("files", ("a.jpg", b"x")), ("files", ("a.jpg", b"y"))], 422),
        ({}, [("lines", ("a", b"x")), ("lines", ("b", b"y"))], 422),
        ({}, [("files", ("../a.jpg", b"x"))], 422),
    ],
)
def test_invalid_form_is_refused_and_stores_nothing(job_server, data, files, status):
    response = job_server.http.post("/v1/jobs/locate", data=data, files=files or None)
    assert response.status_code == status, response.text
    assert job_server.photos() == []


def test_body_over_the_limit_is_refused_before_it_is_read(job_server):
    url = job_server.http.base_url
    head = (
        f"POST /v1/jobs/locate HTTP/1.1\r\nHost: {url.host}\r\nContent-Length: {10**12}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n"
        f"Authorization: {job_server.http.headers['Authorization']}\r\n\r\n"
    )
    with socket.create_connection((url.host, url.port), timeout=10) as connection:
        connection.sendall(head.encode())
        assert b" 413 " in connection.recv(4_096).splitlines()[0]
