"""API keys: scopes, roles, grants, and the caller of a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args
from uuid import UUID

from pinpoint.records.primitives import SCOPES, Scope
from pinpoint.records.protected_areas import Granularity

SCOPE_MEANINGS: Final[Mapping[Scope, str]] = {
    "locate": "Queries: locate, similar; kept queries.",
    "read": "Sources, batches, images with thumbnails and files, neighbors, layers, tiles.",
    "ingest": "New sources and batches, uploads, corrections and deletion of images.",
    "export": "Exports of the gallery, with embeddings.",
    "audit": "The audit log of the organization.",
    "admin": "Keys of the organization; deletion of sources.",
}
"""What each scope permits."""

KeyRole = Literal["viewer", "analyst", "contributor", "auditor", "admin"]
KEY_ROLES: Final[Mapping[KeyRole, tuple[Scope, ...]]] = {
    "viewer": ("read",),
    "analyst": ("locate", "read", "export"),
    "contributor": ("locate", "read", "ingest"),
    "auditor": ("audit",),
    "admin": get_args(Scope),
}
"""Scopes that each role implies; `admin` has all of them."""

MAX_OVERLAP_S: Final = 7 * 86_400
"""Maximum time, seconds, during which the previous secret of a rotated key stays valid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """A tenant; its data is isolated from other organizations."""

    id: UUID
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyGrant:
    """What a new API key permits: the scopes of its role, more scopes, and until when."""

    scopes: tuple[Scope, ...] = ()
    role: KeyRole | None = None
    expires_at: datetime | None = None
    """From this time on the key is rejected; None: it does not expire."""
    granularity: Granularity = "radius"
    """Finest statement about a position in a protected area; `exact` exempts the key."""
    min_radius_m: float = 0.0
    """Minimum radius of each answer, 0 for none."""

    @property
    def all_scopes(self) -> tuple[Scope, ...]:
        """Scopes of the role and of `scopes`, each once, in the order of `SCOPES`."""
        implied = () if self.role is None else KEY_ROLES[self.role]
        return tuple(scope for scope in SCOPES if scope in {*implied, *self.scopes})


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key without its secret."""

    id: UUID
    organization_id: UUID
    name: str
    role: KeyRole | None
    scopes: tuple[Scope, ...]
    """All scopes, those of the role included."""
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    """At most a minute old while the key is in use."""
    rotated_at: datetime | None
    previous_secret_expires_at: datetime | None
    """From this time on the secret before the last rotation is rejected."""
    revoked_at: datetime | None
    granularity: Granularity = "radius"
    min_radius_m: float = 0.0

    @property
    def grant(self) -> KeyGrant:
        """What the key permits."""
        return KeyGrant(
            scopes=self.scopes,
            role=self.role,
            expires_at=self.expires_at,
            granularity=self.granularity,
            min_radius_m=self.min_radius_m,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Caller of a request, authenticated by a key, the local operator's secret, or loopback."""

    organization_id: UUID
    organization: str
    scopes: frozenset[Scope]
    key_id: UUID | None = None
    key_expires_at: datetime | None = None
    granularity: Granularity = "refuse"
    """Finest statement about a position in a protected area."""
    min_radius_m: float = 0.0
    """Minimum radius of each answer."""
