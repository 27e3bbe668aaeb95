"""The answer of `locate` as server-sent events."""

from __future__ import annotations

import json
import time

import pytest

from api import example_answers
from api.test_api_problems import problem
from pinpoint.api import event_stream
from pinpoint.api.v1 import query_requests
from pinpoint.errors import IndexUnavailableError
from pinpoint.position_access import PositionAccess

PHOTO = {"photo": ("a.jpg", b"\xff\xd8 not a photo", "image/jpeg")}


def read_events(answer) -> list[tuple[str, dict]]:
    """Names and data of the events of a stream, without comments."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    events = []
    for block in answer.text.split("\n\n"):
        lines = [line.partition(": ") for line in block.splitlines() if not line.startswith(":")]
        fields = {name: value for name, _, value in lines}
        if fields:
            events.append((fields["event"], json.loads(fields["data"])))
    return events


@pytest.fixture
def flow(monkeypatch):
    """A flow with two stages; the second one takes `seconds`, and may fail."""

    example = example_answers.answer()

    class Flow:
        seconds = 0.0
        error: Exception | None = None

    def locate(photos, search_filter, context):
        with context.stopwatch.stage("decode"):
            pass
        with context.stopwatch.stage("retrieve"):
            time.sleep(Flow.seconds)
            if Flow.error is not None:
                raise Flow.error
        return example

    monkeypatch.setattr("pinpoint.api.v1.locate.pipeline.locate", locate)
    return Flow


def test_stream_has_stages_and_the_answer_of_the_json_body(api, flow):
    with api.http() as http:
        body = http.post("/v1/locate", files=PHOTO).json()
        stream = http.post("/v1/locate", files=PHOTO, headers={"Accept": "text/event-stream"})
    *stages, (last, answer) = read_events(stream)
    assert [(event, data["name"]) for event, data in stages] == [
        ("stage", "decode"),
        ("stage", "retrieve"),
    ]
    times = [data["elapsed_s"] for _, data in stages]
    assert 0 <= times[0] <= times[1] < 5
    assert last == "answer"
    assert {**answer, "query_id": None} == {**body, "query_id": None}
    assert [entry.operation for entry in api.rows().audit] == ["locate", "locate"]


def test_stage_is_sent_before_the_query_ends(api, flow):
    flow.seconds = 1.0
    began_at = time.monotonic()
    with (
        api.http(Accept="text/event-stream") as http,
        http.stream("POST", "/v1/locate", files=PHOTO) as stream,
    ):
        lines = stream.iter_lines()
        assert next(lines) == "event: stage"
        assert time.monotonic() - began_at < 0.9
        assert "event: answer" in list(lines)


@pytest.mark.parametrize("seconds", [0.0, 0.3])
def test_stream_of_a_restricted_caller_has_no_times_and_no_stages_of_the_search(
    api, monkeypatch, seconds
):
    def locate(photos, search_filter, context, access):
        for stage in ("decode", "encode", "exclude", "retrieve", "evidence", "decide", "retrieve"):
            with context.stopwatch.stage(stage):
                time.sleep(seconds if stage == "retrieve" else 0)
        return example_answers.answer()

    monkeypatch.setattr("pinpoint.api.v1.locate_query.locate_restricted", locate)
    access = PositionAccess(rows="unprotected", granularity="refuse")
    monkeypatch.setattr(query_requests, "find_restriction", lambda *_: access)
    api.begin(api.parts.settings.services.home, restricted_interval_s=0.5)
    began_at = time.monotonic()
    with api.http(Accept="text/event-stream") as http:
        *stages, (last, answer) = read_events(http.post("/v1/locate", files=PHOTO))
    # Two parts of 0.3 s end in the second interval.
    assert time.monotonic() - began_at > (0.5 if seconds == 0 else 1.0)
    assert [data for _, data in stages] == [
        {"name": "decode"},
        {"name": "encode"},
        {"name": "search"},
    ]
    assert (last, answer["timings_ms"]) == ("answer", {})


def test_waiting_stream_sends_heartbeats(api, flow, monkeypatch):
    monkeypatch.setattr(event_stream, "HEARTBEAT_S", 0.1)
    flow.seconds = 0.5
    with api.http(Accept="text/event-stream") as http:
        answer = http.post("/v1/locate", files=PHOTO)
    assert answer.text.count(": ping") >= 3
    assert read_events(answer)[-1][0] == "answer"


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (IndexUnavailableError("no answer"), 503, "index_unavailable"),
        (RuntimeError("secret"), 500, "internal"),
    ],
)
def test_failed_query_ends_with_a_problem_event(api, flow, error, status, reason):
    flow.error = error
    with api.http(Accept="text/event-stream") as http:
        answer = http.post("/v1/locate", files=PHOTO)
    event, body = read_events(answer)[-1]
    assert (event, body["status"], body["reason"]) == ("problem", status, reason)
    assert body["request_id"] == answer.headers["x-request-id"]
    assert "secret" not in answer.text


def test_late_query_ends_with_a_problem_event_and_keeps_its_place(api, flow):
    api.begin(api.parts.settings.services.home, request_budget_s=0.3, max_running=4)
    flow.seconds = 2.0
    began_at = time.monotonic()
    with api.http(Accept="text/event-stream") as http:
        with http.stream("POST", "/v1/locate", files=PHOTO) as stream:
            text = ""
            for piece in stream.iter_text():
                text += piece
                if "event: problem" in text:
                    break
        assert time.monotonic() - began_at < 1.8
    assert "time_budget_used" in text


def test_refused_request_gets_problem_details_instead_of_a_stream(api, flow):
    key = api.parts.api_keys.key("acme", "read")
    with api.http(key, Accept="text/event-stream") as http:
        problem(http.post("/v1/locate", files=PHOTO), 403, "forbidden")
