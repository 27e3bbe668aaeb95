"""Exit codes, one-line error messages, help texts and `--json` of the commands."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from pinpoint.cli.main import main

COMMANDS = """
up / down / status / demo / orgs create / orgs list / orgs disable / keys create / keys list
/ keys revoke / sources add / sources list / sources delete / ingest / batches list / batches show
/ batches retry / images show / images update / images import-metadata / images delete / validate
/ locate / similar
/ index info / index rebuild / index reconcile
"""
NAMES = [name.split() for name in " ".join(COMMANDS.split()).split("/")]


def run_process(*arguments):
    """Run a command in a process of its own, as a shell does."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PINPOINT_")}
    return subprocess.run(
        [sys.executable, "-m", "pinpoint.cli", *arguments],
        capture_output=True,
        text=True,
        env=env | {"COLUMNS": "200", "TERM": "dumb", "PYTHONWARNINGS": "error"},
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a command in this process: the start of Python takes longer than most commands."""

    def run_command(*arguments, home=None, **environment):
        monkeypatch.delenv("PINPOINT_BUNDLE", raising=False)
        for name, value in {"COLUMNS": "200", "TERM": "dumb", **environment}.items():
            monkeypatch.setenv(name, value)
        if home is not None:
            monkeypatch.setenv("PINPOINT_HOME", str(home))
        monkeypatch.setattr(sys, "argv", ["pinpoint", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return SimpleNamespace(
            returncode=ended.value.code or 0, stdout=captured.out, stderr=captured.err
        )

    return run_command


def fails(completed, code, *words):
    assert completed.returncode == code, (completed.stdout, completed.stderr)
    assert completed.stdout == ""
    (line,) = completed.stderr.splitlines()
    assert line.startswith("pinpoint: ")
    for word in words:
        assert word in line


def test_help_of_every_command_exits_0_without_heavy_imports():
    # One process for all commands, because the start of Python is slow.
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
    completed = subprocess.run(
        [sys.executable, "-c", code, json.dumps(NAMES)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    for name, (code_, text) in json.loads(completed.stdout).items():
        assert code_ == 0, (name, text)
        assert "--json" in text, name
        assert f"pinpoint {name}" in text or name in text


def test_pinpoint_process_prints_help_and_version():
    completed = run_process("--help")
    assert completed.returncode == 0
    for word in ("up", "down", "locate", "ingest", "--server"):
        assert word in completed.stdout
    assert run_process("--version").stdout.strip().count(".") == 2


def test_unknown_command_exits_2():
    completed = run_process("dance")
    assert completed.returncode == 2
    assert "Traceback" not in completed.stderr


@pytest.mark.parametrize("arguments", [["sources", "list"], ["sources", "list", "--json"]])
def test_command_without_stack_exits_75_with_a_hint(run, tmp_path, arguments):
    fails(run(*arguments, home=tmp_path), 75, "pinpoint up", "--server")


def test_command_with_closed_port_exits_69(run, tmp_path):
    completed = run("--server", "http://127.0.0.1:9", "sources", "list", home=tmp_path)
    fails(completed, 69, "http://127.0.0.1:9")


def test_command_with_invalid_server_url_exits_64(run, tmp_path):
    fails(run("sources", "list", "--server", "gopher://x", home=tmp_path), 64, "gopher", "http://")


def test_operator_command_with_server_option_exits_64(run, tmp_path):
    fails(run("--server", "http://x", "orgs", "list", home=tmp_path), 64, "on the machine")


def test_command_with_invalid_setting_exits_78_with_its_name(run, tmp_path):
    completed = run("status", home=tmp_path, PINPOINT_API_PORT="harbour")
    fails(completed, 78, "PORT", "harbour")


def test_similar_with_missing_photo_exits_64(run, tmp_path):
    completed = run("similar", "--server", "http://127.0.0.1:9", tmp_path / "no.jpg", home=tmp_path)
    fails(completed, 64, "no.jpg")


def test_validate_with_missing_path_exits_64(run, tmp_path):
    fails(run("validate", tmp_path / "nothing", "--json"), 64, "nothing")


def test_status_without_stack_exits_3_and_creates_nothing(run, tmp_path):
    completed = run("status", "--json", home=tmp_path / "home")
    assert completed.returncode == 3
    assert json.loads(completed.stdout)["state"] == "down"
    assert completed.stderr == ""
    assert not (tmp_path / "home").exists()
