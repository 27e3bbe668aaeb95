"""Imports: no cycles, and the search flow is used through its public modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("platform/pinpoint", "workers/pinpoint_workers")

# Modules of `pinpoint.search` that code outside it may import, and why. The others are stages.
PUBLIC_SEARCH = {
    "pinpoint.search.pipeline": "the flows `locate` and `similar`, and the names of their rankers",
    "pinpoint.search.coordinate_pipeline": "the flow without a gallery",
    "pinpoint.search.gallery_search": "the flow `search`",
    "pinpoint.search.query_vector": "the parts of a search; the API parses them",
    "pinpoint.search.search_trace": "the trace of a query; the API explains an answer by it",
    "pinpoint.search.candidates_and_evidence": "the stage that serving, evaluation and training "
    "share",
    "pinpoint.search.candidate_slots": "the slot rule; training applies it to cached candidates",
    "pinpoint.search.consistency": "rejects the index of another bundle before a long run",
    "pinpoint.search.context": "the records that callers pass to the flows",
    "pinpoint.search.posterior": "evaluation fits the calibration of these functions",
    "pinpoint.search.protected_answer": "the flow `locate` for callers that may not see everything",
    "pinpoint.search.stopwatch": "measures the stages of a caller, too",
    "pinpoint.search.verifier": "one for each process; the API orders its matches",
}
# These are no stages: every stage may import them.
SHARED_BY_STAGES = {
    "pinpoint.search": {
        "pinpoint.search.candidate_slots",
        "pinpoint.search.query_features",
        "pinpoint.search.context",
        "pinpoint.search.search_trace",
        "pinpoint.search.stopwatch",
        "pinpoint.search.verifier",
        "pinpoint.search.visible_hits",
    },
    "pinpoint.ingest": set(),
}
# These modules call the stages in order.
PIPELINES = {
    "pinpoint.search": {
        "pinpoint.search.pipeline",
        "pinpoint.search.coordinate_pipeline",
        "pinpoint.search.gallery_search",
        "pinpoint.search.query_vector",
        "pinpoint.search.candidates_and_evidence",
        "pinpoint.search.protected_answer",
    },
    "pinpoint.ingest": {"pinpoint.ingest.pipeline"},
}

Graph = dict[str, dict[str, int]]
"""Module, imported module, line of the import."""


@cache
def product_modules() -> dict[str, Path]:
    modules = {}
    for package in PACKAGES:
        folder = ROOT / package
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder.parent).with_suffix("").parts
            modules[".".join(parts).removesuffix(".__init__")] = path
    return modules


def imported_names(tree: ast.Module) -> Iterator[tuple[int, str, str | None]]:
    """Line, module and name of every import: also in functions and under `TYPE_CHECKING`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, None
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            for alias in node.names:
                yield node.lineno, node.module or "", alias.name


def build_graph(sources: dict[str, str]) -> Graph:
    """The import graph of modules, given their source text."""
    graph: Graph = {}
    for module, text in sources.items():
        edges: dict[str, int] = {}
        for line, imported, name in imported_names(ast.parse(text)):
            # `from package import module` imports the module; otherwise it imports from a module.
            target = f"{imported}.{name}" if f"{imported}.{name}" in sources else imported
            if target in sources:
                edges.setdefault(target, line)
        graph[module] = edges
    return graph


def reachable(graph: Graph, start: str) -> set[str]:
    visited: set[str] = set()
    pending = list(graph[start])
    while pending:
        module = pending.pop()
        if module not in visited:
            visited.add(module)
            pending += graph[module]
    return visited


def find_cycles(graph: Graph) -> set[frozenset[str]]:
    """Strongly connected components of more than one module, and modules that import themselves."""
    reached = {module: reachable(graph, module) for module in graph}
    return {
        frozenset(other for other in reached[module] if module in reached[other])
        for module in graph
        if module in reached[module]
    }


@cache
def product_graph() -> Graph:
    return build_graph({module: path.read_text() for module, path in product_modules().items()})


def test_find_cycles_finds_type_checking_and_function_level_imports():
    sources = {
        "a": "if TYPE_CHECKING:\n    from b import B",
        "b": "def f():\n    import c",
        "c": "from a import A",
        "d": "from a import A",
        "p": "from p import q",
        "p.q": "import a",
    }
    assert find_cycles(build_graph(sources)) == {frozenset({"a", "b", "c"})}
    assert find_cycles(build_graph({"a": "from a import x"})) == {frozenset({"a"})}


def test_product_has_no_import_cycles():
    graph = product_graph()
    assert len(graph) > 300
    report = [
        f"{path.relative_to(ROOT)}:{line}: {module} imports {target}, in a cycle"
        for cycle in find_cycles(graph)
        for module in sorted(cycle)
        for target, line in graph[module].items()
        if target in cycle
        for path in [product_modules()[module]]
    ]
    assert not report, "\n".join(["", *report])


@pytest.mark.parametrize("flow", ["pinpoint.ingest", "pinpoint.search"])
def test_stages_of_a_flow_do_not_call_each_other(flow):
    graph = product_graph()
    assert PIPELINES[flow] <= set(graph)
    assert SHARED_BY_STAGES[flow] <= set(graph)
    not_stages = PIPELINES[flow] | SHARED_BY_STAGES[flow] | {flow}
    stages = [m for m in graph if m.startswith(f"{flow}.") and m not in not_stages]
    assert len(stages) > 5
    report = [
        f"{module} imports its sibling {target}, line {line}"
        for module in [*stages, *SHARED_BY_STAGES[flow]]
        for target, line in graph[module].items()
        if target.startswith(f"{flow}.") and target not in SHARED_BY_STAGES[flow]
    ]
    assert not report, "\n".join(["", *report])


def test_other_packages_import_only_the_public_modules_of_search():
    graph = product_graph()
    imports = {
        (module, target, line)
        for module, edges in graph.items()
        if not module.startswith("pinpoint.search")
        for target, line in edges.items()
        if target.startswith("pinpoint.search")
    }
    report = [
        f"{module} imports {target}, line {line}"
        for module, target, line in sorted(imports)
        if target not in PUBLIC_SEARCH
    ]
    assert not report, "\n".join(["", *report])
    assert {target for _, target, _ in imports} == set(PUBLIC_SEARCH), "an unused public module"


def test_training_and_evaluation_do_not_import_stages_behind_the_shared_stage():
    """The listed modules, too, must not pass a stage on: names come from where they are defined."""
    public = {module: product_modules()[module].read_text() for module in PUBLIC_SEARCH}
    defined = {
        module: {
            name
            for node in ast.parse(text).body
            for name in (
                [node.name]
                if isinstance(node, ast.FunctionDef | ast.ClassDef)
                else [t.id for t in ast.walk(node) if isinstance(t, ast.Name)]
                if isinstance(node, ast.Assign | ast.AnnAssign)
                else []
            )
        }
        for module, text in public.items()
    }
    report = []
    for module, path in product_modules().items():
        if module.startswith(("pinpoint.training", "pinpoint.evaluation")):
            for line, imported, name in imported_names(ast.parse(path.read_text())):
                if imported in defined and name not in defined[imported]:
                    report.append(f"{module}:{line}: {imported} does not define {name}")
    assert not report, "\n".join(["", *report])
