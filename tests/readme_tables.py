"""The tables of the README, made from the code they describe.

`python tests/readme_tables.py` writes them into the README; `tests/test_readme.py` compares.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCK = r"(<!-- table: {name} -->\n).*?(<!-- end of table -->)"


def table(columns, rows):
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(str(cell).replace("|", "\\|") for cell in row) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def setting_fields() -> Iterator[tuple[str, object, str]]:
    """Variable, default and description of every setting."""
    from pinpoint import settings

    for group in vars(settings).values():
        if isinstance(group, type) and group.__module__ == settings.__name__:
            prefix = getattr(group, "model_config", {}).get("env_prefix")
            for name, field in getattr(group, "model_fields", {}).items():
                yield f"{prefix}{name}".upper(), field.default, field.description or ""


def settings_table() -> str:
    rows = [
        (f"`{name}`", "" if default is None else f"`{default}`", text)
        for name, default, text in setting_fields()
    ]
    return table(("variable", "default", "meaning"), rows)


def commands() -> Iterator[tuple[str, Any]]:
    """Every leaf command of the CLI with its full name."""
    from typer.main import get_command

    from pinpoint.cli.main import app

    def walk(path, command):
        below = getattr(command, "commands", None)
        if below is None:
            yield path, command
            return
        for name, each in below.items():
            yield from walk(f"{path} {name}", each)

    yield from walk("pinpoint", get_command(app))


def commands_table() -> str:
    rows = []
    for name, command in commands():
        wanted = [
            param.name.upper() if param.required else f"[{param.name.upper()}]"
            for param in command.params
            if param.param_type_name == "argument"
        ]
        first = (command.help or "").strip().split("\n")[0]
        rows.append((f"`{' '.join([name, *wanted])}`", first))
    return table(("command", "what it does"), rows)


def routes() -> Iterator[tuple[str, str, str]]:
    """Method, path and summary of every route."""
    from pinpoint.api.app import create_app

    for path, methods in create_app().openapi()["paths"].items():
        for method, route in methods.items():
            text = (route.get("description") or route["summary"]).strip().split("\n")[0]
            yield method.upper(), path, text


def routes_table() -> str:
    return table(("route", "what it does"), [(f"`{m} {p}`", text) for m, p, text in routes()])


def error_kinds():
    """Every error class of the tree in the order in which it is drawn."""
    from pinpoint import errors

    return [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.PinpointError)
    ]


def errors_table() -> str:
    from pinpoint.api.problems import PROBLEM_TYPE_PREFIX, STATUS, TITLES
    from pinpoint.cli.exit_codes import EXIT_CODES

    kinds = error_kinds()
    rows = [
        (
            f"`{PROBLEM_TYPE_PREFIX}{kind.reason}`",
            STATUS[kind],
            EXIT_CODES[kind],
            TITLES[kind.reason],
        )
        for kind in kinds
    ]
    only_http = {"invalid_request": 422, "method_not_allowed": 405}
    only_http |= {"unsupported_media_type": 415, "request_timeout": 408, "internal": 500}
    known = {kind.reason for kind in kinds}
    rows += [
        (f"`{PROBLEM_TYPE_PREFIX}{word}`", only_http[word], "", title)
        for word, title in TITLES.items()
        if word not in known
    ]
    return table(("type", "HTTP", "exit code", "meaning"), rows)


def exits_table() -> str:
    from pinpoint.cli.exit_codes import (
        EXIT_CODES,
        FAILED_ITEMS,
        INTERNAL,
        INTERRUPTED,
        STACK_NOT_UP,
        USAGE,
    )
    from pinpoint.errors import ForbiddenError

    meaning = {
        0: "it worked",
        STACK_NOT_UP: "`pinpoint status`: the stack is not up",
        FAILED_ITEMS: "`pinpoint ingest`: some files failed (rejected ones are no failures); or a "
        "question was answered with no",
        USAGE: "the command line itself was wrong",
        INTERNAL: "a bug; `PINPOINT_LOG_LEVEL=debug` shows where",
        INTERRUPTED: "Ctrl-C; the command says what continues by itself and how to follow it",
    }
    for code in EXIT_CODES.values():
        if code not in (0, FAILED_ITEMS, USAGE, INTERNAL):
            meaning[code] = ", ".join(
                f"`{other.reason}`" for other, same in EXIT_CODES.items() if same == code
            )
    meaning[EXIT_CODES[ForbiddenError]] += ", or a file belongs to another user"
    return table(("exit code", "meaning"), sorted(meaning.items()))


def reasons_table() -> str:
    from pinpoint.media.checks import REASONS

    return table(("reason", "meaning"), [(f"`{word}`", text) for word, text in REASONS.items()])


def metrics_table() -> str:
    from pinpoint.api.metrics import METRICS

    rows = [(f"`{one.name}`", one.labels, one.meaning, one.alert) for one in METRICS]
    return table(("metric", "labels", "meaning", "worth an alert"), rows)


TABLES = {
    "settings": settings_table,
    "commands": commands_table,
    "routes": routes_table,
    "errors": errors_table,
    "exits": exits_table,
    "reasons": reasons_table,
    "metrics": metrics_table,
}


def filled(text: str) -> str:
    """A README text with every table as the code has it now."""
    for name, make in TABLES.items():
        fresh = make()
        text = re.sub(
            BLOCK.format(name=name),
            lambda found, fresh=fresh: found[1] + fresh + found[2],
            text,
            flags=re.DOTALL,
        )
    return text


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"wrote the tables of {README}\n")
