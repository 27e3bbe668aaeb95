"""Statistics over all organizations: tasks save them, `/metrics` and `pinpoint status` read them.

They are approximate and only for operators: a killed worker loses the sums of its last chunk, and
nothing else depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Row, func, text
from sqlalchemy.dialects.postgresql import insert

from pinpoint.records import Drift, RecoveryReport, RejectionCount, StageTiming, StatsSnapshot
from pinpoint.records.jobs import JOB_ITEM_STATES, JOB_STATES
from pinpoint.store.db.database import Transactions
from pinpoint.store.db.tables import maintenance_stats

MAX_COUNT: Final = 100_000
"""Maximum of counts, which limits the cost of counting."""
INGEST_STAGES: Final = ("read", "store", "embed", "index")
"""Stages of the ingest; `read` is the time spent waiting for the decoder, which runs ahead."""
COUNTS: Final = ("claimed", "encoded", "rejected", "failed", "released", "dead_letters")
_DRIFT_NAMES: Final = ("checked", "missing", "stale", "extra", "repaired")
_RECOVERY_NAMES: Final = ("released", "items", "images", "deletions", "tombstones")
_REJECTED_GROUP: Final = "rejected_items"
"""Prefix of the totals that the trigger on `batch_items` increases."""

Values = Mapping[str, tuple[float, datetime]]


class MaintenanceStats:
    """Access to the table `maintenance_stats` and the totals.

    Args:
        transactions: Units of work; the API's role may only read the totals.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def add(self, sums: Mapping[str, float]) -> None:
        """Add to running sums, created with their first value.

        Args:
            sums: `<stage>.slices` and `<stage>.seconds`, or one of `COUNTS`; zeros are skipped.
        """
        # Ordered by name, so that two workers lock the rows in the same order.
        rows = [
            {"name": f"sum.{name}", "value": float(value)}
            for name, value in sorted(sums.items())
            if value
        ]
        if not rows:
            return
        statement = insert(maintenance_stats).values(rows)
        with self._transactions.begin() as unit:
            unit.connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["name"],
                    set_={
                        "value": maintenance_stats.c.value + statement.excluded.value,
                        "updated_at": func.now(),
                    },
                )
            )

    def record_drift(self, drift: Drift) -> None:
        """Save the result of the last reconcile."""
        self._save_values({f"drift.{name}": getattr(drift, name) for name in _DRIFT_NAMES})

    def record_recovery(self, report: RecoveryReport) -> None:
        """Save the result of the last recovery run, and count the leases that it released."""
        self._save_values({f"recovery.{name}": getattr(report, name) for name in _RECOVERY_NAMES})
        self.add({"released": report.released})

    def totals(self, *, timeout_s: float = 2.0, max_count: int = MAX_COUNT) -> StatsSnapshot:
        """Read all statistics.

        Args:
            timeout_s: Maximum duration of the statement, in seconds.
            max_count: Maximum of counts.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer in time.
        """
        with self._transactions.begin(read_only=True) as unit:
            unit.connection.execute(
                text("SELECT set_config('statement_timeout', :ms, true)"),
                {"ms": str(int(timeout_s * 1_000))},
            )
            rows = unit.connection.execute(
                text("SELECT name, value, updated_at FROM tenant.totals(:max_count)"),
                {"max_count": max_count},
            ).all()
        return _to_totals(rows, max_count)

    def count_images(self, *, timeout_s: float = 2.0) -> list[tuple[str, str, int]]:
        """Count the indexed images of every organization, for the operator.

        Args:
            timeout_s: Maximum duration of the count, in seconds.

        Returns:
            Organization, source kind and number, ordered by organization.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer in time.
        """
        with self._transactions.begin(read_only=True) as unit:
            unit.connection.execute(
                text("SELECT set_config('statement_timeout', :ms, true)"),
                {"ms": str(int(timeout_s * 1_000))},
            )
            rows = unit.connection.execute(
                text(
                    "SELECT o.name, i.source_kind, count(*) AS images FROM images i "
                    "JOIN organizations o ON o.id = i.organization_id "
                    "WHERE i.state = 'indexed' GROUP BY 1, 2 ORDER BY 1, 2"
                )
            ).all()
        return [(str(row.name), str(row.source_kind), int(row.images)) for row in rows]

    def _save_values(self, values: Mapping[str, int]) -> None:
        statement = insert(maintenance_stats).values(
            [{"name": name, "value": float(value)} for name, value in sorted(values.items())]
        )
        with self._transactions.begin() as unit:
            unit.connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["name"],
                    set_={"value": statement.excluded.value, "updated_at": func.now()},
                )
            )


def _to_totals(rows: Sequence[Row[Any]], max_count: int) -> StatsSnapshot:
    values = {row.name: (float(row.value), row.updated_at) for row in rows}

    def number(name: str) -> int:
        return int(values.get(name, (0.0,))[0])

    drift = _read_group("drift", _DRIFT_NAMES, values)
    recovery = _read_group("recovery", _RECOVERY_NAMES, values)
    return StatsSnapshot(
        max_count=max_count,
        open_items={state: number(f"items.{state}") for state in ("received", "stored")},
        oldest_open_s=values["items.oldest_s"][0] if "items.oldest_s" in values else None,
        leases_held=number("leases.held"),
        leases_expired=number("leases.expired"),
        images_pending=number("images.pending"),
        images_deleted=number("images.deleted"),
        tombstones=number("tombstones"),
        jobs={state: number(f"jobs.{state}") for state in JOB_STATES},
        job_items={state: number(f"job_items.{state}") for state in JOB_ITEM_STATES},
        oldest_job_item_s=(
            values["job_items.oldest_s"][0] if "job_items.oldest_s" in values else None
        ),
        rejected_items=_to_rejection_counts(values),
        drift=Drift(**drift) if drift else None,
        reconciled_at=values["drift.checked"][1] if drift else None,
        recovery=RecoveryReport(**recovery) if recovery else None,
        recovered_at=values["recovery.items"][1] if recovery else None,
        stages={
            stage: StageTiming(
                slices=number(f"sum.{stage}.slices"),
                seconds=values.get(f"sum.{stage}.seconds", (0.0,))[0],
            )
            for stage in INGEST_STAGES
        },
        counts={name: number(f"sum.{name}") for name in COUNTS},
    )


def _read_group(group: str, names: Sequence[str], values: Values) -> dict[str, int]:
    """Read the numbers of one task; empty if it has not run yet."""
    if any(f"{group}.{name}" not in values for name in names):
        return {}
    return {name: int(values[f"{group}.{name}"][0]) for name in names}


def _to_rejection_counts(values: Values) -> tuple[RejectionCount, ...]:
    counts = []
    for name, (value, _) in values.items():
        group, _, rest = name.partition(".")
        if group != _REJECTED_GROUP:
            continue
        status_name, _, error_code = rest.partition(".")
        status: Literal["rejected", "failed"] = "failed" if status_name == "failed" else "rejected"
        counts.append(RejectionCount(status=status, error_code=error_code, items=int(value)))
    return tuple(sorted(counts, key=lambda count: (-count.items, count.status, count.error_code)))
