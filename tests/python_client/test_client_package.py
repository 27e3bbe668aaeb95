"""`pinpoint_client` without a server: models, errors, retries, imports, both clients alike."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import subprocess
import sys

import httpx
import pytest

from document_blocks import ROOT
from pinpoint import errors as server_errors
from pinpoint.api.app import create_app
from pinpoint.api.problems import TITLES
from pinpoint.cli.api_connection import convert_errors
from pinpoint.homes import find_home
from pinpoint_client import AsyncClient, Client, connect, errors
from pinpoint_client import problems as client_problems
from pinpoint_client.answers import Batch
from pinpoint_client.calls import access_calls, gallery_calls, query_calls
from pinpoint_client.client import Jobs
from pinpoint_client.local_stack import find_home as find_client_home
from pinpoint_client.retry import is_transient, run_flow, send_repeatedly
from pinpoint_client.transport import complete_server

CLIENT = ROOT / "clients" / "python"
BATCH = {
    "id": "0198c0de-0000-7000-8000-000000000001",
    "source_id": "0198c0de-0000-7000-8000-000000000002",
    "source": "walk",
    "state": "open",
    "is_processed": False,
    "created_at": "2026-11-01T10:00:00Z",
    "closed_at": None,
    **dict.fromkeys(
        ("items", "received", "stored", "indexed", "updated", "duplicate", "rejected", "failed"), 0
    ),
    "canceled": 0,
    "error_counts": None,
}


def _problem(status, problem_type, **headers):
    request = httpx.Request("GET", "http://127.0.0.1:1/v1/sources")
    body = {"type": problem_type, "detail": "no", "reason": "because", "request_id": "r1"}
    return httpx.Response(status, json=body, headers=headers, request=request)


def test_client_answers_equal_the_openapi_document():
    spec = importlib.util.spec_from_file_location("generate", CLIENT / "generate_answers.py")
    generator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generator)
    for file, text in generator.generate_modules(create_app().openapi()).items():
        written = (generator.FOLDER / file).read_text(encoding="utf-8")
        assert written == text, f"run python clients/python/generate_answers.py ({file})"


def test_client_answer_keeps_unknown_fields_and_unknown_states():
    batch = Batch.model_validate({**BATCH, "state": "archived", "priority": {"level": 3}})
    assert (batch.state, batch.model_extra["priority"]) == ("archived", {"level": 3})
    with pytest.raises(ValueError, match="frozen"):
        setattr(batch, "state", "open")  # noqa: B010 - mypy knows that it is read-only


def test_async_client_has_the_methods_of_the_client():
    def methods(kind):
        return {
            name: list(inspect.signature(value).parameters)
            for name, value in vars(kind).items()
            if callable(value) and not name.startswith("_")
        }

    assert methods(Client) == methods(AsyncClient)
    for name in methods(Client):
        assert inspect.getdoc(getattr(Client, name)), name


def test_client_covers_every_operation_of_the_api():
    document = create_app().openapi()
    operations = {
        (method.upper(), re.sub(r"\{[^}]*\}", "ID", path))
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith("/v1/")
    }
    assert operations - {(call.method, call.path) for call in _list_calls()} == {
        # Files, which `jobs.results`, `jobs.errors`, `jobs.save_results` and `export` stream.
        ("GET", "/v1/jobs/ID/results"),
        ("GET", "/v1/jobs/ID/errors"),
        ("GET", "/v1/exports/images.ID"),
        # The flow `neighbors_of_points`.
        ("POST", "/v1/neighbors"),
    }


def _list_calls():
    """The call of each method, and a second one of those for any organization."""
    for method in (*vars(Client).values(), *vars(Jobs).values()):
        build = getattr(method, "__wrapped__", None)
        signature = None if build is None else inspect.signature(build)
        if signature is None or not signature.return_annotation.startswith("Call"):
            continue
        required = {
            name: _make_value(parameter.annotation)
            for name, parameter in signature.parameters.items()
            if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_KEYWORD
        }
        yield build(**required)
        if "organization" in signature.parameters:
            yield build(**required, organization="ID")


def _make_value(annotation):
    starts = {"Mapping": {}, "Sequence": [], "Photo": b""}
    return next((value for start, value in starts.items() if annotation.startswith(start)), "ID")


@pytest.mark.parametrize("title", sorted(TITLES))
def test_client_problem_type_has_the_class_of_the_server(title):
    error = client_problems.error_from_response(_problem(400, f"urn:pinpoint:problem:{title}"))
    expected = [
        kind.__name__
        for kind in vars(server_errors).values()
        if isinstance(kind, type) and getattr(kind, "reason", None) == title
    ]
    if expected and title != "error":
        assert type(error).__name__ in expected
    assert (error.reason, error.detail, error.request_id) == ("because", "no", "r1")


@pytest.mark.parametrize(
    ("status", "name", "kind", "converted"),
    [
        (429, "quota-exceeded", errors.QuotaExceededError, "QuotaExceededError"),
        (503, "temporary-reduced-capacity", errors.ReducedCapacityError, "UnavailableError"),
        (429, "abnormal-usage-detected", errors.AbnormalUsageError, "AbnormalUsageError"),
    ],
)
def test_client_limit_problem_has_a_class_and_the_requested_pause(status, name, kind, converted):
    prefix = "https://iana.org/assignments/http-problem-types#"
    response = _problem(status, prefix + name, **{"Retry-After": "7"})
    error = client_problems.error_from_response(response)
    assert (type(error), error.retry_after_s, error.status) == (kind, 7.0, status)
    assert is_transient(error) == (kind is not errors.AbnormalUsageError)
    if isinstance(error, errors.QuotaExceededError):
        error.policies = ("jobs",)
        assert not is_transient(error)
    with pytest.raises(getattr(server_errors, converted)) as raised, convert_errors():
        raise error
    assert raised.value.retry_after_s == 7.0


@pytest.mark.parametrize(
    ("call", "attempts"),
    [
        (gallery_calls.sources(), 3),
        (gallery_calls.add_source("a", "photo"), 1),
        (gallery_calls.add_source("a", "photo", idempotency_key="k"), 3),
        (gallery_calls.delete("x"), 1),
        (access_calls.create_key("a", role="viewer"), 1),
        (access_calls.rotate_key("x"), 1),
        (access_calls.revoke_key("x"), 3),
        (query_calls.locate(b"x"), 3),
        (query_calls.locate(b"x", keep=True), 1),
    ],
)
def test_client_repeats_only_calls_that_may_be_repeated(call, attempts):
    sent = []

    def refuse(step):
        sent.append(step)
        raise errors.UnavailableError("it refuses the connection")

    with pytest.raises(errors.UnavailableError):
        run_flow(send_repeatedly(call, (0.0, 0.0)), refuse)
    assert len(sent) == attempts
    assert ("Idempotency-Key" in call.headers) == (call.idempotency_key is not None)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:34105", "http://127.0.0.1:34105"),
        ("localhost", "http://localhost"),
        ("[::1]:80/", "http://[::1]:80"),
        ("pinpoint.example", "https://pinpoint.example"),
        ("https://pinpoint.example/api/", "https://pinpoint.example/api"),
    ],
)
def test_client_completes_the_address_of_a_server(text, url):
    assert complete_server(text) == url


@pytest.mark.parametrize("text", ["", "http://", "ftp://a", "http://[::1", "http://a:0"])
def test_client_with_an_invalid_address_explains_it(text):
    with pytest.raises(errors.BadRequestError, match="http://HOST:PORT"):
        connect(text)


def test_client_without_a_stack_explains_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.StackError, match="pinpoint up") as raised:
        connect()
    assert raised.value.reason == "stack_not_running"


def test_client_finds_the_home_that_the_commands_find(tmp_path):
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_client_home(below) == find_home(below) == below / ".pinpoint"
    (tmp_path / ".pinpoint").mkdir()
    assert find_client_home(below) == find_home(below)
    (tmp_path / ".pinpoint" / "stack.json").write_text("{}")
    assert find_client_home(below) == find_home(below) == tmp_path / ".pinpoint"


def test_client_imports_no_package_of_the_server():
    code = (
        "import json, sys, pinpoint_client; from pinpoint_client.answers import Answer;"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    loaded = set(json.loads(printed))
    assert {"pinpoint_client", "httpx", "pydantic"} <= loaded
    assert loaded & {"pinpoint", "pinpoint_workers", "numpy", "torch", "fastapi", "typer"} == set()
