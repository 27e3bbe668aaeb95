"""Facts of the code as Markdown tables: settings, commands, routes, errors, reasons, metrics.

`generate_reference.py` makes the reference pages from them; tests compare other pages with them.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import pairwise
from types import NoneType
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
        and group.__module__.startswith("pinpoint.")
        and getattr(group, "model_fields", None)
    ]


# --- commands -----------------------------------------------------------------------------------


@cache
def commands() -> tuple[tuple[str, Any], ...]:
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

    return tuple(walk("pinpoint", get_command(app)))


def command_usage(name: str, command: Any) -> str:
    """The command line: name and arguments, optional ones in brackets."""
    arguments = [
        param.name.upper() if param.required else f"[{param.name.upper()}]"
        for param in command.params
        if param.param_type_name == "argument"
    ]
    return " ".join([name, *arguments])


def option_rows(command: Any) -> Iterator[Cells]:
    """Names, default and help of every argument and option of a command."""
    for param in command.params:
        is_argument = param.param_type_name == "argument"
        names = [param.name.upper()] if is_argument else [*param.opts, *param.secondary_opts]
        is_plain = isinstance(param.default, int | float | str) and param.default is not False
        yield ", ".join(map(code, names)), code(param.default if is_plain else ""), param.help or ""


def command_examples(command: Any) -> list[str]:
    """Command lines of the section `Examples` of a command's help."""
    lines = (command.epilog or "").replace("\b", "").splitlines()
    return [line.strip() for line in lines if line.startswith("  ")]


# --- HTTP ---------------------------------------------------------------------------------------


@cache
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


def scope_rows() -> list[Cells]:
    """Each scope with its meaning and the roles that imply it."""
    from pinpoint.records.access import KEY_ROLES, SCOPE_MEANINGS

    return [
        (
            code(scope),
            meaning,
            ", ".join(code(role) for role, scopes in KEY_ROLES.items() if scope in scopes),
        )
        for scope, meaning in SCOPE_MEANINGS.items()
    ]


def access_rows() -> list[Cells]:
    """Methods, path and required access of every route, in the order of the application."""
    from pinpoint.api.app import ROUTE_MODULES
    from pinpoint.api.rules import read_rules
    from pinpoint.records import SCOPES

    words = {
        "any_key": "any valid key",
        "operator": "the operator",
        "metrics": "the operator, or the metrics token",
    }
    words |= {scope: code(scope) for scope in SCOPES}
    rules = {
        id(rule.route): words[rule.access]
        for rule in read_rules([module.router for module in ROUTE_MODULES])
    }
    rows: dict[tuple[str, str], list[str]] = {}
    for module in ROUTE_MODULES:
        for route in module.router.routes:
            access = rules.get(id(route), "no key")
            if route.methods != {"OPTIONS"}:
                rows.setdefault((route.path, access), []).extend(sorted(route.methods))
    return [
        (code(" ".join(methods)), code(path), access) for (path, access), methods in rows.items()
    ]


# --- errors -------------------------------------------------------------------------------------

_ONLY_HTTP = {
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "unsupported_media_type": 415,
    "request_timeout": 408,
    "range_not_satisfiable": 416,
    "overloaded": 503,
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
    from pinpoint.api.problems import STATUS, TITLES, build_type
    from pinpoint.cli.exit_codes import EXIT_CODES

    classes = error_classes()
    rows: list[Cells] = [
        (
            f"`{build_type(kind.reason)}`",
            STATUS[kind],
            int(EXIT_CODES[kind]),
            TITLES[kind.reason],
        )
        for kind in classes
    ]
    reasons = {kind.reason for kind in classes}
    rows += [
        (f"`{build_type(reason)}`", _ONLY_HTTP[reason], "", title)
        for reason, title in TITLES.items()
        if reason not in reasons
    ]
    return rows


def exit_code_rows() -> list[tuple[int, str]]:
    """Every exit code of the command line with its meaning."""
    from pinpoint.cli.exit_codes import (
        EXIT_CODES,
        FAILED_ITEMS,
        INTERNAL,
        INTERRUPTED,
        INVALID_DOSSIER,
        STACK_NOT_UP,
        USAGE,
    )
    from pinpoint.errors import ForbiddenError

    meanings = {
        0: "The command succeeded.",
        int(STACK_NOT_UP): "`pinpoint status`: the stack is not up.",
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
    meanings[int(INVALID_DOSSIER)] += ", or `verify-dossier` found a problem"
    return sorted(meanings.items())


# --- fields of configuration and contract classes -----------------------------------------------


class FieldRow(NamedTuple):
    """One field of a class: name, type with range, default and description."""

    name: str
    type: str
    default: str
    description: str


def field_rows(cls: type) -> list[FieldRow]:
    """Fields of a pydantic model or dataclass, with the docstrings that follow them in the source.

    Args:
        cls: A pydantic model, or a dataclass of pydantic or of the standard library.
    """
    docstrings = _field_docstrings(cls)
    hints = typing.get_type_hints(cls, include_extras=True)
    fields: dict[str, Any] = getattr(cls, "__pydantic_fields__", None) or {
        field.name: field for field in dataclasses.fields(cls)
    }
    return [
        FieldRow(
            name,
            ", ".join([describe_type(hints[name]), *_ranges(getattr(field, "metadata", ()))]),
            _describe_default(field),
            docstrings.get(name, ""),
        )
        for name, field in fields.items()
        if not name.startswith("_")
    ]


def _field_docstrings(cls: type) -> dict[str, str]:
    """Docstring of each field; those of a subclass replace those of its bases."""
    docstrings: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not base.__module__.startswith("pinpoint"):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body  # type: ignore[attr-defined]
        for statement, following in pairwise(body):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
            ):
                docstrings[statement.target.id] = inspect.cleandoc(str(following.value.value))
    return docstrings


def describe_type(hint: Any) -> str:
    """A type in words: `float`, `photo or street`, `list of str`, `map of str to float`."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return describe_type(arguments[0])
    if origin is typing.Literal:
        return " or ".join(code(argument) for argument in arguments)
    if origin in (typing.Union, types.UnionType):
        kinds = [describe_type(argument) for argument in arguments if argument is not NoneType]
        return " or ".join(dict.fromkeys(kinds))
    if origin in (tuple, list, Sequence):
        items = [argument for argument in arguments if argument is not Ellipsis]
        return f"list of {' and '.join(dict.fromkeys(describe_type(item) for item in items))}"
    if origin in (dict, Mapping):
        return f"map of {describe_type(arguments[0])} to {describe_type(arguments[1])}"
    name = getattr(hint, "__name__", str(hint))
    return f"table {name}" if _has_fields(hint) else {"Path": "path"}.get(name, name)


_SIGNS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def _ranges(metadata: Iterable[object]) -> Iterator[str]:
    for constraint in metadata:
        for name, sign in _SIGNS.items():
            if (limit := getattr(constraint, name, None)) is not None:
                yield f"{sign} {limit:,}"


def _describe_default(field: Any) -> str:
    factory = getattr(field, "default_factory", None)
    default = factory() if callable(factory) else getattr(field, "default", None)
    if default is None or default in ((), {}) or repr(default).endswith("Undefined"):
        return ""
    if dataclasses.is_dataclass(default) or hasattr(default, "model_dump"):
        return ""
    return "" if default is dataclasses.MISSING else code(default)


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
        if _has_fields(hint):
            yield hint
        return
    for argument in typing.get_args(hint):
        yield from _classes_in(argument)


def _has_fields(hint: object) -> bool:
    return dataclasses.is_dataclass(hint) or hasattr(hint, "model_fields")
