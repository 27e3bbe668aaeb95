"""Numbers over all organisations: jobs leave them here, `/metrics` and `pinpoint status` read them.

They are for an operator and never a truth: a worker that is killed takes the sums of its last
chunk along, and nothing else depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from sqlalchemy import Row, func, text
from sqlalchemy.dialects.postgresql import insert

from pinpoint.records import Drift, Refused, StageSum, Swept, Totals
from pinpoint.store.database import Transactions
from pinpoint.store.tables import upkeep

MOST: Final = 100_000
"""Where counts stop, so that asking stays cheap however much there is."""
STAGES: Final = ("read", "keep", "embed", "index")
"""Of the ingest; `read` is the time spent waiting for the decoding that runs ahead."""
COUNTS: Final = ("claimed", "encoded", "rejected", "failed", "released")
_DRIFT: Final = ("checked", "missing", "stale", "extra", "mended")
_SWEPT: Final = ("released", "items", "images", "graves", "forgotten")

Values = Mapping[str, tuple[float, datetime]]


class Upkeep:
    """The table `upkeep` and the totals.

    Args:
        transactions: Units of work; the API's role may read the totals and write nothing.
    """

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def add(self, sums: Mapping[str, float]) -> None:
        """Add to running sums, made at their first value.

        Args:
            sums: `<stage>.slices` and `<stage>.seconds`, or one of `COUNTS`; zeros are left out.
        """
        # In order of name, so that two workers lock the rows in the same order.
        rows = [
            {"name": f"sum.{name}", "value": float(value)}
            for name, value in sorted(sums.items())
            if value
        ]
        if not rows:
            return
        given = insert(upkeep).values(rows)
        with self._transactions.begin() as unit:
            unit.connection.execute(
                given.on_conflict_do_update(
                    index_elements=["name"],
                    set_={"value": upkeep.c.value + given.excluded.value, "at": func.now()},
                )
            )

    def note_drift(self, drift: Drift) -> None:
        """Keep what the last reconcile found."""
        self._note({f"drift.{name}": getattr(drift, name) for name in _DRIFT})

    def note_swept(self, swept: Swept) -> None:
        """Keep what the last sweep found, and count the leases that it released."""
        self._note({f"sweep.{name}": getattr(swept, name) for name in _SWEPT})
        self.add({"released": swept.released})

    def totals(self, *, timeout_s: float = 2.0, most: int = MOST) -> Totals:
        """How the work stands.

        Args:
            timeout_s: Longest time that the statement may take.
            most: Where counts stop.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer, or not in time.
        """
        with self._transactions.begin(read_only=True) as unit:
            unit.connection.execute(
                text("SELECT set_config('statement_timeout', :ms, true)"),
                {"ms": str(int(timeout_s * 1_000))},
            )
            rows = unit.connection.execute(
                text("SELECT name, value, at FROM tenant.totals(:most)"), {"most": most}
            ).all()
        return _totals(rows, most)

    def count_images(self, *, timeout_s: float = 2.0) -> list[tuple[str, str, int]]:
        """Indexed images of every organization, for the operator.

        Args:
            timeout_s: Longest time that the count may take, in seconds.

        Returns:
            Organization, source kind and number, by organization.

        Raises:
            DatabaseUnavailable: PostgreSQL does not answer, or not in time.
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

    def _note(self, values: Mapping[str, int]) -> None:
        given = insert(upkeep).values(
            [{"name": name, "value": float(value)} for name, value in sorted(values.items())]
        )
        with self._transactions.begin() as unit:
            unit.connection.execute(
                given.on_conflict_do_update(
                    index_elements=["name"],
                    set_={"value": given.excluded.value, "at": func.now()},
                )
            )


def _totals(rows: Sequence[Row[Any]], most: int) -> Totals:
    found = {row.name: (float(row.value), row.at) for row in rows}

    def number(name: str) -> int:
        return int(found.get(name, (0.0,))[0])

    drift, swept = _whole("drift", _DRIFT, found), _whole("sweep", _SWEPT, found)
    return Totals(
        most=most,
        open_items={state: number(f"items.{state}") for state in ("received", "stored")},
        oldest_open_s=found["items.oldest_s"][0] if "items.oldest_s" in found else None,
        leases_held=number("leases.held"),
        leases_expired=number("leases.expired"),
        images_pending=number("images.pending"),
        images_deleted=number("images.deleted"),
        tombstones=number("tombstones"),
        refused_24h=_refused(found),
        drift=Drift(**drift) if drift else None,
        reconciled_at=found["drift.checked"][1] if drift else None,
        swept=Swept(**swept) if swept else None,
        swept_at=found["sweep.items"][1] if swept else None,
        stages={
            stage: StageSum(
                slices=number(f"sum.{stage}.slices"),
                seconds=found.get(f"sum.{stage}.seconds", (0.0,))[0],
            )
            for stage in STAGES
        },
        counts={name: number(f"sum.{name}") for name in COUNTS},
    )


def _whole(group: str, names: Sequence[str], found: Values) -> dict[str, int]:
    """The numbers of one job, or nothing where it has not run yet."""
    if any(f"{group}.{name}" not in found for name in names):
        return {}
    return {name: int(found[f"{group}.{name}"][0]) for name in names}


def _refused(found: Values) -> tuple[Refused, ...]:
    refused = []
    for name, (value, _) in found.items():
        group, _, rest = name.partition(".")
        verdict, _, reason = rest.partition(".")
        if group == "refused":
            said: Literal["rejected", "failed"] = "failed" if verdict == "failed" else "rejected"
            refused.append(Refused(verdict=said, reason=reason or "unknown", items=int(value)))
    return tuple(sorted(refused, key=lambda one: (-one.items, one.verdict, one.reason)))
