"""README and hand-written pages name only what exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import reference_tables

from document_blocks import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    path
    for folder in ("tutorials", "how-to", "explanation", "reference", "runbooks")
    for path in sorted((ROOT / "docs" / folder).glob("*.md"))
]
DOCUMENTS = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md"))]
COMMAND_LINE_VARIABLES = {"PINPOINT_SERVER", "PINPOINT_KEY", "PINPOINT_ORG", "PINPOINT_STACK"}


def test_readme_is_at_most_150_lines_long():
    assert len(README.splitlines()) <= 150


def test_readme_shows_one_image_with_alternative_text():
    (picture,) = re.findall(r"^!\[.+?\]\((.+?)\)", README, re.MULTILINE)
    assert (ROOT / picture).is_file()
    caption = README[README.index(picture) :].split("\n\n")[1]
    assert "synthetic" in caption


def test_readme_has_examples_for_shell_http_and_python():
    blocks = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
    text = "".join(code for _, code in blocks)
    for example in ("make demo", "make test", "pinpoint locate", "curl ", "client.locate("):
        assert example in text


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document_links_to_files_that_exist(path):
    generated = {f"{name}.md" for name in _generated_pages()}
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]*)?\)", path.read_text(encoding="utf-8")):
        linked = (path.parent / target).resolve()
        is_generated = linked.parent == ROOT / "docs" / "reference" and linked.name in generated
        assert is_generated or linked.exists(), target


def _generated_pages() -> set[str]:
    import generate_reference

    return set(generate_reference.PAGES)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document_names_commands_that_exist(path):
    names = {name for name, _ in reference_tables.commands()}
    groups = {name.rsplit(" ", 1)[0] for name in names if name.count(" ") == 2}
    text = path.read_text(encoding="utf-8")
    named = re.findall(
        r"(?:^|[`(]|\$\(|&& )(?:\$ )?pinpoint ((?:[a-z][a-z-]* ?){1,2})", text, re.MULTILINE
    )
    for words in named:
        first, *rest = words.split()
        command = f"pinpoint {first}"
        assert command in names | groups, words
        if command in groups and rest:
            assert f"{command} {rest[0]}" in names, words


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document_uses_options_of_the_named_command(path):
    options = {
        name: {
            option for param in command.params for option in (*param.opts, *param.secondary_opts)
        }
        for name, command in reference_tables.commands()
    }
    for _, code in re.findall(r"```(bash|\n)(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
        for line in code.replace("\\\n", " ").splitlines():
            for part in re.findall(r"pinpoint [^|>;)]*", line):
                words = part.split()
                name = next(
                    (" ".join(words[:n]) for n in (3, 2) if " ".join(words[:n]) in options), ""
                )
                if name:
                    used = {word for word in words if re.fullmatch(r"--[a-z-]+", word)}
                    assert used <= options[name] | {"--help"}, part


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_document_names_make_targets_that_exist(path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)\b", re.sub(r"```python.*?```", "", path.read_text())))
    named &= {
        word
        for word in named
        if f"`make {word}" in path.read_text() or f"\nmake {word}" in path.read_text()
    }
    assert named <= targets


def test_architecture_names_every_package_and_module():
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    names = {
        path.stem
        for path in (ROOT / "platform" / "pinpoint").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert {"records", "store"} <= names
    assert [name for name in sorted(names - {"__init__"}) if f"`{name}`" not in text] == []


def test_code_reads_no_variable_that_is_not_a_setting():
    known = {name for name, _, _ in reference_tables.setting_fields()} | COMMAND_LINE_VARIABLES
    unknown = {}
    for path in [*(ROOT / "platform").rglob("*.py"), *(ROOT / "workers").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for name in re.findall(r"\bPINPOINT_[A-Z_]*[A-Z]\b", node.value):
                    if name not in known:
                        unknown[name] = str(Path(path).relative_to(ROOT))
    assert unknown == {}


def test_problem_titles_cover_every_error_class():
    from pinpoint.api.problems import TITLES, build_type

    assert {kind.reason for kind in reference_tables.error_classes()} <= set(TITLES)
    rows = {str(row[0]).strip("`") for row in reference_tables.error_rows()}
    assert rows == {build_type(kind) for kind in TITLES}
