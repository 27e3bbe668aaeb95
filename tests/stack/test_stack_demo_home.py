"""The demo stack next to a stack of real photos: no demo data in the real stack.

Afterwards the demo's home serves to show what `up` says, what `status` shows of processes left
behind, and that `destroy` leaves nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import dismiss, watch_over
from media.pictures import noise, saved
from pinpoint.cli.demo import demo_settings, run_demo
from pinpoint.homes import demo_home
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.supervisor import lifecycle, processes
from stack_fixtures import jpeg, unique

SMALL = {"preset": "tiny", "queries": 2, "seed": 11}
pytestmark = pytest.mark.timeout(400)


def run(home, *words, code=0, cwd=None, **environment):
    """Run a command; returns the document with `--json`, else its output."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PINPOINT_")}
    env |= {"COLUMNS": "300", **({} if home is None else {"PINPOINT_HOME": str(home)})}
    completed = subprocess.run(
        [sys.executable, "-m", "pinpoint.cli", *map(str, words)],
        env={**env, **environment}, cwd=cwd, capture_output=True, text=True, timeout=200,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert completed.returncode == code, (words, completed.stdout, completed.stderr)
    return (
        json.loads(completed.stdout) if "--json" in words else completed.stdout + completed.stderr
    )


@pytest.fixture(scope="module")
def demo(running_stack, tmp_path_factory):
    """The demo, run while PINPOINT_HOME names the home of real photos; its report."""
    before = os.environ.get("PINPOINT_HOME")
    # Services of real photos that the environment names: the demo must not touch them.
    os.environ["PINPOINT_HOME"] = str(running_stack.home)
    os.environ["PINPOINT_DATABASE_URL"] = "postgresql://nobody@127.0.0.1:9/none"
    settings = demo_settings()
    del os.environ["PINPOINT_HOME"], os.environ["PINPOINT_DATABASE_URL"]
    if before is not None:
        os.environ["PINPOINT_HOME"] = before
    assert settings.services.home == demo_home(running_stack.home) != running_stack.home
    watcher = watch_over(settings.services.home)
    try:
        yield run_demo(settings, out=tmp_path_factory.mktemp("out"), as_json=True, **SMALL)
    finally:
        if settings.services.home.exists():
            lifecycle.stop_stack(settings)
            lifecycle.erase_stack(settings)
        dismiss(watcher)


@pytest.fixture
def demo_home_folder(demo):
    return Path(demo["home"])


@contextmanager
def real_photos(folder):
    """Generated geotagged photos, and a few of the real ones where they are at hand."""
    folder.mkdir()
    for seed in range(6):
        (folder / f"{seed}.jpg").write_bytes(jpeg(900 + seed, 47.5, 8.7 + 0.01 * seed))
    real = Path(os.environ.get("PINPOINT_TEST_DATA", "no such folder")) / "photos"
    beside = Path(__file__).resolve().parents[3] / "shared" / "data" / "photos"
    files = [path for root in (real, beside) if root.is_dir() for path in sorted(root.rglob("*"))]
    for path in [file for file in files if file.suffix.lower() in (".jpg", ".jpeg", ".heic")][:4]:
        shutil.copyfile(path, folder / path.name)
    yield folder


@pytest.mark.ci
def test_stack_after_demo_has_no_demo_image_in_answers_lists_or_counts(
    demo, running_stack, tmp_path
):
    home, name = running_stack.home, unique("own")
    run(home, "orgs", "create", name)
    organization_options = ("--org", name)
    with real_photos(tmp_path / "photos") as folder:
        batch = run(
            home,
            *organization_options,
            "ingest",
            folder,
            "--source",
            "trips",
            "--source-kind",
            "photo",
            "--wait",
            "--json",
        )
    assert batch["indexed"] >= 6
    before = run(home, "index", "info", "--json")["points"]
    sources = run(home, *organization_options, "sources", "list", "--json")["sources"]
    assert [(row["name"], row["images"]) for row in sources] == [("trips", batch["indexed"])]
    batches = run(home, *organization_options, "batches", "list", "--json")["batches"]
    assert [row["id"] for row in batches] == [batch["id"]]
    counted = run(home, "status", "--json")["work"]["images"]
    assert [row["images"] for row in counted if row["organization"] == name] == [batch["indexed"]]

    # The queries are demo photos, which the demo gallery would match.
    query_photos = [row["photo"] for row in demo["photos"]]
    answers = run(home, *organization_options, "locate", *query_photos, "--json")["answers"]
    hits = run(
        home, *organization_options, "similar", query_photos[0], "--max-groups", "200", "--json"
    )
    output = json.dumps([answers, hits, sources, batches])
    citations = {row["image_id"] for photo in demo["photos"] for row in photo["citations"]}
    assert citations
    assert not [image_id for image_id in citations if image_id in output]
    assert "demo street" not in output
    assert "demo photos" not in output
    for answer in answers:
        assert {row["source"] for row in answer["answer"]["citations"].get("photo", [])} <= {
            "trips"
        }
        assert "street" not in answer["answer"]["citations"]

    # The demo stack counts only demo images.
    demo_status = run(demo["home"], "status", "--json")
    listed = run(demo["home"], "sources", "list", "--json")["sources"]
    assert {row["name"] for row in listed} == {"demo street", "demo photos"}
    counted = sum(row["images"] for row in demo_status["work"]["images"])
    assert counted == sum(row["images"] for row in listed) >= 144
    assert demo_status["bundle"]["index"] == "world-tiny"
    assert run(home, "index", "info", "--json")["points"] == before
    assert demo["remove"] == f"pinpoint destroy --home {demo['home']}"


def test_up_from_subfolder_prints_the_home_and_the_changed_setting(demo_home_folder, tmp_path):
    # A link beside real folders: the home of the demo, found as `.pinpoint` from below.
    project = demo_home_folder.parent / "project"
    (project / "deep" / "down").mkdir(parents=True)
    (project / ".pinpoint").symlink_to(demo_home_folder)
    below = project / "deep" / "down"
    run(None, "config", "set", "bundle", "world-tiny", cwd=below)
    run(None, "config", "set", "search_candidates", "40", cwd=below)
    listed = run(None, "config", "list", "--json", cwd=below)
    assert listed["file"] == str(project / ".pinpoint" / "settings.toml")
    output = run(None, "up", cwd=below, PINPOINT_API_METRICS_TOKEN="a-token-of-16-signs-or-more")
    assert f"using the home of a folder above: {project / '.pinpoint'}" in output
    assert "restarting the stack: PINPOINT_SEARCH_CANDIDATES was 48, is 40" in output
    assert "restarting the stack: PINPOINT_API_METRICS_TOKEN changed" in output
    assert "PINPOINT_MEDIA" not in output
    assert "a-token-of" not in output + (demo_home_folder / "stack.json").read_text()


def test_status_after_killed_supervisor_lists_processes_and_a_hint(demo_home_folder):
    paths = StackPaths(demo_home_folder)
    os.kill(int(paths.supervisor_pidfile.read_text()), signal.SIGKILL)
    until = time.monotonic() + 10
    while (document := run(demo_home_folder, "status", "--json", code=3))["state"] != "orphaned":
        assert time.monotonic() < until, document
    named = {orphan["name"] for orphan in document["orphans"]}
    assert {"postgres", "redis", "index", "api", "worker", "beat"} <= named
    output = run(demo_home_folder, "status", code=3)
    assert "these processes run without their supervisor" in output
    assert "`pinpoint down`" in output
    assert "disk" in output


def test_destroy_removes_only_its_home(demo_home_folder, running_stack):
    paths = StackPaths(demo_home_folder)
    outside = [paths.cluster_dir, paths.socket_dir, paths.postgres_socket_dir]
    assert all(folder.exists() for folder in outside)
    refused = run(demo_home_folder, "destroy", code=64)
    assert "nothing was removed" in refused
    assert str(paths.cluster_dir) in refused
    assert paths.home.exists()
    output = run(None, "destroy", "--home", demo_home_folder, "--yes")
    assert "MB" in output
    assert not any(folder.exists() for folder in [paths.home, *outside])
    assert processes.find_stack_processes(paths) == []
    assert lifecycle.stack_status(running_stack.settings).state == "up"
    assert "is not a Pinpoint home" in run(None, "destroy", "--home", demo_home_folder, code=66)


def list_pids(stack):
    """Process ids of a stack by program."""
    return {
        process.name: process.pid for process in lifecycle.stack_status(stack.settings).processes
    }


def test_destroy_of_copied_home_keeps_the_original_database(running_stack, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir(mode=0o700)
    for name in ("postgres.path", "stack.json"):
        if (running_stack.home / name).exists():
            shutil.copyfile(running_stack.home / name, copy / name)
    (copy / "note.bin").write_bytes(saved(noise(20, 20, seed=3)))
    before = list_pids(running_stack)
    run(None, "destroy", "--home", copy, "--yes")
    assert not copy.exists()
    assert running_stack.paths.pgdata.exists()
    assert list_pids(running_stack) == before
