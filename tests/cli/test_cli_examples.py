"""Every help text ends with examples, and every example is a command line that parses."""

from __future__ import annotations

import shlex

import pytest
from typer.main import get_command

from pinpoint.cli.main import app

ROOT = get_command(app)


def walk(command, path=("pinpoint",)):
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, (*path, name))


TREE = list(walk(ROOT))


def examples(command):
    """The lines below `Examples:` in the epilog or the docstring."""
    text = "\n".join([command.help or "", command.epilog or ""])
    _, mark, below = text.partition("Examples:")
    return [line.strip() for line in below.splitlines() if line.strip()] if mark else []


@pytest.mark.parametrize(("path", "command"), TREE, ids=[" ".join(path) for path, _ in TREE])
def test_help_of_command_ends_with_its_examples(path, command):
    lines = examples(command)
    assert lines, f"`{' '.join(path)}` has no example; add one to pinpoint/cli/examples.py"
    assert any(shlex.split(line)[0] == "pinpoint" for line in lines)
    wanted = [word for word in path[1:]]
    for line in lines:
        words = [word for word in shlex.split(line)[1:] if word in wanted]
        assert words[: len(wanted)] == wanted, f"{line!r} is no example of `{' '.join(path)}`"


def descend(command, words, name):
    """Parse a command line as the program would, without running it; returns the command meant."""
    context = command.make_context(name, list(words))
    while hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args]
        below = command.commands.get(rest[0]) if rest else None
        assert below is not None, f"{rest} is no command of {name}"
        command, words = below, rest[1:]
        context = command.make_context(rest[0], list(words), parent=context)
    return command


@pytest.mark.parametrize(
    "line", sorted({line for _, command in TREE for line in examples(command)})
)
def test_help_examples_parse(line, monkeypatch, tmp_path):
    monkeypatch.setenv("PINPOINT_HOME", str(tmp_path))  # `--home` in an example sets it
    descend(ROOT, shlex.split(line)[1:], "pinpoint")


def test_example_with_unknown_option_fails_the_check():
    with pytest.raises(Exception, match="No such option"):
        descend(ROOT, ["batches", "list", "--nonsense"], "pinpoint")
