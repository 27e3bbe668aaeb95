"""`pinpoint verify-dossier`: one line for each problem, and an exit code."""

from __future__ import annotations

import json
import os

import pytest
from typer.testing import CliRunner

from api import example_dossiers
from pinpoint.api.dossiers.build import build_dossier
from pinpoint.cli.main import app


@pytest.fixture(scope="module")
def dossier(tmp_path_factory):
    path = tmp_path_factory.mktemp("dossier") / "out.zip"
    path.write_bytes(build_dossier(example_dossiers.make_content()))
    return path


def test_verify_dossier_command_prints_problems_and_exits_with_65(dossier, tmp_path):
    run = CliRunner().invoke
    good = run(app, ["verify-dossier", str(dossier)])
    assert (good.exit_code, "complete and unchanged" in good.stdout) == (0, True)
    photo, other = tmp_path / "p.jpg", tmp_path / "other.jpg"
    photo.write_bytes(example_dossiers.PHOTO)
    other.write_bytes(b"another photo")
    assert run(app, ["verify-dossier", str(dossier), "--photo", str(photo)]).exit_code == 0
    bad = run(app, ["verify-dossier", str(dossier), "--photo", str(other)])
    assert bad.exit_code == os.EX_DATAERR
    assert bad.stdout.splitlines()[0].startswith(f"other_photo: {other}: its SHA-256")
    document = json.loads(
        run(app, ["verify-dossier", str(dossier), "--photo", str(other), "--json"]).stdout
    )
    assert (document["valid"], document["problems"][0]["code"]) == (False, "other_photo")
    assert document["created_at"].startswith("2026-05-01T12:30")
