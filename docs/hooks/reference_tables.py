"""Facts of the code as Markdown tables: settings, commands, routes, errors, reasons, metrics.

`generate_reference.py` makes the reference pages from them; tests compare other pages with them.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import textwrap
import typing
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

Cells = Sequence[object]


def table(columns: Sequence[str], rows: Iterable[Cells]) -> str:
    """A Markdown table; bars in cells are escaped.

    Args:
        columns: Headers.
        rows: One sequence of cells for each row; cells are converted to text.
    """
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(_escape_cell(cell) for cell in row) for row in rows]
    return "".join(f"| {line} |\n" for line in lines)


def _escape_cell(cell: object) -> str:
    return " ".join(str(cell).split()).replace("|", "\\|")


def code(value: object) -> str:
    """A value as inline code; empty for None and the empty text."""
    return f"`{value}`" if value not in (None, "") else ""


# --- settings -----------------------------------------------------------------------------------


def setting_fields() -> Iterator[tuple[str, object, str]]:
    """Variable, default and description of every setting."""
    for group in setting_groups():
        prefix = group.model_config.get("env_prefix")
        for name, field in group.model_fields.items():
            yield f"{prefix}{name}".upper(), field.default, field.description or ""


def setting_groups() -> list[Any]:
    """The settings classes, in the order of the module."""
    from pinpoint import settings

    return [
        group
        for group in vars(settings).values()
        if isinstance(group, type)
        and group.__module__ == settings.__name__
        and getattr(group, "model_fields", None)
    ]


# --- commands -----------------------------------------------------------------------------------


def commands() -> Iterator[tuple[str, Any]]:
    """Full name and click command of every leaf command."""
    from typer.main import get_command

    from pinpoint.cli.main import app

    def walk(path: str, command: Any) -> Iterator[tuple[str, Any]]:
        subcommands = getattr(command, "commands", None)
        if subcommands is None:
            yield path, command
            return
        for name, subcommand in subcommands.items():
            yield from walk(f"{path} {name}", subcommand)

    yield from walk("pinpoint", get_command(app))


def command_usage(name: str, command: Any) -> str:
    """The command line: name and arguments, optional ones in brackets."""
    arguments = [
        param.name.upper() if param.required else f"[{param.name.upper()}]"
        for param in command.params
        if param.param_type_name == "argument"
    ]
    return " ".join([name, *arguments])


def option_rows(command: Any) -> Iterator[Cells]:
    """Names, value, default and help of every parameter of a command."""
    for param in command.params:
        if getattr(param, "hidden", False) or param.name == "help":
            continue
        is_argument = param.param_type_name == "argument"
        names = [param.name.upper()] if is_argument else [*param.opts, *param.secondary_opts]
        is_switch = getattr(param, "is_flag", False) or getattr(param, "count", False)
        value = "" if is_switch or is_argument else param.make_metavar_text()
        default = None if param.default in ((), [], False) or callable(param.default) else None
        yield ", ".join(map(code, names)), code(value), code(default), param.help or ""


# --- HTTP ---------------------------------------------------------------------------------------


def openapi() -> dict[str, Any]:
    """The OpenAPI document of the API."""
    from pinpoint.api.app import create_app

    document: dict[str, Any] = create_app().openapi()
    return document


def routes() -> Iterator[tuple[str, str, str]]:
    """Method, path and summary of every route."""
    for path, methods in openapi()["paths"].items():
        for method, route in methods.items():
            yield method.upper(), path, route_summary(route)


def route_summary(route: dict[str, Any]) -> str:
    """The first line of a route's description."""
    text: str = route.get("description") or route["summary"]
    return text.strip().split("\n")[0]


# --- errors -------------------------------------------------------------------------------------

_ONLY_HTTP = {
    "invalid_request": 422,
    "method_not_allowed": 405,
    "unsupported_media_type": 415,
    "request_timeout": 408,
    "internal": 500,
}


def error_classes() -> list[Any]:
    """Every error class of `pinpoint.errors`, in the order of the tree."""
    from pinpoint import errors

    return [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.PinpointError)
    ]


def error_rows() -> list[Cells]:
    """Problem type, HTTP status, exit code and title; types without a class come last."""
    from pinpoint.api.problems import PREFIX, STATUS, TITLES
    from pinpoint.cli.exit_codes import EXIT_CODES

    classes = error_classes()
    rows: list[Cells] = [
        (f"`{PREFIX}{kind.reason}`", STATUS[kind], int(EXIT_CODES[kind]), TITLES[kind.reason])
        for kind in classes
    ]
    reasons = {kind.reason for kind in classes}
    rows += [
        (f"`{PREFIX}{reason}`", _ONLY_HTTP[reason], "", title)
        for reason, title in TITLES.items()
        if reason not in reasons
    ]
    return rows


def exit_code_rows() -> list[tuple[int, str]]:
    """Every exit code of the command line with its meaning."""
    from pinpoint.cli.exit_codes import EXIT_CODES, FAILED_ITEMS, INTERNAL, INTERRUPTED, USAGE
    from pinpoint.cli.stack import STATUS_NOT_UP
    from pinpoint.errors import ForbiddenError

    meanings = {
        0: "The command succeeded.",
        int(STATUS_NOT_UP): "`pinpoint status`: the stack is not up.",
        int(FAILED_ITEMS): "The command worked, but some files or photos failed (`ingest`, "
        "`locate`); rejected files are not failures. Also: a confirmation was answered with no.",
        int(USAGE): "The command line is invalid.",
        int(INTERNAL): "Internal error; `PINPOINT_LOG_LEVEL=debug` shows the traceback.",
        int(INTERRUPTED): "Ctrl-C. The command prints what continues in the background.",
    }
    for number in map(int, EXIT_CODES.values()):
        if number not in (0, FAILED_ITEMS, USAGE, INTERNAL):
            meanings[number] = ", ".join(
                f"`{kind.reason}`" for kind, same in EXIT_CODES.items() if same == number
            )
    meanings[int(EXIT_CODES[ForbiddenError])] += ", or a file belongs to another user"
    return sorted(meanings.items())


# --- fields of configuration and contract classes -----------------------------------------------


class FieldRow(NamedTuple):
    """One field of a class, as its source states it."""

    name: str
    type: str
    default: str
    description: str


def field_rows(cls: type) -> list[FieldRow]:
    """Fields of a pydantic model or dataclass with the docstrings that follow them.

    Fields of base classes come first; a subclass replaces a field in its place.
    """
    rows: dict[str, FieldRow] = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("pinpoint"):
            for row in _own_field_rows(base):
                previous = rows.get(row.name)
                if previous and not row.description:
                    row = row._replace(description=previous.description)
                rows[row.name] = row
    return list(rows.values())


def _own_field_rows(cls: type) -> Iterator[FieldRow]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    for statement, following in zip(
        definition.body, [*definition.body[1:], ast.Pass()], strict=True
    ):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        description = ""
        if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
            description = inspect.cleandoc(str(following.value.value))
        default = "" if statement.value is None else ast.unparse(statement.value)
        yield FieldRow(
            statement.target.id,
            _plain_type(ast.unparse(statement.annotation)),
            _plain_default(default),
            description,
        )


def _plain_type(annotation: str) -> str:
    """An annotation without `Annotated`, with the range of a field as inequalities."""
    match = re.fullmatch(r"Annotated\[(.*), (Field\(.*\)|\w+\(.*\))\](.*)", annotation, re.DOTALL)
    if match is None:
        return annotation
    signs = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    limits = re.findall(r"\b(gt|ge|lt|le)=([-\d._]+)", match[2])
    length = re.findall(r"\b(min|max)_length=([\d_]+)", match[2])
    ranges = [f"{signs[name]} {number.replace('_', ',')}" for name, number in limits]
    ranges += [f"{name}. length {number.replace('_', ',')}" for name, number in length]
    return ", ".join([f"{match[1]}{match[3]}", *ranges])


def _plain_default(default: str) -> str:
    factory = re.search(r"default_factory=(?:lambda: )?(.*)\)$", default)
    text = factory[1] if factory else default
    return {"dict": "{}", "None": ""}.get(text, "" if re.fullmatch(r"\w+\(\)", text) else text)


def nested_classes(cls: type) -> list[tuple[str, type]]:
    """Field name and class of every field that holds classes with fields of their own."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return [
        (name, found)
        for name, hint in hints.items()
        for found in _classes_in(hint)
        if not name.startswith("_")
    ]


def _classes_in(hint: object) -> Iterator[type]:
    if isinstance(hint, type) and not typing.get_args(hint):
        if dataclasses.is_dataclass(hint) or hasattr(hint, "model_fields"):
            yield hint
        return
    for argument in typing.get_args(hint):
        yield from _classes_in(argument)
