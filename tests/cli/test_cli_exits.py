"""Every error has an exit code and one line; every command has a help and knows `--json`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

COMMANDS = """
up / down / status / demo / orgs create / orgs list / orgs disable / keys create / keys list
/ keys revoke / sources add / sources list / sources delete / ingest / batches list / batches show
/ batches retry / images show / images update / images delete / validate / locate / similar
/ index info / index rebuild / index reconcile
"""
NAMES = [name.split() for name in " ".join(COMMANDS.split()).split("/")]


def run(*arguments, home=None, **environment):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PINPOINT_")}
    env |= {"COLUMNS": "200", "TERM": "dumb", "PYTHONWARNINGS": "error", **environment}
    if home is not None:
        env["PINPOINT_HOME"] = str(home)
    return subprocess.run(
        [sys.executable, "-m", "pinpoint.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=env,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def fails(done, code, *words):
    assert done.returncode == code, (done.stdout, done.stderr)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("pinpoint: ")
    for word in words:
        assert word in line


def test_every_command_has_its_help():
    # One process for all of them: starting Python is what takes time.
    code = (
        "import sys, json\n"
        "from typer.testing import CliRunner\n"
        "from pinpoint.cli.main import app\n"
        "names = json.loads(sys.argv[1])\n"
        "out = {' '.join(n): CliRunner().invoke(app, [*n, '--help']) for n in names}\n"
        "print(json.dumps({n: [r.exit_code, r.output] for n, r in out.items()}))\n"
        "heavy = {'torch', 'fastapi', 'sqlalchemy', 'celery'} & set(sys.modules)\n"
        "sys.exit(f'help loads {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(NAMES)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name, (code_, text) in json.loads(done.stdout).items():
        assert code_ == 0, (name, text)
        assert "--json" in text, name
        assert f"pinpoint {name}" in text or name in text


def test_the_command_itself_runs_as_a_process():
    done = run("--help")
    assert done.returncode == 0
    for word in ("up", "down", "locate", "ingest", "--server"):
        assert word in done.stdout
    assert run("--version").stdout.strip().count(".") == 2


def test_what_is_no_command_is_a_usage_error():
    done = run("dance")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [["sources", "list"], ["sources", "list", "--json"]])
def test_without_a_stack_the_way_out_is_named(tmp_path, arguments):
    fails(run(*arguments, home=tmp_path), 75, "pinpoint up", "--server")


def test_nobody_listens(tmp_path):
    done = run("--server", "http://127.0.0.1:9", "sources", "list", home=tmp_path)
    fails(done, 69, "http://127.0.0.1:9")


def test_a_bad_server(tmp_path):
    fails(run("sources", "list", "--server", "gopher://x", home=tmp_path), 64, "gopher", "http://")


def test_operators_commands_do_not_go_over_the_api(tmp_path):
    fails(run("--server", "http://x", "orgs", "list", home=tmp_path), 64, "on the machine")


def test_a_bad_setting_is_named(tmp_path):
    done = run("status", home=tmp_path, PINPOINT_API_PORT="harbour")
    fails(done, 78, "PORT", "harbour")


def test_a_photo_that_is_not_there(tmp_path):
    done = run("similar", "--server", "http://127.0.0.1:9", tmp_path / "no.jpg", home=tmp_path)
    fails(done, 64, "no.jpg")


def test_inspect_of_nothing(tmp_path):
    fails(run("validate", tmp_path / "nothing", "--json"), 64, "nothing")


def test_status_without_a_stack(tmp_path):
    done = run("status", "--json", home=tmp_path / "home")
    assert done.returncode == 3
    assert json.loads(done.stdout)["state"] == "down"
    assert done.stderr == ""
    assert not (tmp_path / "home").exists()
