"""SQL conditions of a `FeatureFilter`; every value is a bound parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, assert_never

from sqlalchemy import (
    ColumnCollection,
    ColumnElement,
    DateTime,
    Double,
    Text,
    Uuid,
    and_,
    func,
    literal,
    not_,
    or_,
)
from sqlalchemy.types import Boolean, TypeEngine

from pinpoint.records import (
    AllOf,
    AnyOf,
    Between,
    Comparison,
    Constant,
    FeatureFilter,
    FilterValue,
    IsAnyOf,
    IsLike,
    IsNull,
    Negation,
    PropertyName,
    SpatialOperator,
    SpatialRelation,
)

Columns = ColumnCollection[str, Any]
_SRID: Final = 4326
_FUNCTIONS: Final[Mapping[SpatialOperator, Any]] = {
    "s_intersects": func.ST_Intersects,
    "s_disjoint": func.ST_Disjoint,
    "s_equals": func.ST_Equals,
    "s_touches": func.ST_Touches,
    "s_within": func.ST_Within,
    "s_overlaps": func.ST_Overlaps,
    "s_crosses": func.ST_Crosses,
    "s_contains": func.ST_Contains,
}
"""The only functions of a filter, besides `lower`."""


def build_condition(columns: Columns, feature_filter: FeatureFilter) -> ColumnElement[bool]:
    """Build the condition of a filter; unknown values are null, as in SQL.

    Args:
        columns: Columns of the layer; each property of the filter is the name of one.
        feature_filter: The filter.
    """
    match feature_filter:
        case Constant(value):
            return literal(value, Boolean)
        case AllOf(operands):
            return and_(*(build_condition(columns, operand) for operand in operands))
        case AnyOf(operands):
            return or_(*(build_condition(columns, operand) for operand in operands))
        case Negation(operand):
            return not_(build_condition(columns, operand))
        case SpatialRelation(operator, shape, is_inverted):
            arguments = [columns.geom, func.ST_GeomFromWKB(shape, _SRID)]
            function: Any = _FUNCTIONS[operator]
            condition: ColumnElement[bool] = function(
                *(reversed(arguments) if is_inverted else arguments)
            )
            return condition
        case _:
            return _build_predicate(columns, feature_filter)


def _build_predicate(
    columns: Columns, predicate: Comparison | Between | IsAnyOf | IsLike | IsNull
) -> ColumnElement[bool]:
    target = _to_operand(columns, predicate.property)
    match predicate:
        case Comparison(name, operator, value):
            return target.bool_op(operator)(_bind(name, value))
        case Between(name, low, high):
            return target.between(_bind(name, low), _bind(name, high))
        case IsAnyOf(name, values):
            return target.in_([_bind(name, value) for value in values])
        case IsLike(name, pattern):
            return target.like(_bind(name, pattern))
        case IsNull():
            return target.is_(None)
        case _:
            assert_never(predicate)


def _to_operand(columns: Columns, name: PropertyName) -> ColumnElement[Any]:
    column = columns[name.name]
    return func.lower(column) if name.ignores_case else column


def _bind(name: PropertyName, value: FilterValue) -> ColumnElement[Any]:
    """Bind a value with the type that it has in Python."""
    bound = literal(value, _get_type(value))
    return func.lower(bound) if name.ignores_case else bound


def _get_type(value: FilterValue) -> TypeEngine[Any]:
    if isinstance(value, bool):
        return Boolean()
    if isinstance(value, str):
        return Text()
    if isinstance(value, int | float):
        return Double()
    return Uuid() if hasattr(value, "hex") else DateTime(timezone=True)
