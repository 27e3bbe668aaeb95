"""Parses CQL2 text and JSON (OGC 21-065r2) into a `FeatureFilter`.

The package `cql2` parses the syntax. This module then walks its tree and accepts only the operators
and properties of an allow-list, and values of the property's type; functions never pass.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Literal, NoReturn
from uuid import UUID

import cql2

from pinpoint.api.ogc.cql2_geometries import GeometryParser
from pinpoint.api.problems import shorten
from pinpoint.api.v1.times import parse_time
from pinpoint.errors import BadRequestError
from pinpoint.records import (
    AllOf,
    AnyOf,
    Between,
    Comparison,
    ComparisonOperator,
    Constant,
    FeatureFilter,
    FeatureLayer,
    FilterValue,
    IsAnyOf,
    IsLike,
    IsNull,
    LayerProperty,
    Negation,
    PropertyName,
    SpatialRelation,
)

FilterLanguage = Literal["cql2-text", "cql2-json"]
BAD_FILTER: Final = "bad_filter"
GEOMETRY_PROPERTY: Final = "geometry"
MAX_LENGTH: Final = 50_000
MAX_DEPTH: Final = 32
MAX_NODES: Final = 1_000
MAX_LIST_LENGTH: Final = 1_000

_FLIPPED: Final[Mapping[str, ComparisonOperator]] = {
    "=": "=",
    "<>": "<>",
    "<": ">",
    "<=": ">=",
    ">": "<",
    ">=": "<=",
}
"""Comparison operators, with those for exchanged arguments."""
_SPATIAL_OPERATORS: Final[Mapping[str, Any]] = {
    name: name
    for name in (
        "s_intersects",
        "s_disjoint",
        "s_equals",
        "s_touches",
        "s_within",
        "s_overlaps",
        "s_crosses",
        "s_contains",
    )
}
_TIME_OPERATORS: Final = frozenset(
    {"t_after", "t_before", "t_during", "t_equals", "t_intersects", "t_disjoint"}
)
_NUMBER: Final = r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?"
_POSITION: Final = re.compile(rf"(?<=[(,])\s*{_NUMBER}(?:\s+{_NUMBER}){{0,3}}\s*(?=[,)])")
"""A position of WKT, or a value in a list."""
_OPERATOR: Final = re.compile(r"[=<>+\-*/%^|]+|\b(?:and|or|not|like|in|between|div|is)\b", re.I)
_ONE_DAY: Final = timedelta(days=1)
_RESOLUTION: Final = timedelta(microseconds=1)


def parse_filter(text: str, language: FilterLanguage, layer: FeatureLayer) -> FeatureFilter:
    """Parse a filter.

    Args:
        text: CQL2.
        language: Encoding of `text`.
        layer: Layer with the queryable properties.

    Raises:
        BadRequestError: `bad_filter`: a syntax error, an exceeded limit, an unknown property or
            operator, or a value of another type; the message names it.
    """
    _check_size(text, language)
    try:
        parse = cql2.parse_text if language == "cql2-text" else cql2.parse_json
        tree = parse(text).to_json()
    except (cql2.ParseError, ValueError, TypeError, RecursionError) as error:
        raise _make_error(f"it is not valid {language}") from error
    return _TreeReader(layer).read_filter(tree, 0)


def _check_size(text: str, language: FilterLanguage) -> None:
    """Limit length and nesting before the parser recurses.

    The parser calls itself for each parenthesis and for each operator of a chain. A chain of 4,000
    comparisons in 8 kB exhausted the stack, which ends the process (`cql2` 0.6.0, 8 MB of stack).
    """
    if len(text) > MAX_LENGTH:
        _reject(f"it is longer than {MAX_LENGTH:,} characters")
    if "\x00" in text:
        _reject("it contains a NUL character")
    depth = 0
    for bracket in re.findall(r"[(\[{)\]}]", text):
        depth += 1 if bracket in "([{" else -1
        if depth > MAX_DEPTH:
            _reject(f"it is nested more than {MAX_DEPTH} levels deep")
    if language == "cql2-text":
        operators = _OPERATOR.findall(_POSITION.sub("", text))
        if sum(map(len, operators)) > MAX_NODES * 4 or len(operators) > MAX_NODES:
            _reject(f"it has more than {MAX_NODES:,} operators")


def _make_error(detail: str) -> BadRequestError:
    return BadRequestError(f"filter: {detail}", reason=BAD_FILTER)


def _reject(detail: str) -> NoReturn:
    raise _make_error(detail)


class _TreeReader:
    """Converts the tree of one filter."""

    def __init__(self, layer: FeatureLayer) -> None:
        self._layer = layer
        self._num_nodes = 0
        self._geometries = GeometryParser(_reject)

    def read_filter(self, node: Any, depth: int) -> FeatureFilter:
        """Convert a node that is true or false."""
        self._count(depth)
        if isinstance(node, bool):
            return Constant(node)
        if isinstance(node, dict) and set(node) == {"property"}:
            # A boolean property alone is a predicate.
            name = self._read_name(node)
            if self._get_property(name).type == "boolean":
                return Comparison(name, "=", True)
        operator, arguments = self._read_operation(node)
        if operator in ("and", "or"):
            if not arguments:
                _reject(f"`{operator}` needs operands")
            operands = tuple(self.read_filter(argument, depth + 1) for argument in arguments)
            return AllOf(operands) if operator == "and" else AnyOf(operands)
        if operator == "not":
            (operand,) = self._take(operator, arguments, 1)
            return Negation(self.read_filter(operand, depth + 1))
        return self._read_predicate(operator, arguments, depth)

    def _read_predicate(self, operator: str, arguments: list[Any], depth: int) -> FeatureFilter:
        readers: dict[str, Callable[[str, list[Any]], FeatureFilter]] = {
            **dict.fromkeys(_FLIPPED, self._read_comparison),
            "between": self._read_between,
            "in": self._read_in,
            "like": self._read_like,
            "isnull": self._read_is_null,
            **dict.fromkeys(_SPATIAL_OPERATORS, self._read_spatial_relation),
            **dict.fromkeys(_TIME_OPERATORS, self._read_time_relation),
        }
        reader = readers.get(operator)
        if reader is None:
            _reject(f"`{shorten(operator, 40)}` is not an operator of this API")
        self._count(depth)
        return reader(operator, arguments)

    def _count(self, depth: int) -> None:
        self._num_nodes += 1
        if self._num_nodes > MAX_NODES:
            _reject(f"it has more than {MAX_NODES:,} parts")
        if depth > MAX_DEPTH:
            _reject(f"it is nested more than {MAX_DEPTH} levels deep")

    def _read_operation(self, node: Any) -> tuple[str, list[Any]]:
        if not isinstance(node, dict) or set(node) != {"op", "args"}:
            _reject("a comparison, a predicate or a combination of them is required")
        operator, arguments = node["op"], node["args"]
        if not isinstance(operator, str) or not isinstance(arguments, list):
            _reject("an operation has `op` and a list `args`")
        return operator.lower(), arguments

    def _take(self, operator: str, arguments: Sequence[Any], count: int) -> Sequence[Any]:
        if len(arguments) != count:
            _reject(f"`{operator}` needs {count} arguments")
        return arguments

    def _read_name(self, node: Any) -> PropertyName:
        """Convert a property, or `CASEI` of one."""
        if _is_operation(node, "casei"):
            (inner,) = self._take("casei", node["args"], 1)
            name = self._read_name(inner)
            if self._get_property(name).type != "text":
                _reject(f"`CASEI` needs a text, and `{name.name}` is none")
            return PropertyName(name.name, ignores_case=True)
        if not isinstance(node, dict) or set(node) != {"property"}:
            if isinstance(node, dict) and isinstance(node.get("op"), str):
                _reject(f"`{shorten(node['op'], 40)}` is not an operator of this API")
            _reject("the first argument must be a property")
        name = PropertyName(str(node["property"]))
        self._get_property(name)
        return name

    def _get_property(self, name: PropertyName) -> LayerProperty:
        if name.name == "id":
            return LayerProperty("id", self._layer.id_type, "")
        layer_property = self._layer.get_property(name.name)
        if layer_property is None or not layer_property.is_queryable:
            _reject(
                f"`{shorten(name.name, 60)}` is not a queryable property; "
                f"see /ogc/collections/{self._layer.name}/queryables"
            )
        return layer_property

    def _read_comparison(self, operator: str, arguments: list[Any]) -> FeatureFilter:
        left, right = self._take(operator, arguments, 2)
        symbol = _FLIPPED[_FLIPPED[operator]]
        if not _is_property(left) and _is_property(right):
            left, right, symbol = right, left, _FLIPPED[operator]
        name = self._read_name(left)
        if _is_property(right):
            _reject("a property can be compared with a value only, not with another property")
        if isinstance(right, dict) and set(right) == {"date"}:
            return self._compare_with_day(name, symbol, right)
        return Comparison(name, symbol, self._read_value(name, right))

    def _compare_with_day(
        self, name: PropertyName, operator: ComparisonOperator, node: Mapping[str, Any]
    ) -> FeatureFilter:
        """Compare a time with a day in UTC: it equals the day if it is within it."""
        start = self._read_value(name, {"timestamp": f"{node['date']}T00:00:00Z"})
        try:
            before = start + _ONE_DAY  # type: ignore[operator]
        except OverflowError:
            _reject(f"{shorten(str(node['date']), 20)!r} is the last day of the calendar")
        if operator == "=":
            return AllOf((Comparison(name, ">=", start), Comparison(name, "<", before)))
        if operator == "<>":
            return AnyOf((Comparison(name, "<", start), Comparison(name, ">=", before)))
        if operator in ("<", ">="):
            return Comparison(name, operator, start)
        return Comparison(name, "<" if operator == "<=" else ">=", before)

    def _read_between(self, operator: str, arguments: list[Any]) -> FeatureFilter:
        target, low, high = self._take(operator, arguments, 3)
        name = self._read_name(target)
        return Between(name, self._read_value(name, low), self._read_value(name, high))

    def _read_in(self, operator: str, arguments: list[Any]) -> FeatureFilter:
        target, values = self._take(operator, arguments, 2)
        name = self._read_name(target)
        if not isinstance(values, list) or not 0 < len(values) <= MAX_LIST_LENGTH:
            _reject(f"`IN` needs a list of 1 to {MAX_LIST_LENGTH:,} values")
        return IsAnyOf(name, tuple(self._read_value(name, value) for value in values))

    def _read_like(self, operator: str, arguments: list[Any]) -> FeatureFilter:
        target, node = self._take(operator, arguments, 2)
        name = self._read_name(target)
        if self._get_property(name).type != "text":
            _reject(f"`LIKE` needs a text, and `{name.name}` is none")
        pattern = str(self._read_value(name, node))
        if (len(pattern) - len(pattern.rstrip("\\"))) % 2:
            _reject("a pattern of `LIKE` must not end with an escape character")
        return IsLike(name, pattern)

    def _read_is_null(self, operator: str, arguments: list[Any]) -> FeatureFilter:
        (target,) = self._take("IS NULL", arguments, 1)
        return IsNull(self._read_name(target))

    def _read_spatial_relation(self, operator: str, arguments: list[Any]) -> FeatureFilter:
        left, right = self._take(operator, arguments, 2)
        is_inverted = not _is_property(left)
        if is_inverted:
            left, right = right, left
        if left != {"property": GEOMETRY_PROPERTY}:
            _reject(f"`{operator}` needs the property `{GEOMETRY_PROPERTY}` and one geometry")
        shape = self._geometries.parse(right)
        return SpatialRelation(_SPATIAL_OPERATORS[operator], shape, is_inverted)

    def _read_time_relation(self, operator: str, arguments: list[Any]) -> FeatureFilter:
        left, right = self._take(operator, arguments, 2)
        if not _is_property(left):
            _reject(f"the first argument of `{operator}` must be a property")
        name = self._read_name(left)
        start, end = self._read_interval(name, right)
        before, after = Comparison(name, "<", start), Comparison(name, ">", end)
        if operator in ("t_before", "t_after"):
            return before if operator == "t_before" else after
        if operator == "t_disjoint":
            return AnyOf((before, after))
        if operator == "t_during":
            # The ends of an interval do not belong to what is during it.
            return AllOf((Comparison(name, ">", start), Comparison(name, "<", end)))
        if operator == "t_equals" and start != end:
            return AllOf((IsNull(name), Negation(IsNull(name))))
        return Between(name, start, end)

    def _read_interval(self, name: PropertyName, node: Any) -> tuple[FilterValue, FilterValue]:
        """Convert an instant or an interval to its first and last time."""
        if isinstance(node, dict) and set(node) == {"interval"}:
            ends = node["interval"]
            if not isinstance(ends, list) or len(ends) != 2:
                _reject("an interval has two ends")
            low, high = (self._read_end(name, end, index) for index, end in enumerate(ends))
            if high < low:  # type: ignore[operator]
                _reject("the end of an interval must not be before its start")
            return low, high
        if isinstance(node, dict) and set(node) == {"date"}:
            return tuple(self._read_end(name, node["date"], index) for index in (0, 1))  # type: ignore[return-value]
        value = self._read_value(name, node)
        return value, value

    def _read_end(self, name: PropertyName, end: Any, index: int) -> FilterValue:
        text = end.get("timestamp", end.get("date")) if isinstance(end, dict) else end
        if not isinstance(text, str):
            _reject("an end of an interval is a date, a time or '..'")
        if text == "..":
            text = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z")[index]
        elif "T" not in text.upper():
            text += ("T00:00:00Z", "T23:59:59.999999Z")[index]
        return self._read_value(name, {"timestamp": text})

    def _read_value(self, name: PropertyName, node: Any) -> FilterValue:
        """Convert a literal to the type of a property."""
        kind = self._get_property(name).type
        if _is_operation(node, "casei") and name.ignores_case:
            (node,) = self._take("casei", node["args"], 1)
        if isinstance(node, dict) and isinstance(node.get("op"), str):
            _reject(f"`{shorten(node['op'], 40)}` is not an operator of this API")
        if kind in ("integer", "number"):
            return _read_number(node, name.name)
        if kind == "boolean" and isinstance(node, bool):
            return node
        if kind == "text" and isinstance(node, str):
            return node
        if kind == "uuid" and isinstance(node, str):
            try:
                return UUID(node)
            except ValueError:
                _reject(f"`{name.name}` is a UUID")
        if kind == "time":
            return self._read_time(name, node)
        _reject(f"the value of `{name.name}` must be a {kind}")

    def _read_time(self, name: PropertyName, node: Any) -> FilterValue:
        if isinstance(node, dict) and set(node) == {"timestamp"}:
            try:
                return parse_time(str(node["timestamp"]))
            except ValueError as error:
                _reject(f"`{name.name}`: {error}")
        _reject(f"`{name.name}` is a time: write TIMESTAMP('2026-05-01T12:00:00Z')")


def _read_number(node: Any, name: str) -> float:
    """Convert a finite number."""
    if isinstance(node, bool) or not isinstance(node, int | float):
        _reject(f"the value of `{name}` must be a number")
    if not math.isfinite(node):
        _reject(f"the value of `{name}` is too large")
    return float(node)


def _is_operation(node: Any, operator: str) -> bool:
    return (
        isinstance(node, dict)
        and set(node) == {"op", "args"}
        and isinstance(node["op"], str)
        and node["op"].lower() == operator
        and isinstance(node["args"], list)
    )


def _is_property(node: Any) -> bool:
    if _is_operation(node, "casei"):
        return any(_is_property(argument) for argument in node["args"])
    return isinstance(node, dict) and set(node) == {"property"}
