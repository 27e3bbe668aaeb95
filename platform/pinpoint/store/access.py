"""Organisations and keys: who there is, and who asks.

A key is `pp_` and 256 random bits; only its SHA-256 is stored, and it is shown once.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from pinpoint.errors import BadRequest, Conflict, NotAuthenticated, NotFound
from pinpoint.records import SCOPES, ApiKey, Caller, Organization, Scope, limits
from pinpoint.store.database import Transactions
from pinpoint.store.names import check_name
from pinpoint.store.tables import api_keys, organizations


class Access:
    """Organisations and keys.

    The first three methods go through functions that the API's role may call; the rest needs the
    owner's role.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def authenticate(self, secret: str) -> Caller:
        """Who holds this key.

        Raises:
            NotAuthenticated: The key is unknown or revoked, or its organisation is.
        """
        with self._transactions.begin() as unit:
            row = unit.connection.execute(
                text("SELECT * FROM tenant.authenticate(:secret)"), {"secret": _digest(secret)}
            ).one_or_none()
        if row is None:
            raise NotAuthenticated("the key is unknown or was revoked")
        return Caller(
            organization_id=row.organization_id,
            organization=row.organization,
            scopes=frozenset(row.scopes),
            key_id=row.key_id,
        )

    def any_keys(self) -> bool:
        """Whether a key was ever made; from then on nobody is let in without one."""
        with self._transactions.begin() as unit:
            return bool(unit.connection.execute(text("SELECT tenant.any_keys()")).scalar_one())

    def caller_for(self, organization: str, scopes: Iterable[Scope] = SCOPES) -> Caller:
        """Somebody of this organisation, let in by other means than a key.

        Raises:
            NotFound: There is no such organisation.
        """
        with self._transactions.begin() as unit:
            found = unit.connection.execute(
                text("SELECT tenant.organization_named(:name)"), {"name": organization}
            ).scalar_one()
        if found is None:
            raise NotFound(f"no organisation {organization!r}")
        return Caller(organization_id=found, organization=organization, scopes=frozenset(scopes))

    def create_organization(self, name: str) -> Organization:
        """Add an organisation.

        Raises:
            Conflict: The name is taken.
            BadRequest: The name cannot be used (`store.names`).
        """
        check_name(name, "organisation")
        try:
            limits.check_text("name", name)
        except limits.Unstorable as error:
            raise BadRequest(error.detail, reason=error.reason) from error
        try:
            with self._transactions.begin() as unit, unit.connection.begin_nested():
                unit.connection.execute(insert(organizations), {"id": uuid4(), "name": name})
        except IntegrityError as error:
            raise Conflict(f"an organisation named {name!r} exists already") from error
        return self.organization(name)

    def organizations(self) -> list[Organization]:
        """Organisations in force, by name."""
        with self._transactions.begin() as unit:
            rows = unit.connection.execute(
                select(organizations)
                .where(organizations.c.revoked_at.is_(None))
                .order_by(organizations.c.name)
            )
            return [_to_organization(row) for row in rows]

    def organization(self, name: str) -> Organization:
        """One organisation.

        Raises:
            NotFound: There is no such organisation.
        """
        with self._transactions.begin() as unit:
            row = unit.connection.execute(
                select(organizations).where(
                    organizations.c.name == name, organizations.c.revoked_at.is_(None)
                )
            ).one_or_none()
        if row is None:
            raise NotFound(f"no organisation {name!r}")
        return _to_organization(row)

    def revoke_organization(self, name: str) -> None:
        """Shut an organisation out; its rows stay until its sources are erased."""
        organization = self.organization(name)
        with self._transactions.begin() as unit:
            unit.connection.execute(
                update(organizations)
                .where(organizations.c.id == organization.id)
                .values(revoked_at=func.now())
            )

    def create_key(
        self, organization: str, name: str, scopes: Sequence[Scope]
    ) -> tuple[ApiKey, str]:
        """Make a key; the second value is its secret, which cannot be read again.

        Raises:
            BadRequest: No scope, or an unknown one.
        """
        unknown = set(scopes) - set(SCOPES)
        if unknown or not scopes:
            raise BadRequest(f"scopes must be some of {', '.join(SCOPES)}; got {list(scopes)}")
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
                    "secret_sha256": _digest(secret),
                    "scopes": sorted(set(scopes)),
                },
            )
        return next(key for key in self.keys(organization) if key.id == key_id), secret

    def keys(self, organization: str) -> list[ApiKey]:
        """All keys of an organisation, revoked ones too, oldest first."""
        owner = self.organization(organization)
        with self._transactions.begin() as unit:
            rows = unit.connection.execute(
                select(api_keys)
                .where(api_keys.c.organization_id == owner.id)
                .order_by(api_keys.c.created_at, api_keys.c.id)
            )
            return [_to_key(row) for row in rows]

    def revoke_key(self, key_id: UUID) -> None:
        """End a key at once.

        Raises:
            NotFound: There is no such key in force.
        """
        with self._transactions.begin() as unit:
            ended = unit.connection.execute(
                update(api_keys)
                .where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
                .values(revoked_at=func.now())
            )
        if ended.rowcount == 0:
            raise NotFound(f"no key {key_id} in force")


def _digest(secret: str) -> bytes:
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
    )
