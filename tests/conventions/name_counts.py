"""Counts names that say little: one-word private functions, filler identifiers, shared class names.

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
    public_classes: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
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
    def shared_class_names(self) -> dict[str, set[str]]:
        """Names of public classes and type aliases that several modules define."""
        return {name: where for name, where in self.public_classes.items() if len(where) > 1}


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
        _count_classes(tree, module, counts)
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


def _count_classes(tree: ast.Module, module: str, counts: NameCounts) -> None:
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            counts.public_classes[node.name].add(module)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            # A type alias is written like a class; TypeVars of one letter are not counted.
            if re.fullmatch(r"[A-Z][a-z]\w*", name):
                counts.public_classes[name].add(module)


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
        f"shared class names         {len(counts.shared_class_names):5}\n"
        f"long functions             {len(counts.long_functions):5}\n"
    )
    if options.list:
        for line in (*counts.one_word_private_functions, *counts.filler_bindings):
            write(f"{line}\n")
        for name, modules in sorted(counts.shared_class_names.items()):
            write(f"{name}: {', '.join(sorted(modules))}\n")
        for name, (lines, parameters) in sorted(counts.long_functions.items()):
            write(f"{name}: {lines} lines, {parameters} parameters\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
