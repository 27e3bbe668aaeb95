"""`pinpoint calibrate --verification` on a running stack; the next query uses the threshold."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from pinpoint.cli.api_client import ApiClient
from pinpoint.stack.paths import StackPaths
from scenes import other_view, save_scene, scene
from stack_fixtures import unique


@pytest.fixture(scope="module")
def organization(running_stack, tmp_path_factory):
    """An organization with a gallery of fourteen scenes, 100 km apart."""
    name = unique("verification")
    run_command(running_stack, "orgs", "create", name)
    folder = tmp_path_factory.mktemp("scenes")
    for seed in range(14):
        (folder / f"scene-{seed}.jpg").write_bytes(save_scene(scene(seed), 20.0 + seed, -30.0))
    with ApiClient.open(home=running_stack.home, organization=name) as client:
        client.add_source("scenes", "photo", license="CC0", attribution="the test")
        assert client.ingest_folder(folder, source="scenes", wait=True)["indexed"] == 14
    return name


def run_command(running_stack, *arguments, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "pinpoint.cli", *map(str, arguments)],
        env={**os.environ, "PINPOINT_HOME": str(running_stack.home), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def locate_in_time(client, photo):
    """The answer once the first images are cached: a busy machine may need several queries."""
    for _ in range(6):
        answer = client.locate(photo)
        statuses = {
            entry["verification"]["status"]
            for entry in answer["candidates"]
            if entry["verification"]
        }
        if "time_budget_used" not in statuses:
            break
    return answer


@pytest.mark.timeout(600)
def test_calibrated_threshold_is_used_by_the_next_query(running_stack, organization):
    photo = save_scene(other_view(scene(3)))
    with ApiClient.open(home=running_stack.home, organization=organization) as client:
        before = locate_in_time(client, photo)
        assert before["verified"] is True
        assert before["verification_threshold"]["calibrated"] is False
        options = ("--verification", "--false-match-rate", "0.05", "--pairs", "80")
        done = run_command(running_stack, "calibrate", *options, "--org", organization, "--json")
        report = json.loads(done.stdout)
        assert (report["num_images"], report["num_pairs"], report["num_groups"]) == (14, 80, 14)
        assert report["threshold"]["calibrated"] is True
        assert 0 <= report["measured_rate"] <= report["rate_interval"][1] <= 0.05
        folder = StackPaths(running_stack.home).verification_dir
        assert report["file"] == str(folder / f"{report['organization_id']}.json")
        after = locate_in_time(client, photo)
    assert after["verified"] is True
    assert after["verification_threshold"]["calibrated"] is True
    assert after["verification_threshold"]["min_inliers"] == report["threshold"]["min_inliers"]
    verifications = [entry["verification"] for entry in after["candidates"]]
    best = max(filter(None, verifications), key=lambda entry: entry["inliers"])
    assert 0 < best["false_match_rate"] <= 0.05
    with ApiClient.open(home=running_stack.home) as client:
        other = locate_in_time(client, photo)
    assert other["verification_threshold"]["calibrated"] is False, "of another gallery"


@pytest.mark.timeout(600)
def test_calibrate_prints_tables_and_refuses_small_galleries(running_stack, organization):
    options = ("--verification", "--false-match-rate", "0.05", "--pairs", "80")
    printed = run_command(running_stack, "calibrate", *options, "--org", organization).stdout
    assert "minimum inliers" in printed
    assert "false-match rate by minimum number of inliers" in printed
    refused = run_command(
        running_stack, "calibrate", "--verification", "--org", organization, code=64
    )
    assert "needs 3000" in refused.stderr
    run_command(running_stack, "calibrate", code=64)
