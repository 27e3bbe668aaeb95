"""Writes the pages of the reference from the code: an mkdocs hook, and a program.

`mkdocs build` calls `on_files`. `python docs/hooks/generate_reference.py FOLDER` writes the same
pages as Markdown files, for reading without a site.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import reference_tables as tables
from reference_tables import code, table

GENERATED = "*This page is generated from the code of the version that it documents.*"


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages to the site; called by mkdocs."""
    from mkdocs.structure.files import File

    for name, make in PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=make()))
    return files


def settings_page() -> str:
    """Every setting: variable, default, meaning."""
    parts = [
        _title("Settings"),
        "Settings are environment variables, or lines of the file `settings.toml` in the home "
        "(names without `PINPOINT_`, in lower case). The environment takes precedence over the "
        "file. [Change settings](../how-to/change-settings.md) explains the commands.",
        table(
            ("variable", "default", "meaning"),
            [(code(name), code(default), text) for name, default, text in tables.setting_fields()],
        ),
        "The command line also reads `PINPOINT_SERVER`, `PINPOINT_KEY` and `PINPOINT_ORG` in place "
        "of `--server`, `--key` and `--org`. The file cannot contain them or `PINPOINT_HOME`.",
    ]
    return _join(parts)


def cli_page() -> str:
    """Every command with its help, arguments, options and examples."""
    parts = [
        _title("Commands"),
        "All commands take `--json`. Most take `--server URL --key KEY` and then call that API "
        "instead of the embedded stack. `--home FOLDER`, before the command, selects the stack. "
        "Ids may be shortened to their first digits, six or more. "
        "Exit codes are listed under [Errors and exit codes](errors.md#exit-codes).",
        table(
            ("command", "what it does"),
            [
                (f"[`{name}`](#{name.replace(' ', '-')})", _first_line(command.help))
                for name, command in tables.commands()
            ],
        ),
    ]
    for group, members in groupby(tables.commands(), key=lambda item: item[0].split()[1]):
        for name, command in members:
            parts += [f"## {name}", f"    {tables.command_usage(name, command)}"]
            parts += [_dedent(command.help or "")]
            parts += [
                table(("argument or option", "default", "meaning"), tables.option_rows(command))
            ]
            if examples := tables.command_examples(command):
                parts += ["Examples:", _block("bash", "\n".join(examples))]
        assert group
    return _join(parts)


def http_page() -> str:
    """Every route with parameters, body and answer, and every schema of the OpenAPI document."""
    document = tables.openapi()
    parts = [
        _title("HTTP API"),
        "The full OpenAPI document is at `/openapi.json` of a running API. Requests carry a key: "
        "`Authorization: Bearer KEY`. Errors are problem documents "
        "([RFC 9457](errors.md)). Every response has the header `X-Request-ID`.",
        table(
            ("route", "what it does"),
            [(code(f"{method} {path}"), text) for method, path, text in tables.routes()],
        ),
    ]
    for path, methods in document["paths"].items():
        for method, route in methods.items():
            parts += list(_route_section(method.upper(), path, route))
    parts.append("## Schemas")
    for name, schema in document["components"]["schemas"].items():
        rows = list(_property_rows(schema))
        if rows:
            parts += [f"### {name}", _dedent(schema.get("description", ""))]
            parts.append(table(("field", "type", "meaning"), rows))
    return _join(parts)


def _route_section(method: str, path: str, route: dict[str, Any]) -> Iterator[str]:
    yield f"### {method} {path}"
    yield _dedent(route.get("description") or route["summary"])
    rows = [
        (
            code(item["name"]),
            item["in"],
            _schema_type(item["schema"]),
            _meaning(item["schema"], item),
        )
        for item in route.get("parameters", ())
    ]
    if rows:
        yield table(("parameter", "in", "type", "meaning"), rows)
    for kind, content in route.get("requestBody", {}).get("content", {}).items():
        if "$ref" in content["schema"]:
            yield f"Body (`{kind}`): {_schema_type(content['schema'])}"
        else:
            yield f"Body (`{kind}`):"
            yield table(("field", "type", "meaning"), _property_rows(content["schema"]))
    for status, response in route["responses"].items():
        for kind, content in response.get("content", {}).items():
            if status.startswith("2"):
                yield f"Answer {status} (`{kind}`): {_schema_type(content.get('schema', {}))}"


def _property_rows(schema: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    required = set(schema.get("required", ()))
    for name, field in schema.get("properties", {}).items():
        suffix = " (required)" if name in required and "anyOf" not in field else ""
        yield code(name), _schema_type(field) + suffix, _meaning(field)


def _meaning(schema: dict[str, Any], item: dict[str, Any] | None = None) -> str:
    text: str = schema.get("description") or (item or {}).get("description", "")
    if schema.get("default") not in (None, "", []):
        text += f" Default: `{json.dumps(schema['default'])}`."
    return text.strip()


def _schema_type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_schema_type(option) for option in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(code(value) for value in schema["enum"])
    if "const" in schema:
        return code(schema["const"])
    if schema.get("type") == "array":
        return f"list of {_schema_type(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map of text to {_schema_type(schema['additionalProperties'])}"
    return str(schema.get("format") or schema.get("type") or "any")


def scopes_page() -> str:
    """Every scope and role, and the scope of every route."""
    from pinpoint.records.access import KEY_ROLES

    parts = [
        _title("Scopes and roles"),
        "An API key has scopes. A role is a name for some of them; the scopes of its role are "
        "stored with the key when it is created. "
        "[Keys, roles and audit](../how-to/organizations-and-keys.md) explains the commands.",
        "## Scopes",
        table(("scope", "permits", "roles"), tables.scope_rows()),
        "## Roles",
        table(
            ("role", "scopes"),
            [(code(role), ", ".join(map(code, scopes))) for role, scopes in KEY_ROLES.items()],
        ),
        "## Routes",
        "A request without a valid key gets 401, and one whose key lacks the scope gets 403. The "
        "id of another organization's row gets the same 404 as an unknown id. The operator of the "
        "stack may call every route, on the machine itself. `OPTIONS` needs no key.",
        table(("method", "route", "needs"), tables.access_rows()),
    ]
    return _join(parts)


def errors_page() -> str:
    """Problem types with HTTP status and exit code; exit codes with their meaning."""
    parts = [
        _title("Errors and exit codes"),
        "Every error of the API is a problem document (RFC 9457, `application/problem+json`) of "
        "one of these types, with a `detail` for people and a `request_id`. `reason` is a stable "
        "identifier, at least as precise as the type. The command line prints the detail as one "
        "line on stderr and ends with the exit code.",
        "## Problem types",
        table(("type", "HTTP", "exit code", "meaning"), tables.error_rows()),
        "## Exit codes",
        table(("exit code", "meaning"), tables.exit_code_rows()),
    ]
    return _join(parts)


def reasons_page() -> str:
    """Reasons for rejected files, and for files that a worker gave up."""
    from pinpoint.api.status_collector import WORKER_CODES
    from pinpoint.media.checks import REASONS

    parts = [
        _title("Rejection reasons"),
        "A file that cannot be used is listed in its batch with the stage and one of these "
        "reasons. It never stops the batch. `decoder_crashed`, `out_of_memory` and `timeout` end "
        "as `failed`, which `pinpoint batches retry` processes again; all others end as "
        "`rejected`. [Hostile files](../explanation/hostile-files.md) lists every limit.",
        "## Reasons of the reader",
        table(("reason", "meaning"), [(code(name), text) for name, text in REASONS.items()]),
        "## Reasons of the workers",
        "These files end as `failed`, `rejected` or `canceled` by the work on them, not by their "
        "content: " + ", ".join(map(code, WORKER_CODES)) + ". The item's message has the cause, "
        "and for `internal_error` the log of the workers has the traceback. "
        "[Ingest photos](../how-to/ingest-photos.md#failed-files) explains what to do.",
    ]
    return _join(parts)


def metrics_page() -> str:
    """Every metric with labels, meaning and alert."""
    from pinpoint.api.metrics import METRICS

    parts = [
        _title("Metrics"),
        "`GET /metrics` returns these metrics in the Prometheus text format, over all "
        "organizations. [Monitor](../how-to/monitor.md) explains access and the first alerts.",
        table(
            ("metric", "labels", "meaning", "alert if"),
            [(code(m.name), m.labels, m.meaning, m.alert) for m in METRICS],
        ),
    ]
    return _join(parts)


def training_page() -> str:
    """Every key of the TOML files of training runs."""
    from pinpoint.training.core.configs import EmbedderConfig
    from pinpoint.training.reranker.config import RerankerConfig

    parts = [
        _title("Training configuration"),
        "A training run reads one TOML file. Unknown keys and values out of range are errors "
        "before any data is read. Relative paths are relative to the folder of the file.",
    ]
    for title, command, model in (
        ("Embedder", "pinpoint train embedder", EmbedderConfig),
        ("Reranker", "pinpoint train reranker", RerankerConfig),
    ):
        parts += [f"## {title}", f"`{command} --config FILE`"]
        parts += list(_class_sections(model, title.lower()))
    return _join(parts)


def bundle_page() -> str:
    """Every key of `contract.json` and of a calibration file."""
    from pinpoint.nets.bundle.contract import BundleContract
    from pinpoint.records.calibration import Calibration

    parts = [
        _title("Bundle contract"),
        "A bundle is a folder with `contract.json`, the safetensors files that it names, and "
        "optional calibration files `calibration-<ranker>.json`. `pinpoint bundles verify` checks "
        "the digests. Python code is never loaded from a bundle.",
        "## contract.json",
        *_class_sections(BundleContract, "contract"),
        "## calibration-<ranker>.json",
        *_class_sections(Calibration, "calibration"),
    ]
    return _join(parts)


def _class_sections(cls: type, path: str) -> Iterator[str]:
    """A table of fields for a class, then one for each class that its fields hold."""
    yield _dedent((cls.__doc__ or "").split("\n\n")[0])
    rows = [
        (
            code(row.name),
            row.type,
            row.default,
            row.description,
        )
        for row in tables.field_rows(cls)
    ]
    yield table(("key", "type", "default", "meaning"), rows)
    for name, nested in tables.nested_classes(cls):
        yield f"### {path}.{name} ({nested.__name__})"
        yield from _class_sections(nested, f"{path}.{name}")


def _title(text: str) -> str:
    return f"# {text}\n\n{GENERATED}"


def _first_line(text: str | None) -> str:
    return (text or "").strip().split("\n")[0]


def _dedent(text: str) -> str:
    lines = [line.strip() for line in text.replace("\b", "").strip().splitlines()]
    return "\n".join(lines)


def _block(language: str, text: str) -> str:
    return f"```{language}\n{text}\n```"


def _join(parts: list[str]) -> str:
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "settings": settings_page,
    "cli": cli_page,
    "http": http_page,
    "scopes": scopes_page,
    "errors": errors_page,
    "reasons": reasons_page,
    "metrics": metrics_page,
    "training-configuration": training_page,
    "bundle-contract": bundle_page,
}
"""Name of each generated page, without its ending, and the function that makes it."""


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        (folder / f"{name}.md").write_text(make(), encoding="utf-8")
