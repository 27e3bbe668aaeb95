"""Requests with `Idempotency-Key`, and their stored answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotentRequest:
    """A creating request that its caller may repeat.

    Args:
        caller_id: Id of the API key; that of the organization if its operator is the caller.
        route: Method and path template.
        key: Value of `Idempotency-Key`.
        fingerprint: SHA-256 of path, query string and content.
    """

    caller_id: UUID
    route: str
    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAnswer:
    """The answer of a creating request."""

    status: int
    headers: Mapping[str, str]
    body: bytes
