"""Real faults against a real stack: every killed process is restarted or its stack ends."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from conftest import dismiss, home_folder, watch_over
from pinpoint.settings import ServiceSettings, Settings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.supervisor import lifecycle, processes
from pinpoint.stack.supervisor.changes import fingerprint_settings
from pinpoint.stack.supervisor.lifecycle import StackStatus

SEED = 20
FAULTS = 10
NAMES = ("postgres", "redis", "index", "api", "worker", "jobs-worker", "beat")
# Each process once, then more of them, in an order that the seed fixes.
VICTIMS = [*NAMES, *random.Random(SEED).choices(NAMES, k=FAULTS - len(NAMES))]
BACK_S = 60.0


@pytest.fixture(scope="module")
def settings() -> Iterator[Settings]:
    with home_folder() as home:
        stack_settings = Settings(services=ServiceSettings(home=home))
        watcher = watch_over(home)
        try:
            lifecycle.start_stack(stack_settings)
            yield stack_settings
        finally:
            lifecycle.stop_stack(stack_settings)
            left = processes.find_stack_processes(StackPaths(home))
            dismiss(watcher)
            lifecycle.erase_stack(stack_settings)
        assert left == []


def _wait(settings: Settings, done: Callable[[StackStatus], bool]) -> StackStatus:
    until = time.monotonic() + BACK_S
    while True:
        now = lifecycle.stack_status(settings)
        if done(now):
            return now
        assert time.monotonic() < until, f"not within {BACK_S} s: {now}"
        time.sleep(0.1)


def _ours(settings: Settings) -> list[psutil.Process]:
    return processes.find_stack_processes(StackPaths(settings.services.home))


@pytest.mark.ci
@pytest.mark.parametrize("victim", VICTIMS)
def test_supervisor_restarts_and_reports_killed_process(settings, victim):
    before = _wait(settings, lambda now: now.state == "up")
    old = next(one for one in before.processes if one.name == victim)
    psutil.Process(old.pid).kill()

    def back(now: StackStatus) -> bool:
        new = next(one for one in now.processes if one.name == victim)
        return now.state == "up" and new.pid not in (None, old.pid)

    new = next(one for one in _wait(settings, back).processes if one.name == victim)
    assert new.restarts > old.restarts
    assert "SIGKILL" in (new.last_exit or "")
    assert new.since is not None
    assert old.since is not None
    assert new.since >= old.since


@pytest.mark.ci
def test_up_recovers_after_supervisor_kill(settings):
    before = _wait(settings, lambda now: now.state == "up")
    assert before.supervisor_pid is not None
    psutil.Process(before.supervisor_pid).kill()
    _wait(settings, lambda now: now.state == "orphaned")
    after = lifecycle.start_stack(settings)
    assert after.state == "up"
    assert after.api_url == before.api_url
    # Nothing of the first stack works on beside the second.
    old = {one.pid for one in before.processes}
    assert not old & {process.pid for process in _ours(settings)}


@pytest.mark.ci
def test_up_recovers_after_kill_of_all_processes(settings):
    before = lifecycle.stack_status(settings)
    victims = _ours(settings)
    for process in victims:
        process.kill()
    assert processes.wait_until_ended(victims, 10.0) == []
    assert lifecycle.stack_status(settings).state == "down"
    assert (StackPaths(settings.services.home).pgdata / "postmaster.pid").exists()
    after = lifecycle.start_stack(settings)
    assert after.state == "up"
    assert after.api_url == before.api_url


@pytest.mark.ci
def test_down_leaves_no_process_and_up_resumes(settings):
    before = lifecycle.stack_status(settings)
    assert lifecycle.stop_stack(settings).state == "down"
    assert _ours(settings) == []
    paths = StackPaths(settings.services.home)
    for path in (paths.supervisor_socket, paths.redis_socket, paths.index_socket):
        assert not path.exists()
    assert not (paths.pgdata / "postmaster.pid").exists()
    assert lifecycle.start_stack(settings).api_url == before.api_url


def test_up_replaces_stopped_supervisor(settings):
    """SIGSTOP: it is there and answers nothing."""
    before = _wait(settings, lambda now: now.state == "up")
    assert before.supervisor_pid is not None
    psutil.Process(before.supervisor_pid).suspend()
    after = lifecycle.start_stack(settings)
    assert after.state == "up"
    assert after.supervisor_pid != before.supervisor_pid


def test_up_with_stale_pid_leaves_foreign_process(settings):
    """After a reboot the recorded ids belong to others, which must neither die nor be trusted."""
    lifecycle.stop_stack(settings)
    paths = StackPaths(settings.services.home)
    stranger = psutil.Process(1)
    lock = paths.pgdata / "postmaster.pid"
    lock.write_text(f"{stranger.pid}\n{paths.pgdata}\n1\n5432\n\n\n0 0\nready\n")
    paths.supervisor_pidfile.write_text(f"{stranger.pid}\n")
    paths.create()  # `down` took the socket folder away
    for path in (paths.redis_socket, paths.index_socket):
        path.write_text("")
    assert lifecycle.start_stack(settings).state == "up"
    assert stranger.is_running()


def test_concurrent_ups_start_one_stack(settings):
    lifecycle.stop_stack(settings)
    assert settings.services.home.is_dir()
    code = (
        "import sys; from pathlib import Path;"
        "from pinpoint.settings import ServiceSettings, Settings;"
        "from pinpoint.stack.supervisor import lifecycle;"
        "settings = Settings(services=ServiceSettings(home=Path(sys.argv[1])));"
        "print(lifecycle.start_stack(settings).supervisor_pid)"
    )
    code_before = fingerprint_settings(settings)
    said = [_python(code, settings.services.home) for _ in range(3)]
    pids = {one.communicate(timeout=120)[0] for one in said}
    assert [one.returncode for one in said] == [0, 0, 0]
    if fingerprint_settings(settings) != code_before:
        pytest.skip("the code was edited meanwhile, so `up` rightly began again")
    assert len(pids) == 1
    status = lifecycle.stack_status(settings)
    assert pids == {f"{status.supervisor_pid}\n"}
    assert status.state == "up"


def _python(code: str, home: Path) -> psutil.Popen:
    return psutil.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, text=True)
