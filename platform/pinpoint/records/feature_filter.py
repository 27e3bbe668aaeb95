"""Filter of layer features: the checked form of a CQL2 expression (OGC 21-065r2).

Every property and operator of these records is one of an allow-list, and every value has the type
of its property. Nothing else of a caller's text reaches a statement.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

FilterValue = str | int | float | bool | datetime | UUID
ComparisonOperator = Literal["=", "<>", "<", "<=", ">", ">="]
SpatialOperator = Literal[
    "s_intersects",
    "s_disjoint",
    "s_equals",
    "s_touches",
    "s_within",
    "s_overlaps",
    "s_crosses",
    "s_contains",
]


@dataclass(frozen=True, slots=True)
class PropertyName:
    """A queryable property of a layer."""

    name: str
    ignores_case: bool = False
    """Whether texts are compared without regard to case (`CASEI`)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """`property operator value`."""

    property: PropertyName
    operator: ComparisonOperator
    value: FilterValue


@dataclass(frozen=True, slots=True)
class Between:
    """`low <= property <= high`."""

    property: PropertyName
    low: FilterValue
    high: FilterValue


@dataclass(frozen=True, slots=True)
class IsAnyOf:
    """The property equals at least one value."""

    property: PropertyName
    values: tuple[FilterValue, ...]


@dataclass(frozen=True, slots=True)
class IsLike:
    r"""The text matches a pattern: `%` is any text, `_` one character, `\` escapes both."""

    property: PropertyName
    pattern: str


@dataclass(frozen=True, slots=True)
class IsNull:
    """The property has no value."""

    property: PropertyName


@dataclass(frozen=True, slots=True)
class SpatialRelation:
    """`operator(geometry of the feature, shape)`, planar in degrees."""

    operator: SpatialOperator
    shape: bytes
    """A valid geometry as WKB, lon before lat."""
    is_inverted: bool = False
    """Whether the shape is the first argument."""


@dataclass(frozen=True, slots=True)
class AllOf:
    """All operands are true."""

    operands: tuple[FeatureFilter, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one operand is true."""

    operands: tuple[FeatureFilter, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """The operand is false; that of an unknown operand is unknown, as in SQL."""

    operand: FeatureFilter


@dataclass(frozen=True, slots=True)
class Constant:
    """True or false for each feature."""

    value: bool


FeatureFilter = (
    Comparison
    | Between
    | IsAnyOf
    | IsLike
    | IsNull
    | SpatialRelation
    | AllOf
    | AnyOf
    | Negation
    | Constant
)
