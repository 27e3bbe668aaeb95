"""Writes the models of answers from the OpenAPI document of the API.

    python clients/python/generate_answers.py

`tests/client` compares the files with the document, so that client and server cannot drift apart.
An enumeration becomes text and unknown fields are kept: an answer of a newer server stays readable.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

Schema = Mapping[str, Any]

MODEL_IMPORT: Final = "from pinpoint_client.answers.answer_model import AnswerModel"
FOLDER: Final = Path(__file__).parent / "pinpoint_client" / "answers"
GALLERY_PATHS: Final = (
    "/v1/batches",
    "/v1/coverage",
    "/v1/gaps",
    "/v1/images",
    "/v1/neighbors",
    "/v1/queries",
    "/v1/sources",
    "/health/",
)
MODULES: Final = {
    "gallery": ("application/json", GALLERY_PATHS),
    "candidates": ("application/json", ("CandidateOut", "PosteriorOut")),
    "queries": ("application/json", ("/v1/locate", "/v1/similar", "/v1/search")),
    "jobs": ("application/json", ("/v1/jobs",)),
    "reports": ("application/json", ("/v1/reports",)),
    "administration": ("application/json", ("/v1/",)),
    "features": ("application/geo+json", ("/v1/",)),
}
"""Module → media type, and beginnings of the paths of its routes or names of schemas; a model is in
the first module that needs it."""
PACKAGE: Final = '''"""Typed answers, generated from the OpenAPI document by `generate_answers.py`.

A model is imported when it is first used: `import pinpoint_client` stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
{imports}

_MODULES: Final = {modules}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {{__name__!r}} has no attribute {{name!r}}")
    return getattr(import_module(f"{{__name__}}.{{_MODULES[name]}}"), name)
'''
TYPES: Final = {"integer": "int", "number": "float", "boolean": "bool", "null": "None"}
FORMATS: Final = {"date-time": "datetime", "date": "date", "uuid": "UUID"}


def generate_modules(document: Schema) -> dict[str, str]:
    """Generate all modules.

    Args:
        document: OpenAPI document of the API.

    Returns:
        File name → source text.
    """
    schemas = document["components"]["schemas"]
    placed: dict[str, str] = {}
    sources = {}
    for module, (media_type, prefixes) in MODULES.items():
        names: list[str] = []
        for name in _list_answer_names(document, media_type, prefixes):
            _collect_names(name, schemas, names)
        new = [name for name in names if name not in placed]
        placed |= dict.fromkeys(new, module)
        if new:
            sources[f"{module}.py"] = _write_module(module, new, schemas, placed)
    sources["__init__.py"] = _write_package(placed)
    return {file: _format(text) for file, text in sources.items()}


def _list_answer_names(
    document: Schema, media_type: str, prefixes: tuple[str, ...]
) -> Iterator[str]:
    """Names of the models that successful answers of these routes contain, and named schemas."""
    yield from (name for name in prefixes if name in document["components"]["schemas"])
    for path, methods in document["paths"].items():
        if not path.startswith(prefixes):
            continue
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                if status.startswith("2"):
                    content = answer.get("content", {}).get(media_type, {})
                    yield from _references(content.get("schema", {}))


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if "$ref" in schema:
            yield schema["$ref"].rsplit("/", 1)[1]
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from _references(value)


def _collect_names(name: str, schemas: Schema, names: list[str]) -> None:
    """Add a model after the models that it contains."""
    if name in names:
        return
    for reference in _references(schemas[name]):
        if reference != name:
            _collect_names(reference, schemas, names)
    names.append(name)


def _class_name(name: str) -> str:
    return name.removesuffix("Out")


def _write_module(module: str, names: list[str], schemas: Schema, placed: Mapping[str, str]) -> str:
    body = "\n\n".join(_write_class(name, schemas[name]) for name in names)
    used = {reference for name in names for reference in _references(schemas[name])}
    imports = [
        f"from pinpoint_client.answers.{other} import {_class_name(name)}"
        for name in sorted(used)
        if (other := placed[name]) != module
    ]
    standard = [
        "from __future__ import annotations",
        *(["from datetime import datetime"] if "datetime" in body else []),
        *(["from typing import Any"] if "Any" in body else []),
        *(["from uuid import UUID"] if "UUID" in body else []),
    ]
    head = (
        f'"""Answers of {module}, generated from the OpenAPI document by `generate_answers.py`."""'
    )
    return "\n".join([head, "", *standard, "", MODEL_IMPORT, *imports, "", "", body, ""])


def _write_package(placed: Mapping[str, str]) -> str:
    modules = {_class_name(name): module for name, module in sorted(placed.items())}
    imports = [
        f"    from pinpoint_client.answers.{module} import {name} as {name}"
        for name, module in modules.items()
    ]
    return PACKAGE.format(imports="\n".join(imports), modules=json.dumps(modules))


def _write_class(name: str, schema: Schema) -> str:
    text = schema.get("description") or f"{_class_name(name)}."
    lines = [f"class {_class_name(name)}(AnswerModel):", *_docstring(text), ""]
    required = schema.get("required", [])
    for field, value in schema.get("properties", {}).items():
        annotation = to_annotation(value)
        if field not in required:
            optional = annotation if "None" in annotation.split(" | ") else f"{annotation} | None"
            annotation = f"{optional} = None"
        lines.append(f"    {field}: {annotation}")
        lines += _docstring(value["description"]) if "description" in value else []
    return "\n".join(lines)


def _docstring(text: str) -> list[str]:
    """Lines of a docstring; the first paragraph of the text only."""
    paragraph = " ".join(text.split("\n\n")[0].split()).replace("\\", "\\\\").replace('"', "'")
    return textwrap.wrap(
        f'"""{paragraph}"""',
        96,
        initial_indent="    ",
        subsequent_indent="    ",
        break_on_hyphens=False,
    )


def to_annotation(schema: Schema) -> str:
    """Python type of a JSON schema; `Any` for a schema without a type."""
    if "$ref" in schema:
        return _class_name(schema["$ref"].rsplit("/", 1)[1])
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " | ".join(dict.fromkeys(to_annotation(option) for option in schema[word]))
    kind = schema.get("type")
    if kind == "string":
        return FORMATS.get(schema.get("format", ""), "str")
    if kind == "array":
        if "prefixItems" in schema:
            return f"tuple[{', '.join(to_annotation(item) for item in schema['prefixItems'])}]"
        return f"list[{to_annotation(schema.get('items', {}))}]"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"dict[str, {to_annotation(values) if isinstance(values, Mapping) else 'Any'}]"
    return TYPES.get(str(kind), "Any")


def _format(text: str) -> str:
    """Sort the imports and format the text, as `make fmt` does."""
    for command in (["check", "--select", "I", "--fix", "--quiet"], ["format", "--quiet"]):
        name = str(FOLDER / "generated.py")
        text = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--stdin-filename", name, "-"],
            input=text,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return text


def main() -> None:
    """Write all modules."""
    # Imported here: the server's package is needed only to generate.
    from pinpoint.api.app import create_app

    for file, text in generate_modules(create_app().openapi()).items():
        (FOLDER / file).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
