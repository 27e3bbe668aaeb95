"""Ctrl-C while a command waits: the batch continues, and commands to follow it are printed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from media.pictures import noise, saved
from pinpoint.cli.api_client import ApiClient
from pinpoint.cli.batch_waiting import describe_continuation
from pinpoint.cli.main import main


@pytest.fixture
def start(api, tmp_path):
    """Starts a command as its own process."""
    begun = []

    def run(*words):
        env = {key: value for key, value in os.environ.items() if not key.startswith("PINPOINT_")}
        env |= {"PINPOINT_HOME": str(tmp_path / "home"), "COLUMNS": "200"}
        process = subprocess.Popen(
            [sys.executable, "-m", "pinpoint.cli", "--server", api.url, *map(str, words)],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        begun.append(process)
        return process

    yield run
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def _interrupts():
    """Processes in the background of a script ignore SIGINT, and so would their children."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)


def photo_folder(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(saved(noise(40, 30, seed=1)))
    return folder


def wait_for(condition, process):
    until = time.monotonic() + 60
    while not (value := condition()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "it does not come"
        time.sleep(0.05)
    return value


def closed_batch(api):
    rows = api.rows()
    return next(
        (rows.batch(key) for key, batch in rows.all_batches.items() if not batch["open"]), None
    )


def test_interrupt_of_ingest_wait_prints_batch_and_commands(start, api, tmp_path):
    folder = photo_folder(tmp_path)
    process = start("ingest", folder, "--source", "walk", "--source-kind", "photo", "--wait")
    batch = wait_for(lambda: closed_batch(api), process)
    time.sleep(0.5)  # it waits now
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert f"batch {batch.id} continues by itself (0 of 1 files" in err
    assert f"pinpoint batches wait {batch.id}" in err
    assert f"pinpoint batches show {batch.id}" in err
    assert "Traceback" not in err

    waiting = start("batches", "wait", batch.id, "--json")
    time.sleep(1.0)
    assert waiting.poll() is None
    api.rows().settle(batch.id, "indexed")
    out, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 0, err
    assert (json.loads(out)["id"], json.loads(out)["indexed"]) == (str(batch.id), 1)


def test_interrupt_of_batches_wait_prints_batch_and_commands(api, tmp_path, monkeypatch, capsys):
    with ApiClient.open(api.url) as client:
        client.add_source("walk", "photo")
        batch = client.ingest_folder(photo_folder(tmp_path), source="walk")["id"]
    monkeypatch.setenv("PINPOINT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "argv", ["pinpoint", "--server", api.url, "batches", "wait", batch])
    timer = threading.Timer(2.0, lambda: os.kill(os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(SystemExit) as ended:
        main()
    timer.cancel()
    assert ended.value.code == 130
    assert f"pinpoint batches wait {batch}" in capsys.readouterr().err


def test_describe_continuation_of_open_batch_names_the_upload_of_the_rest():
    batch = {"id": "b", "items": 64, "received": 60, "stored": 0, "state": "open"}
    lines = describe_continuation(batch)
    assert "64 files were sent. Run the same command again" in lines[0]
