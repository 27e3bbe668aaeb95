"""Organizations, through functions of schema `tenant` that the API's role may call."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Row, text
from sqlalchemy.exc import IntegrityError

from pinpoint.errors import ConflictError, InvalidRequestError, NotFoundError
from pinpoint.records import DEFAULT_ORGANIZATION, AuditEntry, Organization, limits
from pinpoint.records.audit import AuditOperation
from pinpoint.store.catalog import audit_log
from pinpoint.store.catalog.names import check_name
from pinpoint.store.db.database import Transactions, UnitOfWork


class OrganizationStore:
    """Organizations of an installation; only its operator creates and disables them."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def create_organization(self, name: str) -> Organization:
        """Create an organization.

        Raises:
            ConflictError: The name is taken.
            InvalidRequestError: The name is invalid (`store.catalog.names`).
        """
        try:
            limits.check_text("name", name)
        except limits.UnstorableError as error:
            raise InvalidRequestError(error.detail, reason=error.reason) from error
        check_name(name, "organization")
        organization_id = uuid4()
        try:
            with self._transactions.begin(organization_id) as unit:
                with unit.connection.begin_nested():
                    unit.connection.execute(
                        text("SELECT tenant.create_organization(:id, :name)"),
                        {"id": organization_id, "name": name},
                    )
                _log_change(unit, "create_organization", organization_id)
        except IntegrityError as error:
            raise ConflictError(f"an organization named {name!r} exists already") from error
        return self.organization(name)

    def organizations(
        self, *, limit: int | None = None, after: tuple[datetime, UUID] | None = None
    ) -> list[Organization]:
        """Organizations that are not disabled, oldest first.

        Args:
            limit: Maximum number; None: all.
            after: Time of creation and id of the last organization of the previous page.
        """
        created_at, organization_id = (None, None) if after is None else after
        with self._transactions.begin(read_only=True) as unit:
            rows = unit.connection.execute(
                text("SELECT * FROM tenant.list_organizations(:created_at, :id, :limit)"),
                {"created_at": created_at, "id": organization_id, "limit": limit},
            )
            return [_to_organization(row) for row in rows]

    def organization(self, name_or_id: str) -> Organization:
        """Find an organization that is not disabled.

        Raises:
            NotFoundError: No such organization exists.
        """
        with self._transactions.begin(read_only=True) as unit:
            row = unit.connection.execute(
                text("SELECT * FROM tenant.find_organization(:name_or_id)"),
                {"name_or_id": name_or_id},
            ).one_or_none()
        if row is None:
            raise NotFoundError(f"no organization {name_or_id!r}")
        return _to_organization(row)

    def disable_organization(self, name_or_id: str) -> None:
        """Disable an organization; its rows remain until its sources are erased.

        Raises:
            ConflictError: It is the organization of requests that name none.
            NotFoundError: No such organization exists, or it is disabled.
        """
        organization = self.organization(name_or_id)
        if organization.name == DEFAULT_ORGANIZATION:
            raise ConflictError(
                f"the organization {DEFAULT_ORGANIZATION!r} cannot be disabled: the operator's "
                "requests belong to it unless they name another one"
            )
        with self._transactions.begin(organization.id) as unit:
            unit.connection.execute(
                text("SELECT tenant.disable_organization(:id)"), {"id": organization.id}
            )
            _log_change(unit, "disable_organization", organization.id)


def _log_change(unit: UnitOfWork, operation: AuditOperation, organization_id: UUID) -> None:
    entry = AuditEntry(operation=operation, key_id=None, target_id=organization_id)
    audit_log.insert_entries(unit.connection, organization_id, [entry])


def _to_organization(row: Row[Any]) -> Organization:
    return Organization(id=row.id, name=row.name, created_at=row.created_at)
