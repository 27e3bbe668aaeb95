"""The demo runs twice on a real stack: the second run ingests nothing and answers identically."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from pinpoint.bootstrap import build_services
from pinpoint.cli.api_client import ApiClient
from pinpoint.cli.demo import run_demo
from pinpoint.cli.demo_report import DEMO_NOTE

SMALL = {"preset": "tiny", "queries": 4, "seed": 11}


@pytest.fixture
def settings(running_stack, monkeypatch):
    monkeypatch.setenv("PINPOINT_HOME", str(running_stack.home))
    return running_stack.settings


@pytest.fixture(scope="module")
def organization(running_stack):
    """A separate organization, because the stack is shared and answers cite nearby images."""
    name = f"demo-{uuid4().hex[:8]}"
    services = build_services(running_stack.settings, "operator")
    services.api_keys.create_organization(name)
    services.close()
    return name


def counts(report, name):
    return [batch[name] for batch in report["ingest"]]


def test_demo_second_run_ingests_nothing_and_answers_identically(
    settings, organization, capsys, tmp_path
):
    first = run_demo(settings, as_json=True, organization=organization, out=tmp_path, **SMALL)
    assert json.loads(capsys.readouterr().out) == first
    assert counts(first, "items") == [72, 72]
    assert counts(first, "rejected") == counts(first, "failed") == [0, 0]

    with ApiClient.open(organization=organization) as client:
        batches = client.batches(500)
    again = run_demo(settings, organization=organization, out=tmp_path, **SMALL)
    with ApiClient.open(organization=organization) as client:
        assert client.batches(500) == batches, "a second run sent something"
    assert counts(again, "indexed") == counts(again, "updated") == [0, 0]
    assert counts(again, "duplicate") == [72, 72]
    for photo, repeated in zip(first["photos"], again["photos"], strict=True):
        assert {**photo, "ms": 0} == {**repeated, "ms": 0}

    output = capsys.readouterr().out
    assert DEMO_NOTE in output
    assert "0 new, 144 duplicates, 0 rejected or failed" in output
    assert f"the API is at {first['server']}" in output
    assert [line for line in again["try"] if line.endswith(("/ready", "/locate", "/thumbnail"))]
    assert first["photos"][0]["ground_truth"]["nearest_city"] in output
    assert f"map: {tmp_path / 'map.png'}" in output


def test_demo_answers_cite_both_source_kinds(settings, organization, tmp_path):
    report = run_demo(settings, as_json=True, organization=organization, out=tmp_path, **SMALL)
    for photo in report["photos"]:
        assert photo["answer"] is not None
        assert set(photo["radius_km"]) == {"50%", "90%"}
        assert photo["radius_km"]["50%"] <= photo["radius_km"]["90%"]
        assert {citation["license"] for citation in photo["citations"]} == {"CC0-1.0"}
    assert {
        citation["source_kind"] for photo in report["photos"] for citation in photo["citations"]
    } == {
        "street",
        "photo",
    }
