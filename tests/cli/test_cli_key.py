"""`pinpoint key` prints the operator key, or a message when it is missing or unsafe."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pinpoint.cli.main import app
from pinpoint.errors import ForbiddenError, StackError
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.state import load_operator_key


def test_key_command_prints_only_the_key(home):
    key = load_operator_key(StackPaths(home))
    assert CliRunner().invoke(app, ["key"]).stdout == f"{key}\n"
    assert json.loads(CliRunner().invoke(app, ["key", "--json"]).stdout) == {"key": key}


def test_key_command_without_key_file_names_pinpoint_up(home):
    result = CliRunner().invoke(app, ["key"])
    assert isinstance(result.exception, StackError)
    assert "pinpoint up" in result.exception.message
    assert result.stdout == ""


def test_key_command_with_readable_key_file_refuses(home):
    paths = StackPaths(home)
    key = load_operator_key(paths)
    paths.operator_key_file.chmod(0o644)
    result = CliRunner().invoke(app, ["key"])
    assert isinstance(result.exception, ForbiddenError)
    assert key not in result.output


@pytest.mark.parametrize("header", [True, False])
def test_printed_key_is_accepted_by_the_stack(running_stack, monkeypatch, header):
    import httpx

    monkeypatch.setenv("PINPOINT_HOME", str(running_stack.home))
    key = CliRunner().invoke(app, ["key"]).stdout.strip()
    headers = {"Authorization": f"Bearer {key}"} if header else {}
    answer = httpx.get(f"{running_stack.api_url}/v1/sources", headers=headers, trust_env=False)
    assert answer.status_code == (200 if header else 401)


def test_client_on_this_machine_uses_the_key_file(running_stack, monkeypatch):
    import pinpoint

    monkeypatch.setenv("PINPOINT_HOME", str(running_stack.home))
    with pinpoint.connect() as client:
        list(client.sources())  # raises an error without the key
    result = CliRunner().invoke(app, ["sources", "list", "--json"])
    assert result.exit_code == 0, result.output
