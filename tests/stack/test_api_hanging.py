"""The API with components that hang or are down, and with invalid requests."""

from __future__ import annotations

import re
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from uuid import uuid4

import httpx
import psutil
import pytest
import uvicorn

from index_process import until
from pinpoint import logs
from pinpoint.api.app import create_app
from pinpoint.bootstrap import build_services
from pinpoint.records import KeyGrant
from pinpoint.settings import LogSettings, ServiceSettings, Settings
from pinpoint.stack.state import load_operator_key
from small_stack import SmallStack
from stack_fixtures import plain_jpeg

PHOTO = plain_jpeg(77, size=(320, 240))
BUDGET_S, QUESTIONS, SLACK_S = 3.0, 12, 3.0
FORBIDDEN = re.compile(
    r"Errno|Traceback|Exception|\w+Error\b|psycopg|sqlalchemy|kombu|redis\.|qdrant_client"
    r"|connection to server|No such file|could not|Expecting|/tmp|/run/|/var/|\.sock|s\.PGSQL",
)


@contextmanager
def serve_api(services) -> Iterator[str]:
    """Serve the API on a free port; yields its URL."""
    logs.configure(LogSettings())
    server = uvicorn.Server(
        uvicorn.Config(create_app(services), port=0, log_config=None, proxy_headers=False)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def stack(home, database_url, api_database_url, redis_url):
    small_stack = SmallStack(home, database_url, api_database_url, redis_url)
    limits = small_stack.settings.api.model_copy(update={"request_budget_s": BUDGET_S})
    small_stack.settings.api = limits
    yield small_stack
    small_stack.close()


@pytest.fixture
def api(stack):
    """A client with a key of `acme`, and the API's address."""
    _, key = stack.worker.api_keys.create_key(
        "acme", "all", KeyGrant(scopes=("locate", "read", "ingest", "admin"))
    )
    stack.api.encoder.warm()
    headers = {"Authorization": f"Bearer {key}"}
    with (
        serve_api(stack.api) as url,
        httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60) as client,
    ):
        yield SimpleNamespace(url=url, client=client, headers=headers)


@contextmanager
def suspended(pid: int) -> Iterator[None]:
    process = psutil.Process(pid)
    family = [process, *process.children(recursive=True)]
    for member in family:
        member.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for member in family:
            member.send_signal(signal.SIGCONT)


def ask(api) -> tuple[int, float, str]:
    began = time.monotonic()
    with httpx.Client(headers=api.headers, trust_env=False, timeout=60) as client:
        answer = client.post(f"{api.url}/v1/locate", files={"photo": ("q.jpg", PHOTO)})
    return answer.status_code, time.monotonic() - began, answer.text


def ask_at_once(api, count: int) -> list[tuple[int, float, str]]:
    results: list[tuple[int, float, str]] = []
    threads = [threading.Thread(target=lambda: results.append(ask(api))) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.fixture
def redis_server(_redis):
    return _redis


def pid_of(program: str, stack, postgres, redis) -> int:
    return {
        "index": stack._owner.pid,
        "postgres": postgres._process.pid,
        "redis": redis._process.pid,
    }[program]


@pytest.mark.parametrize("program", ["index", "postgres", "redis"])
def test_api_with_hanging_component_returns_503_in_time_and_recovers(
    api, stack, postgres, redis_server, program
):
    until(lambda: ask(api)[0] == 200)  # the decoder's child has started
    with suspended(pid_of(program, stack, postgres, redis_server)):
        began = time.monotonic()
        ready = api.client.get("/health/ready")
        assert time.monotonic() - began < 1.8 + 1.5
        assert ready.status_code == 503
        part = {"postgres": "database", "redis": "broker"}.get(program, program)
        assert ready.json()["components"][part]["ok"] is False
        live_s: list[float] = []
        threads = [threading.Thread(target=ask_at_once, args=(api, QUESTIONS))]
        threads[0].start()
        while threads[0].is_alive():
            began = time.monotonic()
            assert api.client.get("/health/live").status_code == 200
            live_s.append(time.monotonic() - began)
            time.sleep(0.02)
        results = ask_at_once(api, QUESTIONS)
        # Clients and API share this process; `trials.test_overload` measures it alone.
        assert statistics.median(live_s) < 0.5
    assert {status for status, _, _ in results} == ({200} if program == "redis" else {503})
    assert max(seconds for _, seconds, _ in results) < BUDGET_S + SLACK_S
    began = time.monotonic()
    while ask(api)[0] != 200:
        assert time.monotonic() - began < 5
        time.sleep(0.1)


def test_api_with_hanging_broker_accepts_uploads_without_calling_it(api, redis_server):
    api.client.post("/v1/sources", json={"name": "walk", "kind": "photo"}).raise_for_status()
    batch = api.client.post("/v1/batches", json={"source": "walk"}).json()["id"]
    with suspended(redis_server._process.pid):
        spent = []
        for number in range(8):
            began = time.monotonic()
            files = [("files", (f"{number}.jpg", PHOTO))]
            answer = api.client.post(f"/v1/batches/{batch}/images", files=files)
            assert api.client.get("/health/live").status_code == 200
            spent.append(time.monotonic() - began)
            assert answer.status_code == 202, answer.text
    assert max(spent) < BUDGET_S + SLACK_S
    assert spent[-1] < 0.5  # the circuit breaker is open
    assert api.client.get(f"/v1/batches/{batch}").json()["received"] == 8


def test_readiness_reuses_one_broker_connection(api, redis_server):
    api.client.get("/health/ready")
    client = redis_server._open_client()
    before = client.info("stats")["total_connections_received"]
    for _ in range(5):
        assert api.client.get("/health/ready").status_code in (200, 503)
    assert client.info("stats")["total_connections_received"] == before
    client.close()


def nonsense(client: httpx.Client, batch: str) -> Iterator[httpx.Response]:
    """Invalid requests of different kinds."""
    photo = {"photo": ("q.jpg", PHOTO)}
    path = f"/v1/batches/{batch}/images"
    file = [("files", ("a.jpg", PHOTO))]
    for form in (
        {"bbox": "a,b,c,d"},
        {"bbox": "1,2,3,1e999"},
        {"polygon": "{"},
        {"polygon": "[" * 5_000},
        {"datetime": "0001-01-01T00:00:00+01:00/.."},
        {"sources": "nobody"},
        {"lat": "x"},
        {"top": "1e400"},
    ):
        yield client.post("/v1/locate", files=photo, data=form)
    for data in (b"", b"no image", PHOTO[:500], b"\xff\xd8" + b"\0" * 100):
        yield client.post("/v1/locate", files={"photo": ("q.jpg", data)})
    for metadata_overrides in (
        "[",
        "[]",
        '{"b.jpg": {}}',
        '{"a.jpg": {"lat": "north"}}',
        "9" * 5_000,
    ):
        yield client.post(path, files=file, data={"metadata_overrides": metadata_overrides})
    yield client.post(path, content=b"--x", headers={"Content-Type": "multipart/form-data"})
    yield client.post(
        path, content=b"junk", headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    yield client.post("/v1/sources", content=b"{", headers={"Content-Type": "application/json"})
    yield client.post("/v1/sources", json={"name": "a/b", "kind": "photo"})
    yield client.post("/v1/sources", json={"name": f"erased:{uuid4()}", "kind": "photo"})
    yield client.get(f"/v1/images/{uuid4()}")
    yield client.patch(f"/v1/images/{uuid4()}", json={"captured_at": "9999-12-31T23:59:59-01:00"})


def check_words(answers: Iterator[httpx.Response], *hidden: str) -> None:
    """No response is a success, and none contains internal details."""
    for answer in answers:
        text = f"{answer.request.method} {answer.request.url.path}: {answer.text}"
        assert answer.status_code >= 400, text
        assert answer.status_code != 500, text
        assert answer.headers["content-type"] == "application/problem+json"
        assert not FORBIDDEN.search(answer.text), text
        for secret in hidden:
            assert secret not in answer.text, text


def routes(client: httpx.Client, batch: str) -> Iterator[httpx.Response]:
    """A request to each kind of route that needs a component of the stack."""
    yield client.post("/v1/locate", files={"photo": ("q.jpg", PHOTO)})
    yield client.post("/v1/similar", files={"photo": ("q.jpg", PHOTO)})


def test_error_responses_have_no_internal_details(api, stack, home):
    source = api.client.post("/v1/sources", json={"name": "walk", "kind": "photo"}).json()
    batch = api.client.post("/v1/batches", json={"source": "walk"}).json()["id"]
    stranger = stack.worker.api_keys.create_organization("stranger")
    with stack.worker.database.write(stranger.id) as catalog:
        theirs = catalog.add_source("theirs", "photo").id
    hidden = (
        str(home),
        str(stranger.id),
        str(stack.organization_id),
        stack.settings.services.broker_url,
    )
    check_words(nonsense(api.client, batch), *hidden)
    check_words(iter([api.client.get(f"/v1/sources/{theirs}")]), str(stranger.id))
    assert source["roots"] == []

    # Blobs cannot be written: a file has the name of their folder.
    blobs = stack.paths.blobs_dir
    blobs.rename(blobs.with_name("moved")) if blobs.exists() else None
    blobs.write_text("no folder")
    files = [("files", ("a.jpg", PHOTO))]
    check_words(iter([api.client.post(f"/v1/batches/{batch}/images", files=files)]), *hidden)
    blobs.unlink()

    # The index is gone.
    stack._owner.terminate()
    stack._owner.wait(20)
    for _ in range(8):  # until the circuit breaker opens, and beyond
        check_words(routes(api.client, batch), *hidden)
    check_words(iter([api.client.get("/health/ready")]), *hidden)


@pytest.mark.filterwarnings("ignore:Failed to obtain server version")
@pytest.mark.parametrize(
    "database", ["postgresql://nobody@/none?host=/tmp/nowhere", "postgresql://x@127.0.0.1:9/none"]
)
def test_error_responses_with_components_down_have_no_addresses(home, database):
    settings = Settings(
        services=ServiceSettings(
            home=home,
            database_url=database,
            broker_url="redis://127.0.0.1:9/0",
            qdrant_url="http://127.0.0.1:9",
        )
    )
    from pinpoint.stack.paths import StackPaths

    key = load_operator_key(StackPaths(home))
    services = build_services(settings, "api")
    try:
        with (
            serve_api(services) as url,
            httpx.Client(
                base_url=url,
                headers={"Authorization": f"Bearer {key}"},
                trust_env=False,
                timeout=60,
            ) as client,
        ):
            for _ in range(7):
                check_words(routes(client, str(uuid4())), str(home), "127.0.0.1:9", "nowhere")
            ready = client.get("/health/ready")
            check_words(iter([ready]), str(home), "127.0.0.1:9", "nowhere")
            assert not any(part["ok"] for part in ready.json()["components"].values())
    finally:
        services.close()
