"""`pinpoint export` against a running API: files, summaries, errors and interrupted downloads."""

from __future__ import annotations

import io
import json
import sys

import pytest
from pyarrow import parquet

from pinpoint.cli.exit_codes import EXIT_CODES
from pinpoint.cli.main import main
from pinpoint.errors import BadRequestError, DatabaseUnavailableError, UnavailableError


@pytest.fixture
def export(gallery, monkeypatch, capsys, tmp_path):
    """Runs `pinpoint export`; returns what it printed, as JSON with `--json`."""

    def run(*arguments, code=0):
        monkeypatch.setenv("PINPOINT_SERVER", gallery.url)
        monkeypatch.setenv("PINPOINT_KEY", gallery.key)
        monkeypatch.setenv("PINPOINT_HOME", str(tmp_path))
        monkeypatch.setattr(sys, "argv", ["pinpoint", "export", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert (ended.value.code or 0) == code, captured
        return json.loads(captured.out) if "--json" in arguments else captured

    return run


def test_export_command_writes_the_file_and_a_summary(export, tmp_path):
    path = tmp_path / "gallery.parquet"
    path.write_text("old")
    summary = export("-o", path, "--source-kind", "street", "--json")
    assert summary | {"seconds": 0} == {
        "path": str(path),
        "format": "parquet",
        "rows": 99,
        "bytes": path.stat().st_size,
        "seconds": 0,
    }
    assert parquet.read_metadata(path).num_rows == 99
    assert list(tmp_path.iterdir()) == [path]


def test_export_command_takes_the_format_from_the_option(export, tmp_path):
    path = tmp_path / "images.txt"
    printed = export("--out", path, "--format", "CSV", "--file-name", "00020*")
    assert f"1 images in {path}" in printed.out
    assert len(path.read_text().splitlines()) == 2


def test_export_command_has_the_filters_of_images_list(export, tmp_path):
    path = tmp_path / "x.csv"
    export("-o", path, "--bbox", "-180,-90,180,0", "--creator", "Zoë", "--attribute", "t=Zoë")
    lines = path.read_text().splitlines()
    assert len(lines) > 1
    assert all('"Zoë"' in line for line in lines[1:])


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "x.shp"],
        ["-o", "x"],
        ["-o", "x.csv", "--embeddings", "image"],
        ["-o", "x.parquet", "--geoparquet-version", "3"],
        ["-o", "missing-folder/x.csv"],
    ],
)
def test_export_command_with_wrong_options_writes_nothing(export, arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    captured = export(*arguments, code=EXIT_CODES[BadRequestError])
    assert len(captured.err.splitlines()) == 1, captured.err
    assert list(tmp_path.iterdir()) == []


def test_interrupted_export_keeps_the_old_file(export, tmp_path, monkeypatch):
    def fail(lines, schema):
        raise DatabaseUnavailableError("lost")

    path = tmp_path / "gallery.csv"
    path.write_text("old")
    monkeypatch.setattr("pinpoint.store.gallery.export_rows._parse_lines", fail)
    captured = export("-o", path, code=EXIT_CODES[UnavailableError])
    assert f"nothing was written to {path}" in captured.err
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
