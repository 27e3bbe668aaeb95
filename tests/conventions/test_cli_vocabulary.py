"""The vocabulary of the command line: commands, options, helps and examples, read from typer.

typer has its own copy of click, so parameters are recognized by their attributes, not by class.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import click
import pytest
import typer
from typer.main import get_command

import pinpoint.cli
from conventions.rejected_words import find_words
from pinpoint.cli.main import app

CLI_FOLDER = Path(pinpoint.cli.__file__).parent

REJECTED_COMMANDS = {
    "bundles use": "bundles activate",
    "bundles forget": "bundles delete-vectors",
    "batches complete": "batches close",
    "images fix": "images update",
    "orgs revoke": "orgs disable",
    "orgs erase": "orgs delete",
    "sources erase": "sources delete",
    "inspect": "validate",
    "world": "synthetic",
    "world make": "synthetic create",
}
REJECTED_OPTIONS = {
    "--accept-missing": "--allow-missing",
    "--after": "--cursor",
    "--at-once": "--concurrency",
    "--behind": "--clip-bundle",
    "--describe": "--summarize-labels",
    "--job": "--background",
    "--kind": "--source-kind or --query-kind",
    "--kinds": "--source-kind",
    "--limit": "--max-groups, --max-queries or --page-size",
    "--near": "--center and --radius",
    "--only": "--filter",
    "--places": "--search-space coordinates",
    "--served": "--unfiltered",
    "--since": "--datetime",
    "--until": "--datetime",
    "--withhold": "--max-false-abstention",
}
REJECTED_WORDS = re.compile(
    r"\b(?:worlds?(?!-tiny)|photographer|places?|withh[eo]ld\w*|behind|forgets?|forgotten|at once|"
    r"mend\w*|inspect\w*|eras\w+|asked|told|said|who|whose)\b",
    re.IGNORECASE,
)
"""Words of the command line's past; `rejected_words.py` has those of all texts."""
ALLOWED_PHRASES = ("nearest place", "files in place")
UNITS = ("degrees", "meters", "seconds", "per second", "share", "cosine", "0 to 1", "exponent")
SHARED_MODULES = {
    "up": "stack",
    "down": "stack",
    "destroy": "stack",
    "demo": "stack",
    "status": "stack",
    "restore": "backup",
    "compare": "evaluate",
    "bench": "benchmarks",
    "protected-areas": "protected_areas",
    "verify-dossier": "verify_dossier",
}
"""Modules of the top-level commands whose module has another name."""
WITHOUT_JSON = {"bench"}
"""Commands that another program continues; its options decide the format."""
SOURCE_TARGETS = {"ingest", "images import-metadata"}
"""Commands where `--source` is the target of files; filters are `--in-source`."""


def walk_commands(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(path), command
    for name, child in getattr(command, "commands", {}).items():
        yield from walk_commands(child, (*path, name))


def is_group(command: click.Command) -> bool:
    return hasattr(command, "commands")


def texts_of(command: click.Command) -> list[str]:
    """Help, examples and option helps of a command."""
    helps = [getattr(parameter, "help", None) for parameter in command.params]
    return [text for text in (command.help, command.epilog, *helps) if text]


def find_rejected_names(root: click.Command) -> list[str]:
    problems = []
    for name, command in walk_commands(root):
        if name in REJECTED_COMMANDS:
            problems.append(f"command `{name}`: use `{REJECTED_COMMANDS[name]}`")
        for option in list_options(command):
            problems += [
                f"`{name}` {spelling}: use {REJECTED_OPTIONS[spelling]}"
                for spelling in option.opts
                if spelling in REJECTED_OPTIONS
            ]
    return problems


def find_rejected_words(root: click.Command) -> list[str]:
    problems = []
    for name, command in walk_commands(root):
        spellings = [spelling for option in list_options(command) for spelling in option.opts]
        for text in (name, *spellings, *texts_of(command)):
            reduced = text
            for phrase in ALLOWED_PHRASES:
                reduced = reduced.replace(phrase, "")
            words = [match.group() for match in REJECTED_WORDS.finditer(reduced)]
            words += [word for word, _instead, _offset in find_words(reduced)]
            problems += [f"`{name}`: {word!r} in {text!r}" for word in words]
    return problems


def find_texts_without_end(root: click.Command) -> list[str]:
    problems = []
    for name, command in walk_commands(root):
        help_text = (command.help or "").strip()
        if not help_text.endswith((".", "?")):
            problems.append(f"`{name}`: help {help_text!r}")
        for parameter in command.params:
            text = getattr(parameter, "help", None)
            if parameter.name != "help" and not (text or "").endswith("."):
                problems.append(f"`{name}` {parameter.name}: help {text!r}")
    return problems


def list_options(command: click.Command) -> list[click.Option]:
    return [
        cast(click.Option, parameter)
        for parameter in command.params
        if parameter.param_type_name == "option" and parameter.name != "help"
    ]


def value_type(option: click.Option) -> type:
    return cast(Any, option).type_descriptor.annotation  # of typer's copy of click


ROOT: Any = get_command(app)
LEAVES = [(name, command) for name, command in walk_commands(ROOT) if not is_group(command)]


def test_commands_and_options_have_no_rejected_name():
    assert find_rejected_names(ROOT) == []


def test_help_texts_have_no_rejected_word():
    assert find_rejected_words(ROOT) == []


def test_help_texts_end_with_a_period():
    assert find_texts_without_end(ROOT) == []


def test_every_command_has_an_example():
    missing = [name for name, command in walk_commands(ROOT) if "Examples:" not in _epilog(command)]
    assert missing == []


def _epilog(command: click.Command) -> str:
    return command.epilog or ""


def test_every_command_prints_json_on_request():
    missing = [
        name
        for name, command in LEAVES
        if not any("--json" in option.opts for option in list_options(command))
    ]
    assert set(missing) == WITHOUT_JSON


def test_options_of_the_same_variable_have_the_same_name():
    spellings, variables = defaultdict(set), defaultdict(set)
    for _, command in walk_commands(ROOT):
        for option in list_options(command):
            spellings[option.name].add((*option.opts, *option.secondary_opts))
            for spelling in option.opts:
                variables[spelling].add(option.name)
    assert {name: found for name, found in spellings.items() if len(found) > 1} == {}
    assert {name: found for name, found in variables.items() if len(found) > 1} == {}


def test_options_of_the_same_name_have_the_same_type():
    types = defaultdict(set)
    for _, command in LEAVES:
        for option in list_options(command):
            types[option.name].add((value_type(option), option.multiple))
    # `images list` repeats its filters; the kind of a new source and the values of `images update`
    # are single. Cursors are of the API, and `calibrate` needs the folder of a bundle.
    # `search` mixes several images, and has one point.
    different = {
        "bundle",
        "creator",
        "cursor",
        "image",
        "point",
        "sequence",
        "source_kind",
        "state",
    }
    assert {name for name, kinds in types.items() if len(kinds) > 1} <= different


def test_source_target_and_source_filter_have_different_names():
    with_source = {
        name
        for name, command in LEAVES
        if any("--source" in option.opts for option in list_options(command))
    }
    assert with_source == SOURCE_TARGETS


def test_list_commands_have_page_size_and_cursor_options():
    for name, command in LEAVES:
        spellings = {spelling for option in list_options(command) for spelling in option.opts}
        assert ("--page-size" in spellings) == ("--cursor" in spellings), name


def test_wait_option_has_one_form():
    forms = {
        (*option.opts, *option.secondary_opts)
        for _, command in LEAVES
        for option in list_options(command)
        if option.name == "wait"
    }
    assert forms == {("--wait", "--no-wait")}


def test_fractional_numbers_name_their_unit():
    for name, command in LEAVES:
        for option in list_options(command):
            if value_type(option) is float:
                assert any(unit in option.help for unit in UNITS), (name, option.name)


def test_bbox_has_the_order_of_ogc():
    boxes = [
        option
        for _, command in LEAVES
        for option in list_options(command)
        if "--bbox" in option.opts
    ]
    assert len(boxes) >= 5
    for option in boxes:
        assert option.metavar == "MINLON,MINLAT,MAXLON,MAXLAT"
        assert "minimum longitude, minimum latitude" in option.help


@pytest.mark.parametrize("name", sorted(ROOT.commands))
def test_command_is_in_the_module_of_its_name(name):
    module = SHARED_MODULES.get(name, name)
    assert (CLI_FOLDER / f"{module}.py").is_file()
    command = ROOT.commands[name]
    if not is_group(command):
        assert command.callback.__module__ == f"pinpoint.cli.{module}"


def test_checks_report_inserted_words():
    planted = typer.Typer()

    @planted.command("inspect")
    def _plant_command(
        at_once: int = typer.Option(1, "--at-once", help="Questions asked at a time"),
    ) -> None:
        """Show which house of the places is behind the nearest place"""

    @planted.command("locate")
    def _plant_good_command() -> None:
        """Show the nearest place."""

    root = get_command(planted)
    assert find_rejected_names(root) == [
        "command `inspect`: use `validate`",
        "`inspect` --at-once: use --concurrency",
    ]
    words = {problem.split("'")[1] for problem in find_rejected_words(root)}
    assert {"inspect", "house", "behind", "Questions", "asked", "places"} <= words
    assert "place" not in words
    texts = find_texts_without_end(root)
    assert [text for text in texts if "`inspect`" in text] == [
        "`inspect`: help 'Show which house of the places is behind the nearest place'",
        "`inspect` at_once: help 'Questions asked at a time'",
    ]
