"""Examples of JSON bodies, built from their JSON schemas (draft 2020-12).

The examples of fields come first, then defaults, then the smallest valid value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_TEXTS: Final = {
    "binary": "(bytes of a file)",
    "date": "2026-05-01",
    "date-time": "2026-05-01T12:00:00Z",
    "time": "12:00:00",
    "uri": "https://example.org/",
    "uuid": "6a799744-9e3a-5ad3-9ee6-87a60f83d975",
}
_MAX_DEPTH: Final = 12


def build_example(
    schema: Mapping[str, Any], schemas: Mapping[str, Any], *, only_needed: bool = False
) -> Any:
    """Build an example of a schema.

    Args:
        schema: The schema.
        schemas: Schemas by name that `$ref` may name (`#/components/schemas/NAME`).
        only_needed: Leave out optional fields of objects without examples of their own. Callers
            may send few of many optional fields together.
    """
    return _Builder(schemas, only_needed).build(schema, 0)


class _Builder:
    def __init__(self, schemas: Mapping[str, Any], only_needed: bool) -> None:
        self._schemas, self._only_needed = schemas, only_needed

    def build(self, schema: Mapping[str, Any], depth: int) -> Any:
        if "$ref" in schema:
            return self.build(self._schemas[schema["$ref"].rsplit("/", 1)[-1]], depth + 1)
        if schema.get("examples"):
            return schema["examples"][0]
        for name in ("example", "const", "default"):
            if schema.get(name) is not None:
                return schema[name]
        if schema.get("enum"):
            return schema["enum"][0]
        if "allOf" in schema:
            return self._build_all(schema, depth)
        choices = [
            choice
            for choice in schema.get("anyOf") or schema.get("oneOf") or ()
            if choice.get("type") != "null"
        ]
        if choices:
            return None if depth > _MAX_DEPTH else self.build(choices[0], depth + 1)
        return self._build_type(schema, depth)

    def _build_all(self, schema: Mapping[str, Any], depth: int) -> Any:
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            value = self.build(part, depth + 1)
            if not isinstance(value, dict):
                return value
            merged |= value
        return merged

    def _build_type(self, schema: Mapping[str, Any], depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else None)
        if isinstance(kind, list):
            kind = next((name for name in kind if name != "null"), "null")
        match kind:
            case "object":
                return self._build_object(schema, depth)
            case "array":
                return self._build_array(schema, depth)
            case "integer" | "number":
                number = _build_number(schema)
                return int(number) if kind == "integer" else number
            case "string":
                return _build_text(schema)
        return {"boolean": True, "null": None}.get(str(kind), {})

    def _build_object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        required = set(schema.get("required", ()))
        is_deep = depth > _MAX_DEPTH
        value = {
            name: self.build(field, depth + 1)
            for name, field in schema.get("properties", {}).items()
            if name in required
            or not (is_deep or (self._only_needed and not field.get("examples")))
        }
        others = schema.get("additionalProperties")
        if not value and isinstance(others, dict) and others and not is_deep:
            value["name"] = self.build(others, depth + 1)
        return value

    def _build_array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        if "prefixItems" in schema:
            return [self.build(item, depth + 1) for item in schema["prefixItems"]]
        if depth > _MAX_DEPTH or "items" not in schema or schema.get("maxItems") == 0:
            return []
        return [self.build(schema["items"], depth + 1)] * max(1, schema.get("minItems", 1))


def _build_text(schema: Mapping[str, Any]) -> str:
    text = _TEXTS.get(schema.get("format", ""), "text")
    return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength", 1_000)]


def _build_number(schema: Mapping[str, Any]) -> float:
    low = schema.get("minimum")
    if low is None and "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + 1
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    number = 1.0 if low is None else float(low)
    if low is not None and number < 1 and (high is None or high > 1):
        number = 1.0
    if high is not None and number > high:
        number = float(high)
    return number
