"""The commands, as processes of their own with one organization's key: the same walls."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest
import typer

from pinpoint.cli.exit_codes import EXIT_CODES
from pinpoint.cli.main import app
from pinpoint.errors import BadRequestError, NotFoundError
from tenant_isolation.other_organization import photo_of

# Command → arguments with `{id}` where a foreign one goes, and which sort it is.
FOREIGN = {
    "batches list": None,
    "batches show": ("batch", ["{id}"]),
    "batches retry": ("batch", ["{id}"]),
    "batches cancel": ("batch", ["{id}"]),
    "images list": ("source", ["--in-source", "{id}"]),
    "batches wait": ("batch", ["{id}"]),
    "images show": ("image", ["{id}"]),
    "images update": ("image", ["{id}", "--lat", "1", "--lon", "2"]),
    "images delete": ("image", ["{id}"]),
    "sources list": None,
    "sources add": None,
    "sources delete": ("source", ["{id}", "--yes"]),
    "similar": ("image", ["--image", "{id}"]),
    "locate": ("source", ["{photo}", "--in-source", "{id}"]),
    "ingest": ("source", ["{folder}", "--source", "{id}"]),
}
# These work on the stack itself, for the operator of its machine, or on files: no key opens them.
OPERATOR = {
    "up", "down", "status", "destroy", "demo", "key",
    "config list", "config get", "config set", "config unset", "config path",
    "validate", "backup", "restore",
    "bench", "evaluate", "compare", "synthetic create", "calibrate",
    "train embedder", "train reranker", "train status", "train resume",
    "bundles list", "bundles show", "bundles verify", "bundles import", "bundles pull",
    "bundles activate", "bundles delete-vectors",
    "sources roots", "sources move-root", "sources missing",
    "orgs create", "orgs list", "orgs disable", "orgs delete",
    "keys create", "keys list", "keys revoke",
    "index info", "index rebuild", "index reconcile",
}  # fmt: skip
REFUSED_WITH_A_KEY = [
    ["orgs", "list"],
    ["keys", "list"],
    ["index", "info"],
    ["index", "reconcile", "--dry-run"],
]


@pytest.fixture
def pinpoint(neighborhood, tmp_path):
    """Runs `pinpoint` as somebody: exit status, what it printed, what it complained of."""
    empty = tmp_path / "home"
    empty.mkdir()
    environment = {**os.environ, "PINPOINT_HOME": str(empty), "COLUMNS": "300", "NO_COLOR": "1"}

    def run(tenant, *arguments):
        before = ["--server", tenant.url, "--key", tenant.key]
        done = subprocess.run(
            [sys.executable, "-m", "pinpoint.cli", *before, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def together(jobs):
    """The results of calls that may run side by side, in order."""
    with ThreadPoolExecutor(3) as pool:
        return list(pool.map(lambda job: job(), jobs))


def leaves(command, path=()):
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from leaves(inner, (*path, name))
    else:
        yield " ".join(path)


def test_the_matrix_holds_every_command():
    assert set(leaves(typer.main.get_command(app))) == set(FOREIGN) | OPERATOR


def test_a_foreign_id_is_as_good_as_none(neighborhood, pinpoint, tmp_path):
    asker, stranger = neighborhood.alder, neighborhood.birch
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "mine.jpg").write_bytes(photo_of(asker))
    before = stranger.fingerprint()
    jobs, asked = [], []
    for command, what in FOREIGN.items():
        if what is None:
            continue
        sort, arguments = what
        for one in (stranger.shared[sort], str(uuid4())):
            filled = [
                part.format(id=one, photo=folder / "mine.jpg", folder=folder) for part in arguments
            ]
            jobs.append(lambda c=command, f=filled: pinpoint(asker, *c.split(), *f, "--json"))
            asked.append((command, one))
    said = together(jobs)
    for place in range(0, len(said), 2):
        (command, foreign), (_, nobodys) = asked[place : place + 2]
        theirs, none = (
            (code, out.replace(one, "ID"), err.replace(one, "ID"))
            for (code, out, err), one in zip(
                said[place : place + 2], (foreign, nobodys), strict=True
            )
        )
        assert theirs == none, command
        assert theirs[0] == EXIT_CODES[NotFoundError], (command, theirs)
        assert not neighborhood.leaks("".join(map(str, theirs)), stranger)
    assert stranger.fingerprint() == before
    assert neighborhood.harness.queue.sent == []


def test_lists_and_answers_hold_nothing_of_the_other(neighborhood, pinpoint, tmp_path):
    asker, stranger = neighborhood.birch, neighborhood.alder
    photo = tmp_path / "theirs.jpg"
    photo.write_bytes(photo_of(stranger))
    calls = [
        ["batches", "list", "--page-size", "500", "--json"],
        ["batches", "list", "--page-size", "500"],
        ["batches", "show", asker.shared["batch"], "--json"],
        ["sources", "list", "--json"],
        ["sources", "list"],
        ["images", "show", asker.shared["image"], "--json"],
        ["images", "show", asker.shared["image"][:8]],
        ["images", "list", "--page-size", "1000", "--json"],
        ["images", "list", "--page-size", "1000"],
        ["similar", str(photo), "--max-groups", "200", "--json"],
        ["similar", "--image", asker.shared["image"], "--max-groups", "200", "--json"],
        ["locate", str(photo), "--top", "100", "--json"],
        ["locate", str(photo)],
    ]
    own = asker.ids() | asker.words()
    for call, (code, out, err) in zip(
        calls, together([lambda c=c: pinpoint(asker, *c) for c in calls]), strict=True
    ):
        assert code == 0, (call, err)
        assert not neighborhood.leaks(out + err, stranger), call
        assert any(one in out for one in own), call


def test_a_foreign_ids_first_digits_are_as_good_as_none(neighborhood, pinpoint):
    asker, stranger = neighborhood.alder, neighborhood.birch
    before = stranger.fingerprint()
    for command, sort in (("images show", "image"), ("batches cancel", "batch")):
        for prefix in (stranger.shared[sort][:8], "fffffffe"):
            code, out, err = pinpoint(asker, *command.split(), prefix, "--json")
            assert (code, out) == (EXIT_CODES[NotFoundError], ""), (command, err)
            assert err == f"pinpoint: no {sort} {prefix}\n"
    assert stranger.fingerprint() == before


def test_a_key_opens_no_command_of_the_operator(neighborhood, pinpoint):
    jobs = [lambda c=c: pinpoint(neighborhood.alder, *c) for c in REFUSED_WITH_A_KEY]
    for call, (code, out, _) in zip(REFUSED_WITH_A_KEY, together(jobs), strict=True):
        assert (code, out) == (EXIT_CODES[BadRequestError], ""), call
