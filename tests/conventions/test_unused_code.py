"""No public function or class exists for tests only: `platform`, `workers` or `migrations` use it.

References are resolved through imports, so that an equal name in another module does not count. A
decorated function counts as used: its decorator registers it (a route, a command, a task).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("platform", "workers")
PRODUCT = ("pinpoint.", "pinpoint_workers.")
"""Where a definition needs a use; Alembic calls those of the migrations by name."""
ENTRY_POINT = re.compile(r"([a-z_]+(?:\.[a-z_]+)+):([A-Za-z_]+)")

Symbol = tuple[str, str]
"""Module and name."""

ALLOWED: dict[Symbol, str] = {
    ("pinpoint", "connect"): "the Python client's entry point",
    ("pinpoint.metrics.intervals", "ratio"): "share of a closed gap, in trials",
    ("pinpoint.nets.geoclip.network", "encode_positions"): "GeoCLIP's own places, in the bench",
    ("pinpoint.stack.supervisor.lifecycle", "erase_stack"): "removes the stacks that tests start",
}
"""Symbols that nothing in the code uses, with the reason."""


@dataclass
class Module:
    name: str
    tree: ast.Module
    modules: dict[str, str] = field(default_factory=dict)
    """Imported modules by local name."""
    symbols: dict[str, set[Symbol]] = field(default_factory=dict)
    """Imported names by local name; functions may import different ones under one name."""


def _read_modules() -> dict[str, Module]:
    files = [
        (folder, path)
        for folder in (*(ROOT / package for package in PACKAGES), ROOT / "migrations")
        for path in sorted(folder.rglob("*.py"))
    ]
    parsed = {}
    for folder, path in files:
        parts = path.relative_to(folder).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        parsed[name] = Module(name, ast.parse(path.read_text(encoding="utf-8")))
    for module in parsed.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    module.modules[alias.asname or alias.name.split(".")[0]] = (
                        alias.name if alias.asname else alias.name.split(".")[0]
                    )
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    local, whole = alias.asname or alias.name, f"{node.module}.{alias.name}"
                    if whole in parsed:
                        module.modules[local] = whole
                    else:
                        module.symbols.setdefault(local, set()).add((node.module, alias.name))
    return parsed


def _list_public(modules: dict[str, Module]) -> Iterator[Symbol]:
    for module in modules.values():
        for node in module.tree.body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            is_registered = not isinstance(node, ast.ClassDef) and node.decorator_list
            if not is_registered and (
                not node.name.startswith("_") and f"{module.name}.".startswith(PRODUCT)
            ):
                yield module.name, node.name


def _resolve(symbol: Symbol, modules: dict[str, Module]) -> Symbol:
    """Follow re-exports to the module that defines a symbol."""
    while symbol[0] in modules and symbol[1] in modules[symbol[0]].symbols:
        (symbol,) = modules[symbol[0]].symbols[symbol[1]]
    return symbol


def _list_uses(module: Module) -> Iterator[Symbol]:
    for statement in module.tree.body:
        own_name = getattr(statement, "name", None)
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                if node.id != own_name:  # a recursive call is no use
                    yield from module.symbols.get(node.id, {(module.name, node.id)})
            elif isinstance(node, ast.Attribute):
                yield from _resolve_attribute(node, module)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from ENTRY_POINT.findall(node.value)
                yield from _parse_annotation(node.value, module)


def _resolve_attribute(node: ast.Attribute, module: Module) -> Iterator[Symbol]:
    """Symbol of `module.name` and of `package.module.name`."""
    parts = [node.attr]
    value: ast.expr = node.value
    while isinstance(value, ast.Attribute):
        parts.append(value.attr)
        value = value.value
    if isinstance(value, ast.Name) and value.id in module.modules:
        path = [module.modules[value.id], *reversed(parts)]
        yield ".".join(path[:-1]), path[-1]


def _parse_annotation(text: str, module: Module) -> Iterator[Symbol]:
    """Names of a quoted type, as in `cast("Record", …)`."""
    if len(text) < 80 and re.fullmatch(r"[\w.\[\], |]+", text):
        for name in re.findall(r"\w+", text):
            yield from module.symbols.get(name, ())


def find_unused() -> set[Symbol]:
    """Public symbols without a use outside of tests."""
    modules = _read_modules()
    used = {_resolve(use, modules) for module in modules.values() for use in _list_uses(module)}
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    used |= set(ENTRY_POINT.findall(project))
    return set(_list_public(modules)) - used


def test_public_symbols_are_used_outside_of_tests():
    unused = find_unused()
    assert unused - ALLOWED.keys() == set(), "used by tests only: delete, or move into the test"
    assert ALLOWED.keys() - unused == set(), "allowed, but used by the code: remove from the list"
