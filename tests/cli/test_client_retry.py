"""Client retries of uploads: lost responses, refused connections, 429 and 503."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest

from cli.test_cli_commands import picture, pinpoint  # noqa: F401 - a fixture
from pinpoint.cli.api_client import ApiClient
from pinpoint.errors import QuotaExceededError, UnavailableError
from pinpoint.limit_settings import LimitSettings
from pinpoint_client import errors, retry, uploads
from pinpoint_client.calls import batch_calls, gallery_calls
from stack_fixtures import write_photos

BUSY = b"HTTP/1.1 %d Busy\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class FaultyProxy:
    """A TCP proxy in front of a server; a script gives the fault of each request to a path.

    `cut`: the server receives the request, its response is lost. `refuse`: the connection is
    closed before the server receives the request. A number: the proxy returns this status.
    """

    def __init__(self, url, script, path):
        self.target = (urlsplit(url).hostname, urlsplit(url).port)
        self.path = path
        self.script = list(script)
        self.uploads = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client):
        """Forward one request per connection."""
        with client, socket.create_connection(self.target) as server:
            head, body = _request(client)
            if not head:
                return
            todo = None
            if f"{self.path} HTTP".encode() in head.split(b"\r\n")[0]:
                self.uploads += 1
                todo = self.script.pop(0) if self.script else None
            if todo == "refuse":
                return
            if isinstance(todo, int):
                client.sendall(BUSY % todo)
                return
            # Without keep-alive the response ends when the server closes the connection.
            server.sendall(head[:-2] + b"Connection: close\r\n\r\n" + body)
            answer = b"".join(iter(lambda: server.recv(65_536), b""))
            if todo != "cut":
                client.sendall(answer)


def _request(client):
    """Read the head and body of a request."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = client.recv(65_536)
        if not part:
            return b"", b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    while len(body) < int(fields.get(b"content-length", 0)):
        body += client.recv(65_536)
    return head + b"\r\n\r\n", body


@contextmanager
def faulty_proxy(url, *script, path="/images"):
    """A proxy; the faults are those of uploads, or of requests whose path has this end."""
    proxy = FaultyProxy(url, script, path)
    try:
        yield proxy
    finally:
        proxy.close()


@pytest.fixture
def pauses(monkeypatch):
    """Durations of the pauses between retries, in seconds, without waiting."""
    slept_s = []
    monkeypatch.setattr(retry, "time", SimpleNamespace(sleep=slept_s.append))
    return slept_s


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Five files, sent two at a time."""
    monkeypatch.setattr(uploads, "MAX_FILES_PER_REQUEST", 2)
    for number in range(5):
        (tmp_path / f"p{number}").mkdir()
        picture(tmp_path / f"p{number}" / "a.png", number + 1)
    return tmp_path


def names(api):
    (batch,) = api.rows().all_batches.values()
    return [item.file for item in batch["items"]]


WANTED = [f"p{number}/a.png" for number in range(5)]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_upload_with_lost_response_is_not_sent_twice(api, folder, pauses, number):
    api.rows().add_source("walk", "photo")
    script = [None] * number + ["cut"]
    with faulty_proxy(api.url, *script) as proxy, ApiClient.open(proxy.url) as client:
        batch = client.ingest_folder(folder, source="walk")
    assert (batch["items"], batch["state"], batch["not_sent"]) == (5, "closed", [])
    assert batch["repeated"] == 1
    assert pauses == [0.5]
    assert names(api) == WANTED
    # The request with the lost response was complete: its files are not sent again.
    assert proxy.uploads == 3


@pytest.mark.parametrize("trouble", ["refuse", 503, 429, 502])
def test_upload_that_failed_is_retried(api, folder, pauses, trouble):
    api.rows().add_source("walk", "photo")
    with (
        faulty_proxy(api.url, None, trouble, trouble) as proxy,
        ApiClient.open(proxy.url) as client,
    ):
        batch = client.ingest_folder(folder, source="walk")
    assert (batch["items"], batch["repeated"], proxy.uploads) == (5, 2, 5)
    # `Retry-After` of the server is respected.
    assert pauses == ([0.5, 1.0] if trouble == "refuse" else [1.0, 1.0])
    assert names(api) == WANTED


def test_upload_with_permanent_failure_raises_after_the_last_retry(api, folder, pauses):
    api.rows().add_source("walk", "photo")
    with faulty_proxy(api.url, *["refuse"] * 100) as proxy, ApiClient.open(proxy.url) as client:
        with pytest.raises(UnavailableError):
            client.ingest_folder(folder, source="walk")
        assert proxy.uploads == len(retry.UPLOAD_PAUSES_S) + 1
    assert pauses == list(retry.UPLOAD_PAUSES_S)
    assert sum(retry.UPLOAD_PAUSES_S) < 60


def test_retry_after_over_the_maximum_raises_at_once(pauses):
    calls = []

    def send(call):
        calls.append(call)
        raise errors.QuotaExceededError("tomorrow", status=429, retry_after_s=86_400.0)

    with pytest.raises(errors.QuotaExceededError):
        retry.run_flow(retry.send_repeatedly(gallery_calls.sources(), (1.0,)), send)
    assert (len(calls), pauses) == (1, [])


def test_retry_with_repeated_file_name_sends_the_second_entry(api, tmp_path, pauses):
    """The second request, with the same file at another position, was lost."""
    api.rows().add_source("walk", "photo")
    picture(tmp_path / "p.png")
    (tmp_path / "m.csv").write_text("file,lat,lon\np.png,48.5,2.5\np.png,49.5,3.5\n")
    with faulty_proxy(api.url, None, "refuse") as proxy, ApiClient.open(proxy.url) as client:
        client.ingest_folder(tmp_path / "m.csv", source="walk")
    (batch,) = api.rows().all_batches.values()
    assert [item.metadata_override.lat for item in batch["new"]] == [48.5, 49.5]


def test_retry_without_read_scope_repeats_the_whole_request(api, folder, pauses, monkeypatch):
    api.rows().add_source("walk", "photo")

    def refused(*_given, **_named):
        raise errors.ForbiddenError("this key may only ingest")

    monkeypatch.setattr(batch_calls, "items", refused)
    with faulty_proxy(api.url, "cut") as proxy, ApiClient.open(proxy.url) as client:
        batch = client.ingest_folder(folder, source="walk")
    assert (batch["items"], batch["repeated"], proxy.uploads) == (7, 1, 4)
    assert sorted(set(names(api))) == WANTED


def test_ingest_with_retries_prints_their_number(api, pinpoint, folder, pauses):  # noqa: F811
    api.rows().add_source("walk", "photo")
    with faulty_proxy(api.url, "cut") as proxy:
        printed = pinpoint("ingest", folder, "--source", "walk", "--server", proxy.url)
    assert "1 requests were repeated" in printed.err
    assert "5 waiting" in printed.out


def test_upload_to_stack_with_lost_responses_stores_each_file_once(
    running_stack, tmp_path, monkeypatch
):
    """Real API, worker and index; two responses and one request are lost."""
    write_photos(tmp_path / "in", 6, first=9_000)
    monkeypatch.setattr(uploads, "MAX_FILES_PER_REQUEST", 2)
    with (
        faulty_proxy(running_stack.api_url, "cut", None, "refuse", "cut") as proxy,
        ApiClient.open(proxy.url, running_stack.operator_key) as client,
    ):
        client.add_source("bad-line", "photo")
        batch = client.ingest_folder(tmp_path / "in", source="bad-line", wait=True)
        assert client.source("bad-line")["images"] == 6
    counts = {state: batch[state] for state in ("items", "indexed", "duplicate", "failed")}
    assert counts == {"items": 6, "indexed": 6, "duplicate": 0, "failed": 0}
    assert batch["repeated"] == 3


def test_upload_to_stack_with_a_lost_answer_of_a_new_batch_opens_one_batch(running_stack, tmp_path):
    write_photos(tmp_path / "in", 1, first=9_100)
    with (
        faulty_proxy(running_stack.api_url, "cut", path="/v1/batches") as proxy,
        ApiClient.open(proxy.url, running_stack.operator_key) as client,
    ):
        client.add_source("lost-batch", "photo")
        batch = client.ingest_folder(tmp_path / "in", source="lost-batch")
        batches = client.batches(limit=200)["batches"]
        client.cancel(batch["id"])
    assert (batch["items"], batch["state"], batch["repeated"]) == (1, "closed", 1)
    assert [opened["source"] for opened in batches].count("lost-batch") == 1


def test_call_beyond_a_quota_waits_until_it_is_free_again(pauses):
    calls = []

    def send(call):
        calls.append(call)
        if len(calls) == 1:
            raise errors.QuotaExceededError("later", status=429, retry_after_s=42.0)
        return "done"

    call = gallery_calls.sources()
    answer: object = retry.run_flow(retry.send_repeatedly(call, (1.0,)), send)
    assert answer == "done"
    assert pauses == [42.0]

    def refuse(_call):
        raise errors.AbnormalUsageError("ask the operator", status=429, retry_after_s=5.0)

    with pytest.raises(errors.AbnormalUsageError):
        retry.run_flow(retry.send_repeatedly(call, (1.0,)), refuse)
    assert pauses == [42.0]


def test_client_converts_a_registered_problem_to_its_error_class(api):
    key = api.parts.api_keys.key("acme", "read")
    api.parts.key_limiter._settings = LimitSettings(requests_per_minute=1)
    with ApiClient.open(api.url, key) as client:
        client.sources()
        with pytest.raises(QuotaExceededError) as refused:
            client.sources()
    assert refused.value.policies == ("requests",)
    assert 1 <= refused.value.retry_after_s <= 60
