"""`pinpoint ingest` and `pinpoint sources` on the stack's own machine: what they say and do."""

from __future__ import annotations

import io
import json
import sys

import pytest

from pinpoint.cli.exit_codes import EXIT_CODES
from pinpoint.cli.main import main
from pinpoint.errors import BadRequestError
from pinpoint.ingest import pipeline
from small_stack import WORKER, SmallStack
from stack_fixtures import jpeg, write_photos


@pytest.fixture
def stack(home, database_url, api_database_url, redis_url, monkeypatch):
    made = SmallStack(home, database_url, api_database_url, redis_url)
    for name, value in made.environment.items():
        if name.startswith("PINPOINT_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    yield made
    made.close()


@pytest.fixture
def pinpoint(stack, monkeypatch, capsys):
    """Runs a command for acme; with `--json` its document, else what it printed."""

    def run(*arguments, code=0):
        monkeypatch.setattr(sys, "argv", ["pinpoint", "--org", "acme", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO())  # nobody there to answer
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        done = capsys.readouterr()
        assert (ended.value.code or 0) == code, done
        return json.loads(done.out) if "--json" in arguments else done

    return run


def work(stack):
    """What workers do about the items and tombstones that wait."""
    parts = stack.worker.ingest_components()
    open_items = "SELECT id FROM batch_items WHERE status = 'received' ORDER BY ingest_seq"
    ids = [row.id for row in stack.rows(open_items)]
    stack.worker.with_current_encoder(lambda _: pipeline.ingest_items(ids, WORKER, parts))
    pipeline.erase_images(stack.worker.repository.pending_deletions(100), parts)


def test_ingest_command_tells_roots_manifests_reasons_and_missing_files(stack, pinpoint, tmp_path):
    folder = tmp_path / "in"
    write_photos(folder, 12)
    (folder / "far.jpg").write_bytes(jpeg(77, 1.0, 1.0))
    (folder / "m.csv").write_text("file,lat,lon\n0000.jpg,10,20\nfar.jpg,99,20\n")
    ingest = ["ingest", folder, "--source", "trips", "--source-kind", "photo"]

    first = pinpoint(*ingest).out
    assert "manifest m.csv is used (--no-manifest reads without it)" in first
    assert "new root in of source trips" in first
    assert "not ingested: 1 out_of_range" in first
    batch = stack.rows("SELECT id FROM batches")[0].id
    assert f"list them: pinpoint batches show {batch} --status rejected" in first
    work(stack)
    assert len(stack.live()) == 12

    (folder / "0003.jpg").unlink()
    second = pinpoint(*ingest).out
    assert "1 files of this folder are gone and their images stay" in second
    assert "pinpoint sources missing trips" in second
    assert "new root" not in second
    listed = pinpoint("sources", "missing", "trips", "--json")
    assert listed["missing"] == [{"root": "in", "external_id": "in/0003.jpg"}]
    work(stack)

    done = pinpoint(*ingest, "--remove-missing", "--json")
    assert (done["missing"], done["removed"], done["manifest"]) == (1, 1, "m.csv")
    work(stack)
    assert len(stack.live()) == 11
    assert stack.held()[0] == stack.live()

    for number in (4, 5):
        (folder / f"{number:04d}.jpg").unlink()
    # More than a tenth: somebody has to say so.
    refused = pinpoint(*ingest, "--remove-missing", code=EXIT_CODES[BadRequestError]).err
    assert "2 of the 11 ingested files of this folder are gone; give --yes" in refused
    work(stack)
    assert len(stack.live()) == 11
    assert pinpoint(*ingest, "--remove-missing", "--yes", "--json")["removed"] == 2
    work(stack)
    assert len(stack.live()) == 9


def test_sources_move_root_keeps_ids(stack, pinpoint, tmp_path):
    write_photos(tmp_path / "in", 2)
    pinpoint("ingest", tmp_path / "in", "--source", "trips", "--source-kind", "photo", "--json")
    work(stack)
    before = stack.live()
    (tmp_path / "in").rename(tmp_path / "moved")
    unread = pinpoint("sources", "missing", "trips", "--json")
    assert (unread["missing"], unread["unread_roots"]) == ([], ["in"])
    said = pinpoint("sources", "move-root", "trips", "in", tmp_path / "nowhere", code=64).err
    assert "there is no folder" in said
    moved = pinpoint("sources", "move-root", "trips", "in", tmp_path / "moved", "--json")
    assert moved["images"] == 2
    roots = pinpoint("sources", "roots", "trips", "--json")["roots"]
    assert roots == [{"name": "in", "path": str(tmp_path / "moved")}]
    pinpoint("ingest", tmp_path / "moved", "--source", "trips", "--json")
    work(stack)
    assert stack.live() == before
    assert {row.status for row in stack.rows("SELECT status FROM batch_items")} == {
        "indexed",
        "duplicate",
    }
