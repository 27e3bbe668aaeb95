"""Tenant isolation of the commands, run in this process with the key of one organization."""

from __future__ import annotations

import io
import sys
from uuid import uuid4

import pytest
import typer

from pinpoint.cli.exit_codes import EXIT_CODES
from pinpoint.cli.main import app, main
from pinpoint.errors import BadRequestError, NotFoundError
from tenant_isolation.other_organization import photo_of

# Command → kind of id, and arguments with `{id}` for an id of another organization.
FOREIGN = {
    "batches list": None,
    "batches show": ("batch", ["{id}"]),
    "batches retry": ("batch", ["{id}"]),
    "batches cancel": ("batch", ["{id}"]),
    "coverage": ("source", ["--in-source", "{id}"]),
    "gaps": ("source", ["--in-source", "{id}"]),
    "neighbors": None,
    "images looking-at": None,
    "images download": ("image", ["{id}", "--output", "{folder}/out.jpg"]),
    "export": ("source", ["--in-source", "{id}", "--output", "{folder}/out.csv"]),
    "queries list": None,
    # Another organization's key has no rows here; see `test_isolation_audit.py`.
    "audit list": None,
    "queries delete": ("query", ["{id}"]),
    "webhooks add": None,
    "webhooks list": None,
    "webhooks show": ("webhook", ["{id}"]),
    # With an id as `webhooks show`; the table of routes has their requests.
    "webhooks update": None,
    "webhooks delete": None,
    "webhooks rotate-secret": None,
    "webhooks test": None,
    "images list": ("source", ["--in-source", "{id}"]),
    "jobs list": None,
    "jobs show": ("job", ["{id}"]),
    "jobs delete": ("job", ["{id}"]),
    # Each of these begins with the route of one of the two above; see the tests of the routes.
    "jobs create": None,
    "jobs wait": None,
    "jobs results": None,
    "jobs cancel": None,
    "batches wait": ("batch", ["{id}"]),
    "images show": ("image", ["{id}"]),
    "images update": ("image", ["{id}", "--lat", "1", "--lon", "2"]),
    # Rows with unknown ids are rejected one by one; see the test of the route.
    "images import-metadata": None,
    "images delete": ("image", ["{id}"]),
    "sources list": None,
    "sources add": None,
    "sources delete": ("source", ["{id}", "--yes"]),
    "sources update": ("source", ["{id}", "--image-access", "none"]),
    "protected-areas list": None,
    "protected-areas add": None,
    "protected-areas show": ("area", ["{id}"]),
    # With a file of polygons; see the test of the route.
    "protected-areas replace": None,
    "protected-areas delete": ("area", ["{id}"]),
    "similar": ("image", ["--image", "{id}"]),
    "search": ("image", ["--image", "{id}"]),
    "locate": ("source", ["{photo}", "--in-source", "{id}"]),
    "ingest": ("source", ["{folder}", "--source", "{id}"]),
}
# These work on the stack itself, for the operator of its machine, or on files: no key opens them.
OPERATOR = {
    "up", "down", "status", "destroy", "demo", "key",
    "config list", "config get", "config set", "config unset", "config path",
    "validate", "verify-dossier", "backup", "restore",
    "bench", "evaluate", "compare", "synthetic create", "calibrate",
    "train vocabulary", "train embedder", "train reranker", "train status", "train resume",
    "bundles list", "bundles show", "bundles verify", "bundles import", "bundles pull",
    "bundles activate", "bundles delete-vectors",
    "sources roots", "sources move-root", "sources missing",
    "orgs create", "orgs list", "orgs disable", "orgs delete",
    "keys create", "keys list", "keys rotate", "keys revoke",
    "keys limits", "keys set-limits", "keys clear-limits",
    "index info", "index rebuild", "index reconcile",
}  # fmt: skip
REFUSED_WITH_A_KEY = [
    ["orgs", "list"],
    ["keys", "list"],
    ["index", "info"],
    ["index", "reconcile", "--dry-run"],
]


@pytest.fixture
def pinpoint(tenant_pair, tmp_path, monkeypatch, capsys):
    """Runs `pinpoint` with the key of a tenant; returns exit code, stdout and stderr."""
    empty = tmp_path / "home"
    empty.mkdir()
    for name, value in (("PINPOINT_HOME", str(empty)), ("COLUMNS", "300"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdin", io.StringIO())

    def run(tenant, *arguments):
        command = ["pinpoint", "--server", tenant.url, "--key", tenant.key, *arguments]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        return (int(ended.value.code or 0), *capsys.readouterr())

    return run


def list_commands(command, path=()):
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            yield from list_commands(inner, (*path, name))
    else:
        yield " ".join(path)


def test_command_table_has_every_command():
    assert set(list_commands(typer.main.get_command(app))) == set(FOREIGN) | OPERATOR


def test_command_with_id_of_other_organization_fails_as_for_an_unknown_id(
    tenant_pair, pinpoint, tmp_path
):
    requester, other = tenant_pair.alder, tenant_pair.birch
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "mine.jpg").write_bytes(photo_of(requester))
    before = other.fingerprint()
    for command, what in FOREIGN.items():
        if what is None:
            continue
        sort, arguments = what
        outcomes = []
        for id_ in (other.shared[sort], str(uuid4())):
            filled = [
                part.format(id=id_, photo=folder / "mine.jpg", folder=folder) for part in arguments
            ]
            code, out, err = pinpoint(requester, *command.split(), *filled, "--json")
            outcomes.append((code, out.replace(id_, "ID"), err.replace(id_, "ID")))
        theirs, none = outcomes
        assert theirs == none, command
        assert theirs[0] == EXIT_CODES[NotFoundError], (command, theirs)
        assert not tenant_pair.leaks("".join(map(str, theirs)), other)
    assert other.fingerprint() == before
    assert tenant_pair.harness.queue.sent == []


def test_lists_and_answers_have_no_data_of_the_other_organization(tenant_pair, pinpoint, tmp_path):
    requester, other = tenant_pair.birch, tenant_pair.alder
    photo = tmp_path / "theirs.jpg"
    photo.write_bytes(photo_of(other))
    calls = [
        ["batches", "list", "--page-size", "500", "--json"],
        ["batches", "list", "--page-size", "500"],
        ["batches", "show", requester.shared["batch"], "--json"],
        ["sources", "list", "--json"],
        ["sources", "list"],
        ["images", "show", requester.shared["image"], "--json"],
        ["images", "show", requester.shared["image"][:8]],
        ["images", "list", "--page-size", "1000", "--json"],
        ["images", "list", "--page-size", "1000"],
        ["similar", str(photo), "--max-groups", "200", "--json"],
        ["similar", "--image", requester.shared["image"], "--max-groups", "200", "--json"],
        ["locate", str(photo), "--top", "100", "--json"],
        ["locate", str(photo)],
    ]
    own_words = requester.ids() | requester.words()
    for call in calls:
        code, out, err = pinpoint(requester, *call)
        assert code == 0, (call, err)
        assert not tenant_pair.leaks(out + err, other), call
        assert any(word in out for word in own_words), call


def test_command_with_id_prefix_of_other_organization_exits_66(tenant_pair, pinpoint):
    requester, other = tenant_pair.alder, tenant_pair.birch
    before = other.fingerprint()
    for command, sort in (("images show", "image"), ("batches cancel", "batch")):
        for prefix in (other.shared[sort][:8], "fffffffe"):
            code, out, err = pinpoint(requester, *command.split(), prefix, "--json")
            assert (code, out) == (EXIT_CODES[NotFoundError], ""), (command, err)
            assert err == f"pinpoint: no {sort} {prefix}\n"
    assert other.fingerprint() == before


def test_operator_command_with_organization_key_is_rejected(tenant_pair, pinpoint):
    for call in REFUSED_WITH_A_KEY:
        code, out, _ = pinpoint(tenant_pair.alder, *call)
        assert (code, out) == (EXIT_CODES[BadRequestError], ""), call
