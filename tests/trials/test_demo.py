"""`pinpoint demo`, as a newcomer runs it: it works, works again at once, and goes away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conftest import dismiss, home_folder, watch_over
from pinpoint.settings import Places, Settings
from pinpoint.stack import lifecycle, processes
from pinpoint.stack.places import StackPlaces


def _pinpoint(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pinpoint.cli", *words],
        env={**os.environ, "PINPOINT_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.ci
@pytest.mark.timeout(600)
def test_the_demo_runs_twice_and_is_taken_down():
    with home_folder() as home:
        watcher = watch_over(home)
        try:
            first = _pinpoint(home, "demo", "--json")
            assert first.returncode == 0, first.stderr
            said = json.loads(first.stdout)
            assert said["photos"]
            assert said["server"].startswith("http://127.0.0.1:")
            began = time.monotonic()
            again = _pinpoint(home, "demo", "--json")
            assert again.returncode == 0, again.stderr
            assert time.monotonic() - began < 90
            assert len(json.loads(again.stdout)["photos"]) == len(said["photos"])
            assert _pinpoint(home, "status").returncode == 0
            assert _pinpoint(home, "down").returncode == 0
            assert processes.belonging_to(StackPlaces(home)) == []
            assert _pinpoint(home, "status").returncode != 0
        finally:
            settings = Settings(places=Places(home=home))
            lifecycle.down(settings)
            dismiss(watcher)
            lifecycle.erase(settings)
