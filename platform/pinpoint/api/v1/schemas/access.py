"""Schemas of organizations and API keys."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pinpoint.api.v1.schemas.catalog import NAME_PATTERN
from pinpoint.api.v1.times import Time
from pinpoint.records import (
    SCOPES,
    ApiKey,
    KeyGrant,
    Organization,
    Scope,
)
from pinpoint.records.access import MAX_OVERLAP_S, KeyRole
from pinpoint.records.protected_areas import MAX_AREA_RADIUS_M, Granularity
from pinpoint.store.catalog.names import MAX_LABEL_CHARS

EXPIRY_EXAMPLE: Final = "2027-06-30T00:00:00Z"
NameIn = Annotated[str, Field(min_length=1, max_length=MAX_LABEL_CHARS, pattern=NAME_PATTERN)]


class OrganizationIn(BaseModel):
    """A new organization."""

    model_config = ConfigDict(extra="forbid")

    name: NameIn = Field(
        description="Its name, which is unique: no slash, no control character, no space at an "
        "end, not the form of an id.",
        examples=["acme"],
    )


class OrganizationOut(BaseModel):
    """An organization; its data is isolated from other organizations."""

    id: UUID
    name: str
    created_at: datetime

    @classmethod
    def of(cls, organization: Organization) -> OrganizationOut:
        """Convert one organization."""
        return cls(id=organization.id, name=organization.name, created_at=organization.created_at)


class OrganizationsOut(BaseModel):
    """A page of organizations, oldest first."""

    organizations: list[OrganizationOut]
    next: str | None = Field(
        description="Path and query string of the next page; null on the last page."
    )


class KeyIn(BaseModel):
    """A new API key: a role, scopes, or both."""

    model_config = ConfigDict(extra="forbid")

    name: NameIn = Field(
        description="Its name in lists and in the audit log.", examples=["mobile app"]
    )
    role: KeyRole | None = Field(
        default=None, description="KeyRole that implies scopes.", examples=["analyst"]
    )
    scopes: list[Scope] = Field(
        default=[],
        max_length=len(SCOPES),
        description="Scopes in addition to those of the role.",
        examples=[["locate", "read"]],
    )
    expires_at: Time | None = Field(
        default=None,
        description="From this time on the key is rejected; without it the key does not expire.",
        examples=[EXPIRY_EXAMPLE],
    )

    granularity: Granularity = Field(
        default="radius",
        description="Finest statement about a position in a protected area; `exact` exempts the "
        "key, `radius` is what each area permits.",
        examples=["radius"],
    )
    min_radius_m: float = Field(
        default=0.0,
        strict=True,
        ge=0,
        le=MAX_AREA_RADIUS_M,
        description="Minimum radius of each answer, meters; 0 for none.",
        examples=[0],
    )

    @model_validator(mode="after")
    def _check_scopes(self) -> KeyIn:
        if self.role is None and not self.scopes:
            raise ValueError("a key needs a role or scopes")
        return self

    def grant(self) -> KeyGrant:
        """Convert to what the key permits."""
        return KeyGrant(
            scopes=tuple(self.scopes),
            role=self.role,
            expires_at=self.expires_at,
            granularity=self.granularity,
            min_radius_m=self.min_radius_m,
        )


class RotationIn(BaseModel):
    """How the secret of a key is replaced."""

    model_config = ConfigDict(extra="forbid")

    overlap_s: float = Field(
        default=0,
        ge=0,
        le=MAX_OVERLAP_S,
        strict=True,
        description="Time during which the previous secret stays valid, seconds; at most "
        f"{MAX_OVERLAP_S} (7 days). A secret from before an earlier rotation ends at once.",
        examples=[3600],
    )


class KeyOut(BaseModel):
    """An API key without its secret."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    organization_id: UUID
    name: str
    role: KeyRole | None
    scopes: list[Scope] = Field(description="All scopes, those of the role included.")
    granularity: Granularity = Field(
        description="Finest statement about a position in a protected area."
    )
    min_radius_m: float = Field(description="Minimum radius of each answer, meters.")
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(
        description="Time of the last accepted request; updated at most once a minute."
    )
    rotated_at: datetime | None
    previous_secret_expires_at: datetime | None = Field(
        description="From this time on the secret before the last rotation is rejected."
    )
    revoked_at: datetime | None

    @classmethod
    def of(cls, key: ApiKey) -> KeyOut:
        """Convert one key."""
        return cls.model_validate(key)


class KeysOut(BaseModel):
    """A page of keys, revoked ones included, oldest first."""

    keys: list[KeyOut]
    next: str | None = Field(
        description="Path and query string of the next page; null on the last page."
    )


class KeySecretOut(BaseModel):
    """A key with its new secret, which cannot be read again."""

    key: KeyOut
    secret: str = Field(
        description="The secret; the server stores only its hash.",
        examples=["pp_Zb0Tq0FJv0nq8v1mC2bC6bPKQnQyYF1t2m5Xb8oJm3w"],
    )
