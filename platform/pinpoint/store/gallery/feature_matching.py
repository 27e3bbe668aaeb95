"""Evaluates a `FeatureFilter` for one feature; cells have no columns that SQL could compare."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, assert_never

import shapely

from pinpoint.records import (
    AllOf,
    AnyOf,
    Between,
    Comparison,
    ComparisonOperator,
    Constant,
    FeatureFilter,
    IsAnyOf,
    IsLike,
    IsNull,
    Negation,
    PropertyName,
    SpatialOperator,
    SpatialRelation,
)

_COMPARISONS: Final[Mapping[ComparisonOperator, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_RELATIONS: Final[Mapping[SpatialOperator, Callable[[Any, Any], Any]]] = {
    "s_intersects": shapely.intersects,
    "s_disjoint": shapely.disjoint,
    "s_equals": shapely.equals,
    "s_touches": shapely.touches,
    "s_within": shapely.within,
    "s_overlaps": shapely.overlaps,
    "s_crosses": shapely.crosses,
    "s_contains": shapely.contains,
}


def evaluate_filter(
    feature_filter: FeatureFilter, properties: Mapping[str, Any], shape: Any
) -> bool | None:
    """Evaluate a filter in three-valued logic, as SQL does; None is unknown.

    Args:
        feature_filter: The filter.
        properties: Values of the feature by name of the property.
        shape: Geometry of the feature as a shapely geometry.
    """
    match feature_filter:
        case Constant(value):
            return value
        case AllOf(operands):
            return _combine(evaluate_filter(part, properties, shape) for part in operands)
        case AnyOf(operands):
            parts = (evaluate_filter(part, properties, shape) for part in operands)
            return _negate(_combine(map(_negate, parts)))
        case Negation(operand):
            return _negate(evaluate_filter(operand, properties, shape))
        case SpatialRelation(name, wkb, is_inverted):
            first, second = shape, shapely.from_wkb(wkb)
            if is_inverted:
                first, second = second, first
            return bool(_RELATIONS[name](first, second))
        case _:
            return _evaluate_predicate(feature_filter, properties)


def _evaluate_predicate(
    predicate: Comparison | Between | IsAnyOf | IsLike | IsNull, properties: Mapping[str, Any]
) -> bool | None:
    name = predicate.property
    value = _fold_case(name, properties[name.name])
    if isinstance(predicate, IsNull):
        return value is None
    if value is None:
        return None
    match predicate:
        case Comparison(_, symbol, other):
            return _COMPARISONS[symbol](value, _fold_case(name, other))
        case Between(_, low, high):
            return bool(_fold_case(name, low) <= value <= _fold_case(name, high))
        case IsAnyOf(_, values):
            return value in [_fold_case(name, other) for other in values]
        case IsLike(_, pattern):
            return _compile_pattern(_fold_case(name, pattern)).fullmatch(value) is not None
        case _:
            assert_never(predicate)


def _fold_case(name: PropertyName, value: Any) -> Any:
    return value.lower() if name.ignores_case and value is not None else value


def _compile_pattern(pattern: str) -> re.Pattern[str]:
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    wildcards = {"%": ".*", "_": "."}
    text = "".join(wildcards.get(part) or re.escape(part.removeprefix("\\")) for part in parts)
    return re.compile(text, re.DOTALL)


def _negate(value: bool | None) -> bool | None:
    return None if value is None else not value


def _combine(values: Iterable[bool | None]) -> bool | None:
    """Conjunction: false if one is false, else unknown if one is unknown."""
    collected = list(values)
    if False in collected:
        return False
    return None if None in collected else True
