"""Statistics over all organizations: jobs save them, `/metrics` and `pinpoint status` read them.

They are approximate and only for operators: a killed worker loses the sums of its last chunk, and
nothing else depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Row, func, text
from sqlalchemy.dialects.postgresql import insert

from pinpoint.records import Drift, RejectionCount, StageTiming, StatsSnapshot, SweepReport
from pinpoint.store.db.database import Transactions
from pinpoint.store.db.tables import upkeep

MAX_COUNT: Final = 100_000
"""Maximum of counts, which limits the cost of counting."""
INGEST_STAGES: Final = ("read", "keep", "embed", "index")
"""Stages of the ingest; `read` is the time spent waiting for the decoder, which runs ahead."""
COUNTS: Final = ("claimed", "encoded", "rejected", "failed", "released")
_DRIFT_NAMES: Final = ("checked", "missing", "stale", "extra", "mended")
_SWEEP_NAMES: Final = ("released", "items", "images", "graves", "forgotten")

Values = Mapping[str, tuple[float, datetime]]


class MaintenanceStats:
    """Access to the table `upkeep` and the totals.

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
        statement = insert(upkeep).values(rows)
        with self._transactions.begin() as unit:
            unit.connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["name"],
                    set_={"value": upkeep.c.value + statement.excluded.value, "at": func.now()},
                )
            )

    def note_drift(self, drift: Drift) -> None:
        """Save the result of the last reconcile."""
        self._save_values({f"drift.{name}": getattr(drift, name) for name in _DRIFT_NAMES})

    def note_swept(self, swept: SweepReport) -> None:
        """Save the result of the last sweep, and count the leases that it released."""
        self._save_values({f"sweep.{name}": getattr(swept, name) for name in _SWEEP_NAMES})
        self.add({"released": swept.released})

    def totals(self, *, timeout_s: float = 2.0, most: int = MAX_COUNT) -> StatsSnapshot:
        """Read all statistics.

        Args:
            timeout_s: Maximum duration of the statement, in seconds.
            most: Maximum of counts.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer in time.
        """
        with self._transactions.begin(read_only=True) as unit:
            unit.connection.execute(
                text("SELECT set_config('statement_timeout', :ms, true)"),
                {"ms": str(int(timeout_s * 1_000))},
            )
            rows = unit.connection.execute(
                text("SELECT name, value, at FROM tenant.totals(:most)"), {"most": most}
            ).all()
        return _to_totals(rows, most)

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
                    "SELECT o.name, i.kind, count(*) AS images FROM images i "
                    "JOIN organizations o ON o.id = i.organization_id "
                    "WHERE i.state = 'indexed' GROUP BY 1, 2 ORDER BY 1, 2"
                )
            ).all()
        return [(str(row.name), str(row.kind), int(row.images)) for row in rows]

    def _save_values(self, values: Mapping[str, int]) -> None:
        statement = insert(upkeep).values(
            [{"name": name, "value": float(value)} for name, value in sorted(values.items())]
        )
        with self._transactions.begin() as unit:
            unit.connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["name"],
                    set_={"value": statement.excluded.value, "at": func.now()},
                )
            )


def _to_totals(rows: Sequence[Row[Any]], most: int) -> StatsSnapshot:
    values = {row.name: (float(row.value), row.at) for row in rows}

    def number(name: str) -> int:
        return int(values.get(name, (0.0,))[0])

    drift, swept = (
        _read_group("drift", _DRIFT_NAMES, values),
        _read_group("sweep", _SWEEP_NAMES, values),
    )
    return StatsSnapshot(
        most=most,
        open_items={state: number(f"items.{state}") for state in ("received", "stored")},
        oldest_open_s=values["items.oldest_s"][0] if "items.oldest_s" in values else None,
        leases_held=number("leases.held"),
        leases_expired=number("leases.expired"),
        images_pending=number("images.pending"),
        images_deleted=number("images.deleted"),
        tombstones=number("tombstones"),
        refused_24h=_to_rejection_counts(values),
        drift=Drift(**drift) if drift else None,
        reconciled_at=values["drift.checked"][1] if drift else None,
        swept=SweepReport(**swept) if swept else None,
        swept_at=values["sweep.items"][1] if swept else None,
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
    """Read the numbers of one job; empty if it has not run yet."""
    if any(f"{group}.{name}" not in values for name in names):
        return {}
    return {name: int(values[f"{group}.{name}"][0]) for name in names}


def _to_rejection_counts(values: Values) -> tuple[RejectionCount, ...]:
    counts = []
    for name, (value, _) in values.items():
        group, _, rest = name.partition(".")
        verdict, _, reason = rest.partition(".")
        if group == "refused":
            final_status: Literal["rejected", "failed"] = (
                "failed" if verdict == "failed" else "rejected"
            )
            counts.append(
                RejectionCount(verdict=final_status, reason=reason or "unknown", items=int(value))
            )
    return tuple(sorted(counts, key=lambda count: (-count.items, count.verdict, count.reason)))
