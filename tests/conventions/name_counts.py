"""Counts weak names: one-word private functions, filler identifiers, shared public names.

python tests/conventions/name_counts.py           # the counts
python tests/conventions/name_counts.py --list    # every occurrence
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("platform", "workers", "migrations")
ENTRY_POINTS = ("platform/pinpoint/cli/", "platform/pinpoint/api/v1/", "workers/")
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 7

FILLER_NAMES = frozenset(
    {"found", "each", "one", "own", "said", "of", "places", "asked", "wanted", "known", "held"}
    | {"told", "given", "left", "there", "here", "taken", "made", "done", "seen", "kept"}
    | {"shown", "whole", "apart", "beside"}
)
"""Identifiers that do not say what they hold."""

ONE_WORD_FUNCTIONS = frozenset({"_run", "_main"})
"""Private functions whose one word is the established name of what they do."""


@dataclass(slots=True)
class NameCounts:
    """Result of one pass over the code."""

    private_functions: int = 0
    one_word_private_functions: list[str] = field(default_factory=list)
    bindings: int = 0
    filler_bindings: list[str] = field(default_factory=list)
    public_names: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Module-level public name to the files that define it."""
    long_functions: dict[str, tuple[int, int]] = field(default_factory=dict)
    """`path:function` to lines without docstring and parameters, of those over a limit."""

    @property
    def one_word_share(self) -> float:
        """Share of the private functions whose name is one word, 0 to 1."""
        return len(self.one_word_private_functions) / max(self.private_functions, 1)

    @property
    def filler_share(self) -> float:
        """Share of the bindings that are filler identifiers, 0 to 1."""
        return len(self.filler_bindings) / max(self.bindings, 1)

    @property
    def shared_names(self) -> dict[str, list[str]]:
        """Public names that several modules define, with these modules.

        A function of an entry point (command, route, task) may have the name of the function of
        the flow that it calls.
        """
        shared = {}
        for name, modules in self.public_names.items():
            inner = [module for module in modules if not module.startswith(ENTRY_POINTS)]
            if len(inner) > 1 or (len(modules) > 1 and not name.islower()):
                shared[name] = sorted(modules)
        return shared


def list_product_files(root: Path = ROOT) -> list[Path]:
    """Every Python file that is installed, and the migrations."""
    return sorted(
        path
        for package in PACKAGES
        for path in (root / package).rglob("*.py")
        if "__pycache__" not in path.parts
    )


def count_names(paths: Iterable[Path], root: Path = ROOT) -> NameCounts:
    """Count the names in some files.

    Args:
        paths: Python files.
        root: Paths in the result are relative to it.
    """
    counts = NameCounts()
    for path in paths:
        module = path.relative_to(root).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"), module)
        _count_functions(tree, module, counts)
        if not module.startswith("migrations/"):
            _count_public_names(tree, module, counts)
        for name, line in _iterate_bindings(tree):
            counts.bindings += 1
            if name in FILLER_NAMES:
                counts.filler_bindings.append(f"{module}:{line}: {name}")
    return counts


def _count_functions(tree: ast.Module, module: str, counts: NameCounts) -> None:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        lines, parameters = _measure_function(node)
        if lines > MAX_FUNCTION_LINES or parameters > MAX_PARAMETERS:
            counts.long_functions[f"{module}:{node.name}"] = (lines, parameters)
        if not node.name.startswith("_") or node.name.startswith("__"):
            continue
        counts.private_functions += 1
        if re.fullmatch(r"_[a-z0-9]+", node.name) and node.name not in ONE_WORD_FUNCTIONS:
            counts.one_word_private_functions.append(f"{module}:{node.lineno}: {node.name}")


def _measure_function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[int, int]:
    """Lines without the docstring, and parameters without `self` and `cls`."""
    has_docstring = ast.get_docstring(node) is not None
    first = node.body[0]
    docstring_lines = ((first.end_lineno or 0) - first.lineno + 1) * has_docstring
    arguments = node.args
    names = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    parameters = [name for name in names if name.arg not in ("self", "cls")]
    return (node.end_lineno or 0) - node.lineno + 1 - docstring_lines, len(parameters)


def _count_public_names(tree: ast.Module, module: str, counts: NameCounts) -> None:
    for node in tree.body:
        for name in _list_defined_names(node):
            if not name.startswith("_"):
                counts.public_names[name].add(module)


def _list_defined_names(node: ast.stmt) -> list[str]:
    """Names that a statement of a module defines, without imports and type variables."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    targets: list[ast.expr] = []
    if isinstance(node, ast.AnnAssign):
        targets = [node.target]
    elif isinstance(node, ast.Assign) and not _is_type_variable(node.value):
        targets = node.targets
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _is_type_variable(value: ast.expr) -> bool:
    return (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Name)
        and value.func.id in ("TypeVar", "ParamSpec")
    )


def _iterate_bindings(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Variables and parameters, without those of comprehensions."""
    in_comprehension = {
        id(name)
        for node in ast.walk(tree)
        if isinstance(node, ast.comprehension)
        for name in ast.walk(node.target)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            if id(node) not in in_comprehension:
                yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno


def main(arguments: list[str] | None = None) -> int:
    """Print the counts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="print every occurrence")
    parser.add_argument("paths", nargs="*", type=Path, help="files or folders (default: all)")
    options = parser.parse_args(arguments)
    paths = [
        file
        for path in options.paths
        for file in ([path.resolve()] if path.is_file() else sorted(path.resolve().rglob("*.py")))
    ]
    counts = count_names(paths or list_product_files())
    write = sys.stdout.write
    write(
        f"one-word private functions {len(counts.one_word_private_functions):5} of "
        f"{counts.private_functions} ({counts.one_word_share:.1%})\n"
        f"filler identifiers         {len(counts.filler_bindings):5} of "
        f"{counts.bindings} ({counts.filler_share:.1%})\n"
        f"shared public names        {len(counts.shared_names):5}\n"
        f"long functions             {len(counts.long_functions):5}\n"
    )
    if options.list:
        for line in (*counts.one_word_private_functions, *counts.filler_bindings):
            write(f"{line}\n")
        for name, modules in sorted(counts.shared_names.items()):
            write(f"{name}: {', '.join(modules)}\n")
        for name, (lines, parameters) in sorted(counts.long_functions.items()):
            write(f"{name}: {lines} lines, {parameters} parameters\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
