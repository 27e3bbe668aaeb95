"""`up`, `status` and `down` on a real stack; faults are in tests/trials."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from pinpoint.api_settings import ApiSettings
from pinpoint.errors import DatabaseUnavailableError
from pinpoint.settings import EncoderSettings, ServiceSettings, Settings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.state import read_state
from pinpoint.stack.supervisor import lifecycle, processes
from pinpoint.stack.supervisor.changes import fingerprint_settings
from pinpoint.stack.supervisor.programs import (
    build_environment,
    list_external_services,
    list_programs,
)
from pinpoint.stack.supervisor.supervisord import Program, Supervisor

ALL = ["postgres", "redis", "index", "api", "worker", "jobs-worker", "beat"]


def test_stack_processes_are_children_of_one_supervisor(running_stack):
    status = running_stack.status
    assert status.state == "up"
    assert status.api_ready
    assert [process.name for process in status.processes] == ALL
    assert all(process.restarts == 0 and process.since is not None for process in status.processes)
    for process in status.processes:
        assert psutil.Process(process.pid).ppid() == status.supervisor_pid


def test_start_stack_twice_keeps_the_processes(running_stack):
    before = lifecycle.stack_status(running_stack.settings)
    if read_state(running_stack.paths).fingerprint != fingerprint_settings(running_stack.settings):
        pytest.skip("the code was edited since the stack was started; `up` would begin again")
    again = lifecycle.start_stack(running_stack.settings)
    assert [process.pid for process in again.processes] == [
        process.pid for process in before.processes
    ]
    assert again.supervisor_pid == before.supervisor_pid
    assert again.api_url == before.api_url


def test_state_file_has_url_paths_and_pids(running_stack):
    record = json.loads(running_stack.paths.state_file.read_text())
    assert record["api_url"] == running_stack.api_url
    assert record["pgdata"] == str(running_stack.paths.pgdata)
    assert set(record["pids"]) == set(ALL)
    assert stat.S_IMODE(running_stack.paths.operator_key_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(running_stack.paths.socket_dir.stat().st_mode) == 0o700


def test_stack_listens_on_the_network_with_the_api_only(running_stack):
    listening = [
        (process.name(), connection.laddr.ip, connection.laddr.port)
        for process in processes.find_stack_processes(running_stack.paths)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert [(ip, f"http://{ip}:{port}") for _, ip, port in listening] == [
        ("127.0.0.1", running_stack.api_url)
    ]


@pytest.mark.usefixtures("postgres", "_redis")
def test_find_stack_processes_ignores_another_home(running_stack, server_paths):
    theirs = {process.pid for process in processes.find_stack_processes(server_paths)}
    ours = {process.pid for process in processes.find_stack_processes(running_stack.paths)}
    assert theirs
    assert ours
    assert not theirs & ours


def test_find_stack_processes_ignores_user_processes_with_the_same_home(home):
    """Only the supervisor sets the marker; a shell that exports PINPOINT_HOME has none."""
    paths = StackPaths(home)
    plain = {**os.environ, "PINPOINT_HOME": str(home)}
    sleep = [sys.executable, "-c", "import time; print(1, flush=True); time.sleep(60)"]
    with (
        subprocess.Popen(sleep, env=plain, stdout=subprocess.PIPE) as user,
        subprocess.Popen(
            sleep, env={**plain, processes.MARKER: str(home.resolve())}, stdout=subprocess.PIPE
        ) as ours,
    ):
        for process in (user, ours):
            assert process.stdout is not None
            process.stdout.readline()
        try:
            assert [process.pid for process in processes.find_stack_processes(paths)] == [ours.pid]
            assert lifecycle.stack_status(Settings()).state == "orphaned"
            assert lifecycle.stop_stack(Settings()).state == "down"
            assert ours.poll() is not None
            assert user.poll() is None
        finally:
            user.kill()
            ours.kill()


def test_stop_stack_without_home_returns_down_and_creates_nothing(tmp_path):
    settings = Settings(services=ServiceSettings(home=tmp_path / "nothing"))
    assert lifecycle.stop_stack(settings).state == "down"
    assert lifecycle.stack_status(settings).processes == ()
    assert not (tmp_path / "nothing").exists()


def test_external_services_are_not_started(home):
    elsewhere = Settings(
        services=ServiceSettings(
            home=home,
            database_url="postgresql://db.example/p",
            qdrant_url="http://qdrant.example:6333",
            broker_url="amqp://broker.example",
        )
    )
    assert list_external_services(elsewhere) == ["database", "broker", "index"]
    assert [program.name for program in list_programs(elsewhere, StackPaths(home))] == [
        *ALL[3:],
        "training-worker",
    ]


def test_build_environment_uses_only_the_settings_of_up(home, monkeypatch):
    monkeypatch.setenv("PINPOINT_ENCODE_BATCH", "7")
    settings = Settings(api=ApiSettings(host="127.0.0.1"), encoder=EncoderSettings(device="cpu"))
    monkeypatch.setenv("PINPOINT_ENCODE_BATCH", "9")
    got = build_environment(settings, StackPaths(home), 4711)
    assert got["PINPOINT_HOME"] == str(home)
    assert got["PINPOINT_ENCODE_BATCH"] == "7"
    assert got["PINPOINT_DEVICE"] == "cpu"
    assert got["PINPOINT_API_PORT"] == "4711"
    assert "PINPOINT_DATABASE_URL" not in got
    other = Settings(encoder=EncoderSettings(device="cuda"))
    assert fingerprint_settings(settings) != fingerprint_settings(other)


def test_supervisor_processes_report_restarts_and_last_exit(home):
    paths = StackPaths(home)
    paths.create()
    supervisor = Supervisor(paths)
    program = Program("flaky", (sys.executable, "-c", "import time; time.sleep(60)"))
    supervisor.configure([replace(program, start_s=0), Program("never", ("/bin/true",))])
    supervisor.launch({**os.environ, processes.MARKER: str(home.resolve())})
    try:
        supervisor.start("flaky")
        first = supervisor.processes()[0]
        assert first.pid is not None
        psutil.Process(first.pid).kill()
        until = time.monotonic() + 10
        while True:
            now, never = supervisor.processes()
            # The restarts come from the log, which can name the exit before the state changes.
            restarted = now.pid != first.pid and (now.state, now.restarts) == ("running", 1)
            if restarted or time.monotonic() > until:
                break
            time.sleep(0.05)
        assert (now.name, now.state, now.restarts) == ("flaky", "running", 1)
        assert "SIGKILL" in (now.last_exit or "")
        assert now.pid != first.pid
        assert (never.pid, never.restarts, never.last_exit) == (None, 0, None)
    finally:
        assert processes.end_processes(processes.find_stack_processes(paths), 5.0) == []


def test_start_stack_with_unreachable_database_raises_stack_error(home):
    settings = Settings(
        services=ServiceSettings(
            home=home,
            database_url=f"postgresql+psycopg://nobody@/none?host={home}",
            broker_url="redis+socket:///nowhere.sock",
            qdrant_url="http://127.0.0.1:9",
        )
    )
    try:
        with pytest.raises(DatabaseUnavailableError, match="database"):
            lifecycle.start_stack(settings)
    finally:
        lifecycle.stop_stack(settings)
    assert processes.find_stack_processes(StackPaths(home)) == []
