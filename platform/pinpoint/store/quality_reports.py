"""Quality reports of an organization: the command line adds them, the API reads them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import Row, delete, func, insert, select, tuple_

from pinpoint.errors import NotFoundError
from pinpoint.records.quality_reports import NewQualityReport, QualityReport
from pinpoint.store.db.database import Transactions
from pinpoint.store.db.quality_report_tables import quality_reports

MAX_REPORTS: Final = 200
"""Reports kept for an organization; a new one deletes the oldest beyond that."""

_COLUMNS = (quality_reports.c.id, quality_reports.c.created_at, quality_reports.c.document)


class QualityReportStore:
    """Reads and adds reports; each call is one transaction.

    Args:
        transactions: Units of work of the API or of the owner.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def add(self, organization_id: UUID, report: NewQualityReport) -> UUID:
        """Store a report, and delete the oldest beyond `MAX_REPORTS`; returns its id."""
        report_id = uuid4()
        with self._transactions.begin(organization_id) as unit:
            unit.connection.execute(
                insert(quality_reports).values(
                    id=report_id,
                    organization_id=organization_id,
                    # Not `now()`: reports of one transaction keep their order.
                    created_at=func.clock_timestamp(),
                    kind=report.kind,
                    bundle=report.bundle,
                    document=msgspec.to_builtins(report),
                )
            )
            oldest = (
                select(quality_reports.c.id)
                .where(quality_reports.c.organization_id == organization_id)
                .order_by(quality_reports.c.created_at.desc(), quality_reports.c.id.desc())
                .offset(MAX_REPORTS)
            )
            unit.connection.execute(delete(quality_reports).where(quality_reports.c.id.in_(oldest)))
        return report_id

    def list_reports(
        self, organization_id: UUID, *, limit: int, before: tuple[datetime, UUID] | None = None
    ) -> list[QualityReport]:
        """List reports, newest first; `before` is time and id of the last one of a page."""
        statement = (
            select(*_COLUMNS)
            .where(quality_reports.c.organization_id == organization_id)
            .order_by(quality_reports.c.created_at.desc(), quality_reports.c.id.desc())
            .limit(limit)
        )
        if before is not None:
            position = tuple_(quality_reports.c.created_at, quality_reports.c.id)
            statement = statement.where(position < tuple_(*before))
        with self._transactions.begin(organization_id, read_only=True) as unit:
            return [_to_report(row) for row in unit.connection.execute(statement)]

    def report(self, organization_id: UUID, report_id: UUID) -> QualityReport:
        """Read one report.

        Raises:
            NotFoundError: The organization has no such report.
        """
        statement = select(*_COLUMNS).where(
            quality_reports.c.organization_id == organization_id,
            quality_reports.c.id == report_id,
        )
        with self._transactions.begin(organization_id, read_only=True) as unit:
            row = unit.connection.execute(statement).one_or_none()
        if row is None:
            raise NotFoundError(f"no report {report_id}")
        return _to_report(row)


def _to_report(row: Row[Any, Any, Any]) -> QualityReport:
    report = msgspec.convert(row.document, NewQualityReport)
    return QualityReport(id=row.id, created_at=row.created_at, report=report)
