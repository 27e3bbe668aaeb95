"""The state file of `up`, and the disk usage of a home."""

from __future__ import annotations

import json
import os

from pinpoint.api_settings import ApiSettings
from pinpoint.settings import SearchSettings, ServiceSettings, Settings
from pinpoint.stack.disk_usage import measure_home
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.state import StackState, read_state, write_state
from pinpoint.stack.supervisor.changes import (
    HASH_PREFIX,
    code_digest,
    describe_changes,
    record_settings,
)

KEY = "k" * 43
SECRET = "postgresql://pinpoint:very-secret@db.example.org/pinpoint"


def state_of(settings, **changed):
    values = {
        "api_host": "127.0.0.1", "api_port": 9, "fingerprint": "f", "started_at": "",
        "supervisor_pid": 0, "pids": {}, "pgdata": "", "versions": {}, "external": [],
        "settings": record_settings(settings, KEY), "code": code_digest(),
    }  # fmt: skip
    return StackState(**{**values, **changed})


def test_describe_changes_names_each_setting_with_both_values(home):
    before = Settings(services=ServiceSettings(home=home), api=ApiSettings(port=8080))
    after = Settings(
        services=ServiceSettings(home=home),
        search=SearchSettings(candidates=40, optimize_for_radius_km=25),
        api=ApiSettings(port=8080),
    )
    assert describe_changes(state_of(before), before, KEY) == []
    assert describe_changes(state_of(before), after, KEY) == [
        "PINPOINT_SEARCH_CANDIDATES was 48, is 40",
        "PINPOINT_SEARCH_OPTIMIZE_FOR_RADIUS_KM was not set, is 25.0",
    ]


def test_describe_changes_shows_no_secret(home):
    before = Settings(services=ServiceSettings(home=home, database_url=SECRET))
    after = Settings(services=ServiceSettings(home=home, database_url=SECRET + "2"))
    state = state_of(before)
    assert state.settings["PINPOINT_DATABASE_URL"].startswith(HASH_PREFIX)
    assert "very-secret" not in json.dumps(state.settings)
    assert describe_changes(state, before, KEY) == []
    assert describe_changes(state, after, KEY) == ["PINPOINT_DATABASE_URL changed"]
    # Another key, another hash: it cannot be looked up in a table of passwords.
    assert record_settings(before, "other") != state.settings


def test_describe_changes_names_the_code_and_an_unfinished_start(home):
    settings = Settings(services=ServiceSettings(home=home))
    assert describe_changes(state_of(settings, code="other"), settings, KEY) == [
        "Pinpoint's code or its Python has changed"
    ]
    assert describe_changes(state_of(settings, fingerprint=""), settings, KEY) == [
        "the last `pinpoint up` did not finish"
    ]


def test_read_state_of_an_older_version_keeps_the_port(home):
    paths = StackPaths(home)
    write_state(paths, state_of(Settings(services=ServiceSettings(home=home))))
    written = json.loads(paths.state_file.read_text())
    for name in ("settings", "code"):
        del written[name]
    paths.state_file.write_text(json.dumps(written))
    state = read_state(paths)
    assert state is not None
    assert (state.api_port, state.settings, state.code) == (9, {}, "")
    del written["api_port"]
    paths.state_file.write_text(json.dumps(written))
    assert read_state(paths) is None


def test_measure_home_counts_each_file_in_one_part(home):
    paths = StackPaths(home)
    (home / "blobs" / "a").mkdir(parents=True)
    (home / "logs").mkdir()
    (home / "blobs" / "a" / "x").write_bytes(os.urandom(100_000))
    (home / "logs" / "api.log").write_bytes(os.urandom(50_000))
    (home / "operator.key").write_bytes(os.urandom(10_000))
    os.symlink("/usr", home / "blobs" / "link")
    sizes = {component.component: component.bytes for component in measure_home(paths)}
    assert set(sizes) == {"blobs", "logs", "other"}
    assert 100_000 <= sizes["blobs"] < 110_000
    assert 50_000 <= sizes["logs"] < 60_000
    assert 10_000 <= sizes["other"] < 20_000
    assert all(part.whole for part in measure_home(paths))


def test_measure_home_after_timeout_marks_the_result_incomplete(home):
    folder = home / "blobs"
    folder.mkdir()
    for number in range(600):
        (folder / str(number)).touch()
    parts = measure_home(StackPaths(home), limit_s=0.0)
    assert [part.whole for part in parts if part.component == "blobs"] == [False]
