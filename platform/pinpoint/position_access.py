"""What the caller of the current request may see of positions in protected areas.

The API sets it for each request; threads that work for the request inherit it with their context.
`store.db` passes it to PostgreSQL, whose views filter rows by it. Without it the role of the API
sees only rows outside of protected areas. Workers and commands read the tables and need none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from pinpoint.records.protected_areas import Granularity

RowAccess = Literal["operator", "all", "coarse", "unprotected"]
"""Visible rows: every row (for the operator, or for an API key), all but those in areas that
refuse, or only rows outside of protected areas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionAccess:
    """Access of one caller."""

    rows: RowAccess
    granularity: Granularity
    """Finest statement about a position in a protected area."""
    min_radius_m: float = 0.0
    """Minimum radius of each answer."""


_current: ContextVar[PositionAccess | None] = ContextVar("pinpoint_position_access", default=None)


def current_access() -> PositionAccess | None:
    """Access of the current request; None outside of requests."""
    return _current.get()


@contextmanager
def apply_access(access: PositionAccess | None) -> Iterator[None]:
    """Apply `access`, or none, inside, in this thread and in threads that copy its context."""
    token = _current.set(access)
    try:
        yield
    finally:
        _current.reset(token)
