"""API keys of organizations, and authentication.

A secret is `pp_` and 256 random bits. Only its SHA-256 is stored, and the secret is shown once.
All methods except `find_key` use functions and columns that the API's role may use.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import Row, Select, func, insert, select, text, tuple_, update

from pinpoint.errors import (
    ConflictError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    UnauthenticatedError,
)
from pinpoint.records import (
    SCOPES,
    ApiKey,
    AuditEntry,
    Caller,
    KeyGrant,
    Scope,
    limits,
)
from pinpoint.records.access import KEY_ROLES, MAX_OVERLAP_S
from pinpoint.records.audit import AuditOperation
from pinpoint.records.protected_areas import coarser_granularity
from pinpoint.store.catalog import audit_log
from pinpoint.store.catalog.names import check_label
from pinpoint.store.db.access_tables import api_keys
from pinpoint.store.db.database import UnitOfWork
from pinpoint.store.db.organizations import OrganizationStore

GRANT_EXCEEDS_KEY: Final = "grant_exceeds_key"
"""Reason of a grant that has something that the caller's key does not have."""
_REJECTIONS: Final = {
    "key_expired": "the key has expired; ask for a new one",
    "key_revoked": "the key was revoked",
    "secret_replaced": "the key was rotated, and this secret is no longer valid; use the new one",
    "organization_disabled": "the organization of the key is disabled",
}
"""State of a key in `tenant.authenticate`, which is also the reason → message."""
_KEY_COLUMNS: Final = (
    api_keys.c.id,
    api_keys.c.organization_id,
    api_keys.c.name,
    api_keys.c.role,
    api_keys.c.scopes,
    api_keys.c.created_at,
    api_keys.c.expires_at,
    api_keys.c.last_used_at,
    api_keys.c.rotated_at,
    api_keys.c.previous_secret_expires_at,
    api_keys.c.revoked_at,
    api_keys.c.granularity,
    api_keys.c.min_radius_m,
)
"""The API's role has no right to read the other columns."""


class ApiKeyStore(OrganizationStore):
    """API keys and their organizations."""

    def authenticate(self, secret: str) -> Caller:
        """Find the caller of a key, and store the time of its use, at most once a minute.

        Raises:
            UnauthenticatedError: The key is unknown, revoked or expired, its secret was replaced,
                or its organization is disabled; the reason says which.
        """
        rows = self._transactions.run_statement(
            "SELECT * FROM tenant.authenticate(:secret)", secret=_hash_secret(secret)
        )
        if not rows:
            raise UnauthenticatedError("the key is unknown", reason="unknown_key")
        row = rows[0]
        if row.key_state != "active":
            raise UnauthenticatedError(_REJECTIONS[row.key_state], reason=row.key_state)
        return Caller(
            organization_id=row.organization_id,
            organization=row.organization,
            scopes=frozenset(row.scopes),
            key_id=row.key_id,
            key_expires_at=row.expires_at,
            granularity=row.granularity,
            min_radius_m=row.min_radius_m,
        )

    def any_keys(self) -> bool:
        """Whether a key was ever created; from then on every request needs one."""
        return bool(self._transactions.run_statement("SELECT tenant.any_keys()")[0][0])

    def caller_for(self, organization: str, scopes: Iterable[Scope] = SCOPES) -> Caller:
        """Caller of this organization that was authenticated without a key.

        Raises:
            NotFoundError: No such organization exists.
        """
        owner = self.organization(organization)
        return Caller(
            organization_id=owner.id,
            organization=owner.name,
            scopes=frozenset(scopes),
            granularity="exact",
        )

    def create_key(
        self, organization: str, name: str, grant: KeyGrant, caller: Caller | None = None
    ) -> tuple[ApiKey, str]:
        """Create a key; the second value is its secret, which cannot be read again.

        Args:
            organization: Name or id of its organization.
            name: Name of the key, for lists and the audit log; names need not be unique.
            grant: What the key permits.
            caller: Caller with an admin key; None for the operator.

        Raises:
            InvalidRequestError: The name or the grant is invalid.
            ForbiddenError: The grant has something that the caller's key does not have.
            NotFoundError: No such organization exists.
        """
        _check_key_name(name)
        _check_grant(grant)
        check_grant_of_caller(grant, caller)
        owner = self.organization(organization)
        secret, key_id = _make_secret(), uuid4()
        with self._transactions.begin(owner.id) as unit:
            unit.connection.execute(
                insert(api_keys),
                {
                    "id": key_id,
                    "organization_id": owner.id,
                    "name": name,
                    "secret_sha256": _hash_secret(secret),
                    "role": grant.role,
                    "scopes": list(grant.all_scopes),
                    "expires_at": grant.expires_at,
                    "granularity": grant.granularity,
                    "min_radius_m": grant.min_radius_m,
                },
            )
            _log_key_change(unit, "create_key", owner.id, key_id, caller)
            return _read_key(unit, owner.id, key_id), secret

    def keys(
        self,
        organization: str,
        *,
        limit: int | None = None,
        after: tuple[datetime, UUID] | None = None,
    ) -> list[ApiKey]:
        """Keys of an organization, including revoked ones, oldest first.

        Args:
            organization: Name or id of the organization.
            limit: Maximum number of keys; None: all.
            after: Time of creation and id of the last key of the previous page.

        Raises:
            NotFoundError: No such organization exists.
        """
        owner = self.organization(organization)
        statement = (
            _select_keys(owner.id).order_by(api_keys.c.created_at, api_keys.c.id).limit(limit)
        )
        if after is not None:
            statement = statement.where(
                tuple_(api_keys.c.created_at, api_keys.c.id) > tuple_(*after)
            )
        with self._transactions.begin(owner.id, read_only=True) as unit:
            return [_to_key(row) for row in unit.connection.execute(statement)]

    def key(self, organization: str, key_id: UUID) -> ApiKey:
        """One key of an organization, also a revoked one.

        Raises:
            NotFoundError: No such organization exists, or it has no such key.
        """
        owner = self.organization(organization)
        with self._transactions.begin(owner.id, read_only=True) as unit:
            return _read_key(unit, owner.id, key_id)

    def find_key(self, key_id: UUID) -> ApiKey:
        """Find a key of any organization; only for the owner's role.

        Raises:
            NotFoundError: No such key exists.
        """
        with self._transactions.begin(read_only=True) as unit:
            statement: Select[Any] = select(*_KEY_COLUMNS).where(api_keys.c.id == key_id)
            row = unit.connection.execute(statement).one_or_none()
        if row is None:
            raise NotFoundError(f"no key {key_id}")
        return _to_key(row)

    def rotate_key(
        self, organization: str, key_id: UUID, *, overlap_s: float = 0, caller: Caller | None = None
    ) -> tuple[ApiKey, str]:
        """Replace the secret of a key; the second value is the new one.

        Args:
            organization: Name or id of its organization.
            key_id: Id of the key.
            overlap_s: Time during which the previous secret stays valid, seconds, from 0 to
                `MAX_OVERLAP_S`. A secret from before an earlier rotation becomes invalid at once.
            caller: Caller with an admin key; None for the operator.

        Raises:
            InvalidRequestError: The overlap is out of range.
            ConflictError: The key is revoked or expired.
            ForbiddenError: The key has something that the caller's key does not have, so the caller
                may not know its secret.
            NotFoundError: No such organization exists, or it has no such key.
        """
        if not 0 <= overlap_s <= MAX_OVERLAP_S:
            raise InvalidRequestError(f"overlap_s must be 0 to {MAX_OVERLAP_S}; got {overlap_s}")
        owner = self.organization(organization)
        secret = _make_secret()
        with self._transactions.begin(owner.id) as unit:
            key = _read_key(unit, owner.id, key_id)
            check_grant_of_caller(key.grant, caller)
            if key.revoked_at is not None:
                raise ConflictError(f"key {key_id} is revoked; create a new one")
            if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
                raise ConflictError(f"key {key_id} has expired; create a new one")
            unit.connection.execute(
                text("SELECT tenant.rotate_key(:id, :secret, :overlap_s)"),
                {"id": key_id, "secret": _hash_secret(secret), "overlap_s": overlap_s},
            )
            _log_key_change(unit, "rotate_key", owner.id, key_id, caller)
            return _read_key(unit, owner.id, key_id), secret

    def revoke_key(self, organization: str, key_id: UUID, caller: Caller | None = None) -> None:
        """Revoke a key immediately, with both of its secrets; a second call changes nothing.

        Raises:
            NotFoundError: No such organization exists, or it has no such key.
        """
        owner = self.organization(organization)
        with self._transactions.begin(owner.id) as unit:
            _read_key(unit, owner.id, key_id)
            result = unit.connection.execute(
                update(api_keys)
                .where(
                    api_keys.c.organization_id == owner.id,
                    api_keys.c.id == key_id,
                    api_keys.c.revoked_at.is_(None),
                )
                .values(revoked_at=func.now())
            )
            if result.rowcount:
                _log_key_change(unit, "revoke_key", owner.id, key_id, caller)


def check_grant_of_caller(grant: KeyGrant, caller: Caller | None) -> None:
    """Reject a grant that exceeds the caller's key; the operator may grant everything.

    Raises:
        ForbiddenError: The grant has a scope that the key lacks, or it outlives the key.
    """
    if caller is None or caller.key_id is None:
        return
    missing = [scope for scope in grant.all_scopes if scope not in caller.scopes]
    if missing:
        raise ForbiddenError(
            f"a key cannot grant scopes that it lacks: {', '.join(missing)}",
            reason=GRANT_EXCEEDS_KEY,
        )
    is_coarser = coarser_granularity(grant.granularity, caller.granularity) == grant.granularity
    if not is_coarser or grant.min_radius_m < caller.min_radius_m:
        raise ForbiddenError(
            "a key cannot grant finer positions than its own: granularity "
            f"{caller.granularity}, min_radius_m {caller.min_radius_m:g}",
            reason=GRANT_EXCEEDS_KEY,
        )
    if caller.key_expires_at is not None and (
        grant.expires_at is None or grant.expires_at > caller.key_expires_at
    ):
        raise ForbiddenError(
            "a key that expires cannot grant a key that is valid longer; its own expires_at is "
            f"{caller.key_expires_at.isoformat()}",
            reason=GRANT_EXCEEDS_KEY,
        )


def _check_key_name(name: str) -> None:
    try:
        limits.check_text("name", name)
    except limits.UnstorableError as error:
        raise InvalidRequestError(error.detail, reason=error.reason) from error
    check_label(name, "key")


def _check_grant(grant: KeyGrant) -> None:
    """Reject an unknown role or scope, a grant without a scope, and an expiry in the past."""
    if grant.role is not None and grant.role not in KEY_ROLES:
        raise InvalidRequestError(
            f"role {grant.role!r} is unknown; valid are {', '.join(KEY_ROLES)}"
        )
    if set(grant.scopes) - set(SCOPES) or not grant.all_scopes:
        raise InvalidRequestError(
            f"a key needs a role or scopes; scopes are {', '.join(SCOPES)}; "
            f"got {list(grant.scopes)}"
        )
    if grant.expires_at is not None and grant.expires_at <= datetime.now(UTC):
        raise InvalidRequestError("expires_at must be in the future", reason="expiry_in_past")


def _log_key_change(
    unit: UnitOfWork,
    operation: AuditOperation,
    organization_id: UUID,
    key_id: UUID,
    caller: Caller | None,
) -> None:
    entry = AuditEntry(
        operation=operation,
        key_id=None if caller is None else caller.key_id,
        target_id=key_id,
    )
    audit_log.insert_entries(unit.connection, organization_id, [entry])


def _make_secret() -> str:
    return f"pp_{secrets.token_urlsafe(32)}"


def _hash_secret(secret: str) -> bytes:
    # SHA-256 is sufficient: the secret is 256 random bits, so it cannot be guessed.
    return hashlib.sha256(secret.encode()).digest()


def _select_keys(organization_id: UUID) -> Select[Any]:
    return select(*_KEY_COLUMNS).where(api_keys.c.organization_id == organization_id)


def _read_key(unit: UnitOfWork, organization_id: UUID, key_id: UUID) -> ApiKey:
    row = unit.connection.execute(
        _select_keys(organization_id).where(api_keys.c.id == key_id)
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"no key {key_id}")
    return _to_key(row)


def _to_key(row: Row[Any]) -> ApiKey:
    return ApiKey(**{**row._mapping, "scopes": tuple(row.scopes)})
