"""The settings file: precedence, secrets, and messages for invalid values."""

from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace

import pytest
from reference_tables import setting_fields

from pinpoint.cli.main import main
from pinpoint.errors import ConfigurationError
from pinpoint.settings_file import (
    HIDDEN,
    find_setting,
    list_settings,
    load_settings,
    read_file,
    set_value,
    settings_path,
    unset_value,
)

PASSWORD = "postgresql://pinpoint:very-secret@db.example.org/pinpoint"


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs `pinpoint config` in this process."""

    def run_command(*words, **environment):
        with monkeypatch.context() as patch:
            patch.delenv("PINPOINT_BUNDLE", raising=False)
            for name, value in {"COLUMNS": "200", **environment}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["pinpoint", "config", *words])
            patch.setattr(sys, "stdin", io.StringIO())
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
        captured = capsys.readouterr()
        return SimpleNamespace(
            returncode=ended.value.code or 0, stdout=captured.out, stderr=captured.err
        )

    return run_command


def change(home, name, value):
    return set_value(home, find_setting(name), value)


def test_settings_file_accepts_every_setting_except_home():
    variables = {name for name, _, _ in setting_fields()}
    assert {setting.variable for setting in list_settings().values()} == variables - {
        "PINPOINT_HOME"
    }


def test_load_settings_prefers_environment_over_file_over_default(home, monkeypatch):
    change(home, "search_candidates", "40")
    change(home, "api_port", "8080")
    monkeypatch.setenv("PINPOINT_API_PORT", "9090")
    settings = load_settings()
    assert (settings.search.candidates, settings.api.port, settings.search.max_citations) == (
        40,
        9090,
        3,
    )
    assert settings.services.home == home


def test_load_settings_in_stack_process_ignores_the_file(home, monkeypatch):
    change(home, "database_url", PASSWORD)
    assert load_settings().services.database_url == PASSWORD
    monkeypatch.setenv("PINPOINT_STACK", str(home.resolve()))
    assert load_settings().services.database_url is None


def test_set_value_keeps_other_lines_and_types(home):
    path = settings_path(home)
    path.write_text('# mine\nbundle = "b"  # why\n\napi_port = 1\n', encoding="utf-8")
    assert change(home, "PINPOINT_API_PORT", "8080") == 8080
    assert change(home, "log_json_lines", "false") is False
    assert change(home, "search_optimize_for_radius_km", "25") == 25.0
    assert change(home, "bundle", 'a "b" \\ ü\x7f') == 'a "b" \\ ü\x7f'
    assert read_file(home) == {
        "bundle": 'a "b" \\ ü\x7f', "api_port": 8080, "log_json_lines": False,
        "search_optimize_for_radius_km": 25.0,
    }  # fmt: skip
    assert path.read_text(encoding="utf-8").startswith("# mine\n")
    assert unset_value(home, find_setting("api_port")) is True
    assert unset_value(home, find_setting("api_port")) is False
    assert "api_port" not in read_file(home)


def test_set_value_writes_a_file_readable_by_its_owner_only(home):
    change(home, "database_url", PASSWORD)
    assert settings_path(home).stat().st_mode & 0o777 == 0o600


def test_settings_file_with_secret_readable_by_others_is_rejected(home):
    change(home, "qdrant_api_key", "k" * 20)
    settings_path(home).chmod(0o644)
    with pytest.raises(
        ConfigurationError, match="qdrant_api_key and other users may read it"
    ) as error:
        load_settings()
    assert "kkkk" not in error.value.message
    assert "chmod 600" in error.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("api_prot = 1\n", "there is no setting 'api_prot'; did you mean 'api_port'"),
        ('home = "/x"\n', "PINPOINT_HOME"),
        ("api_port = 99999\n", "api_port: input should be less than or equal to 65535, not 99999"),
        ('log_level = "loud"\n', "log_level: input should be 'debug', 'info'"),
        ("api_port\n", "is not TOML"),
        ("database_url = 5\n", "database_url: input should be a valid string"),
    ],
)
def test_settings_file_with_invalid_value_names_file_and_setting(home, text, words):
    settings_path(home).write_text(text, encoding="utf-8")
    settings_path(home).chmod(0o600)
    with pytest.raises(ConfigurationError) as error:
        load_settings()
    assert str(settings_path(home)) in error.value.message
    assert words in error.value.message


def test_settings_file_with_invalid_secret_does_not_print_it(home):
    with pytest.raises(ConfigurationError) as error:
        change(home, "api_metrics_token", "short-secret")
    assert "short-secret" not in error.value.message


def test_config_set_list_get_and_unset(home, run):
    assert run("path").stdout.strip() == str(settings_path(home))
    assert run("set", "search_candidates", "40").stdout.startswith("search_candidates = 40")
    assert run("set", "database_url", PASSWORD).stdout.startswith(f"database_url = {HIDDEN}")
    listed = run("list", PINPOINT_API_PORT="8080", PINPOINT_API_PROT="1")
    lines = [line.split() for line in listed.stdout.splitlines()]
    assert ["search_candidates", "40", "file"] in lines
    assert ["api_port", "8080", "environment"] in lines
    assert "very-secret" not in listed.stdout
    assert "PINPOINT_API_PROT is set in the environment but is not a setting" in listed.stderr
    document = json.loads(run("list", "--json").stdout)
    by_name = {setting["name"]: setting for setting in document["settings"]}
    assert by_name["api_port"]["from"] == "default"
    assert by_name["database_url"] == {
        "name": "database_url", "variable": "PINPOINT_DATABASE_URL", "value": HIDDEN, "from": "file"
    }  # fmt: skip
    assert run("get", "PINPOINT_SEARCH_CANDIDATES").stdout == "40\n"
    assert run("get", "database_url").stdout.strip() == PASSWORD
    assert "was removed from" in run("unset", "database_url").stdout
    assert run("get", "database_url").stdout == "\n"


@pytest.mark.parametrize(
    "words", [["get", "api_prot"], ["set", "api_prot", "1"], ["unset", "api_prot"]]
)
def test_config_with_unknown_name_prints_the_same_message_in_every_command(run, words):
    completed = run(*words)
    assert (completed.returncode, completed.stdout) == (78, "")
    assert (
        completed.stderr == "pinpoint: there is no setting 'api_prot'; did you mean 'api_port'?\n"
    )
