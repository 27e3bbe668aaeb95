"""Requirements of each route that are checked before its body is read: access, body, lane."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope as RequestScope

from pinpoint.api.admission import LaneName
from pinpoint.api.auth import RouteAccess
from pinpoint.api.body_limits import JSON_RULE, BodyRule
from pinpoint.api.idempotency import is_idempotent
from pinpoint.api.query_names import list_query_names


@dataclass(frozen=True, slots=True)
class RouteRule:
    """Requirements of one route.

    Args:
        route: The route.
        access: Required scope; `operator` or `metrics` if no organization's key is accepted.
        body: Body limits; None if the route reads no body.
        query_names: Known query parameters; None if their names are not checked.
        is_idempotent: Whether the route accepts `Idempotency-Key`.
    """

    route: APIRoute
    access: RouteAccess
    body: BodyRule | None
    query_names: frozenset[str] | None = None
    is_idempotent: bool = False

    @property
    def lane(self) -> LaneName:
        """Admission lane of the route's requests."""
        if self.access == "metrics":
            return "operator"
        return "rows" if self.body is None else self.body.lane


def read_rules(routers: Iterable[APIRouter]) -> list[RouteRule]:
    """Derive the rules of all routes that need a caller from their dependencies."""
    rules = []
    for router in routers:
        for route in router.routes:
            if not isinstance(route, APIRoute):
                continue
            calls = list(_iterate_calls(route.dependant))
            scoped_calls = [call for call in calls if hasattr(call, "needed_scope")]
            if not scoped_calls:
                continue
            bodies = [call.body_rule for call in calls if hasattr(call, "body_rule")]
            json_rules = [JSON_RULE] if route.body_field is not None else []
            rules.append(
                RouteRule(
                    route=route,
                    access=scoped_calls[0].needed_scope,
                    body=next(iter([*bodies, *json_rules]), None),
                    query_names=list_query_names(route),
                    is_idempotent=is_idempotent(calls),
                )
            )
    return rules


def find_rule(rules: Sequence[RouteRule], scope: RequestScope) -> RouteRule | None:
    """Find the rule of the matching route and store the route in `scope` for the log."""
    for rule in rules:
        match, child = rule.route.matches(scope)
        if match is Match.FULL:
            scope["route"] = rule.route
            scope["path_params"] = child.get("path_params", {})
            return rule
    return None


def _iterate_calls(dependant: Any) -> Iterator[Any]:
    for dependency in dependant.dependencies:
        yield dependency.call
        yield from _iterate_calls(dependency)
