"""The demo on a real stack, twice: the second run changes nothing and answers the same."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from pinpoint.bootstrap import build_services
from pinpoint.cli.demo import run_demo
from pinpoint.cli.demo_report import DEMO_NOTE
from pinpoint.client import Client

SMALL = {"preset": "tiny", "queries": 4, "seed": 11}


@pytest.fixture
def settings(running_stack, monkeypatch):
    monkeypatch.setenv("PINPOINT_HOME", str(running_stack.home))
    return running_stack.settings


@pytest.fixture(scope="module")
def own(running_stack):
    """An organization of its own: the stack is shared, and an answer cites what else is near."""
    name = f"demo-{uuid4().hex[:8]}"
    services = build_services(running_stack.settings, "operator")
    services.api_keys.create_organization(name)
    services.close()
    return name


def counts(report, name):
    return [batch[name] for batch in report["ingest"]]


def test_a_second_run_finds_everything_known_and_answers_the_same(settings, own, capsys, tmp_path):
    first = run_demo(settings, as_json=True, organization=own, out=tmp_path, **SMALL)
    assert json.loads(capsys.readouterr().out) == first
    assert counts(first, "items") == [72, 72]
    assert counts(first, "rejected") == counts(first, "failed") == [0, 0]

    with Client.open(organization=own) as client:
        batches = client.batches(500)
    again = run_demo(settings, organization=own, out=tmp_path, **SMALL)
    with Client.open(organization=own) as client:
        assert client.batches(500) == batches, "a second run sent something"
    assert counts(again, "indexed") == counts(again, "updated") == [0, 0]
    assert counts(again, "duplicate") == [72, 72]
    for one, same in zip(first["photos"], again["photos"], strict=True):
        assert {**one, "ms": 0} == {**same, "ms": 0}

    said = capsys.readouterr().out
    assert DEMO_NOTE in said
    assert "0 new, 144 duplicates, 0 rejected or failed" in said
    assert f"the API is at {first['server']}" in said
    assert [line for line in again["try"] if line.endswith(("/ready", "/locate", "/thumbnail"))]
    assert first["photos"][0]["ground_truth"]["nearest_city"] in said
    assert f"map: {tmp_path / 'map.png'}" in said


def test_answers_of_the_demo_cite_photos_of_both_kinds(settings, own, tmp_path):
    report = run_demo(settings, as_json=True, organization=own, out=tmp_path, **SMALL)
    for line in report["photos"]:
        assert line["answer"] is not None
        assert set(line["radius_km"]) == {"50%", "90%"}
        assert line["radius_km"]["50%"] <= line["radius_km"]["90%"]
        assert {one["license"] for one in line["citations"]} == {"CC0-1.0"}
    assert {one["source_kind"] for line in report["photos"] for one in line["citations"]} == {
        "street",
        "photo",
    }
