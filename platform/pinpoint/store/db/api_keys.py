"""Organizations and API keys, and authentication.

A key is `pp_` and 256 random bits. Only its SHA-256 is stored, and the key is shown once.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from pinpoint.errors import BadRequestError, ConflictError, NotFoundError, UnauthenticatedError
from pinpoint.records import SCOPES, ApiKey, Caller, KeyGrant, Organization, Scope, limits
from pinpoint.store.catalog.names import check_name
from pinpoint.store.db.access_tables import api_keys, organizations
from pinpoint.store.db.database import Transactions


class ApiKeyStore:
    """Organizations and API keys.

    The first three methods call functions that the API's role may run; the others need the owner's
    role.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def authenticate(self, secret: str) -> Caller:
        """Find the caller of a key.

        Raises:
            UnauthenticatedError: The key is unknown or revoked, or its organization is disabled.
        """
        with self._transactions.begin() as unit:
            row = unit.connection.execute(
                text("SELECT * FROM tenant.authenticate(:secret)"), {"secret": _hash_secret(secret)}
            ).one_or_none()
        if row is None:
            raise UnauthenticatedError("the key is unknown or was revoked")
        return Caller(
            organization_id=row.organization_id,
            organization=row.organization,
            scopes=frozenset(row.scopes),
            key_id=row.key_id,
            granularity=row.granularity,
            min_radius_m=row.min_radius_m,
        )

    def any_keys(self) -> bool:
        """Whether a key was ever created; from then on every request needs one."""
        with self._transactions.begin() as unit:
            return bool(unit.connection.execute(text("SELECT tenant.any_keys()")).scalar_one())

    def caller_for(self, organization: str, scopes: Iterable[Scope] = SCOPES) -> Caller:
        """Caller of this organization that was authenticated without a key.

        Raises:
            NotFoundError: No such organization exists.
        """
        with self._transactions.begin() as unit:
            organization_id = unit.connection.execute(
                text("SELECT tenant.organization_named(:name)"), {"name": organization}
            ).scalar_one()
        if organization_id is None:
            raise NotFoundError(f"no organization {organization!r}")
        return Caller(
            organization_id=organization_id,
            organization=organization,
            scopes=frozenset(scopes),
            granularity="exact",
        )

    def create_organization(self, name: str) -> Organization:
        """Create an organization.

        Raises:
            ConflictError: The name is taken.
            BadRequestError: The name is invalid (`store.names`).
        """
        check_name(name, "organization")
        try:
            limits.check_text("name", name)
        except limits.UnstorableError as error:
            raise BadRequestError(error.detail, reason=error.reason) from error
        try:
            with self._transactions.begin() as unit, unit.connection.begin_nested():
                unit.connection.execute(insert(organizations), {"id": uuid4(), "name": name})
        except IntegrityError as error:
            raise ConflictError(f"an organization named {name!r} exists already") from error
        return self.organization(name)

    def organizations(self) -> list[Organization]:
        """Organizations that are not disabled, by name."""
        with self._transactions.begin() as unit:
            rows = unit.connection.execute(
                select(organizations)
                .where(organizations.c.disabled_at.is_(None))
                .order_by(organizations.c.name)
            )
            return [_to_organization(row) for row in rows]

    def organization(self, name: str) -> Organization:
        """Find an organization that is not disabled.

        Raises:
            NotFoundError: No such organization exists.
        """
        with self._transactions.begin() as unit:
            row = unit.connection.execute(
                select(organizations).where(
                    organizations.c.name == name, organizations.c.disabled_at.is_(None)
                )
            ).one_or_none()
        if row is None:
            raise NotFoundError(f"no organization {name!r}")
        return _to_organization(row)

    def disable_organization(self, name: str) -> None:
        """Disable an organization; its rows remain until its sources are erased."""
        organization = self.organization(name)
        with self._transactions.begin() as unit:
            unit.connection.execute(
                update(organizations)
                .where(organizations.c.id == organization.id)
                .values(disabled_at=func.now())
            )

    def create_key(self, organization: str, name: str, grant: KeyGrant) -> tuple[ApiKey, str]:
        """Create a key; the second value is its secret, which cannot be read again.

        Raises:
            BadRequestError: No scope is given, or a scope is unknown.
        """
        unknown = set(grant.scopes) - set(SCOPES)
        if unknown or not grant.scopes:
            raise BadRequestError(
                f"scopes must be some of {', '.join(SCOPES)}; got {list(grant.scopes)}"
            )
        owner = self.organization(organization)
        secret = f"pp_{secrets.token_urlsafe(32)}"
        key_id = uuid4()
        with self._transactions.begin() as unit:
            unit.connection.execute(
                insert(api_keys),
                {
                    "id": key_id,
                    "organization_id": owner.id,
                    "name": name,
                    "secret_sha256": _hash_secret(secret),
                    "scopes": sorted(set(grant.scopes)),
                    "granularity": grant.granularity,
                    "min_radius_m": grant.min_radius_m,
                },
            )
        return next(key for key in self.keys(organization) if key.id == key_id), secret

    def keys(self, organization: str) -> list[ApiKey]:
        """All keys of an organization, including revoked ones, oldest first."""
        owner = self.organization(organization)
        with self._transactions.begin() as unit:
            rows = unit.connection.execute(
                select(api_keys)
                .where(api_keys.c.organization_id == owner.id)
                .order_by(api_keys.c.created_at, api_keys.c.id)
            )
            return [_to_key(row) for row in rows]

    def revoke_key(self, key_id: UUID) -> None:
        """Revoke a key immediately.

        Raises:
            NotFoundError: No such key exists, or it is revoked.
        """
        with self._transactions.begin() as unit:
            result = unit.connection.execute(
                update(api_keys)
                .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
                .values(revoked_at=func.now())
            )
        if result.rowcount == 0:
            raise NotFoundError(f"no key {key_id} in force")


def _hash_secret(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _to_organization(row: Row[Any]) -> Organization:
    return Organization(id=row.id, name=row.name, created_at=row.created_at)


def _to_key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        organization_id=row.organization_id,
        name=row.name,
        scopes=tuple(row.scopes),
        created_at=row.created_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
        granularity=row.granularity,
        min_radius_m=row.min_radius_m,
    )
