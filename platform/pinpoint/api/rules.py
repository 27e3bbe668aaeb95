"""What each route asks of a request before it is read: scope, body and lane."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope as RequestScope

from pinpoint.api.admission import LaneName
from pinpoint.api.body_limits import JSON_RULE, BodyRule
from pinpoint.records import Scope


@dataclass(frozen=True, slots=True)
class RouteRule:
    """What one route asks.

    Args:
        route: The route.
        scope: The scope that a caller needs; None where only the operator is let in.
        body: What body it takes; None where it reads none.
    """

    route: APIRoute
    scope: Scope | None
    body: BodyRule | None

    @property
    def lane(self) -> LaneName:
        """Where its requests wait."""
        if self.scope is None:
            return "operator"
        return "rows" if self.body is None else self.body.lane


def read_rules(routers: Iterable[APIRouter]) -> list[RouteRule]:
    """The rules of all routes that need a caller, read from their dependencies."""
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
                    scope=scoped_calls[0].needed_scope,
                    body=next(iter([*bodies, *json_rules]), None),
                )
            )
    return rules


def find_rule(rules: Sequence[RouteRule], scope: RequestScope) -> RouteRule | None:
    """The rule of the route that will answer; also notes the route in `scope`, for the log."""
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
