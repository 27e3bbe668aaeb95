"""Work in progress for `pinpoint status`: the metrics of `/metrics`, collected without the API.

All components are queried concurrently with a short timeout; those without an answer are listed.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from pinpoint.cli import output
from pinpoint.errors import IndexUnavailableError, PinpointError

if TYPE_CHECKING:
    from pinpoint.ports import VectorIndex
    from pinpoint.records import StatsSnapshot
    from pinpoint.settings import Settings

TIMEOUT_S: Final = 0.6
"""Timeout of each component."""
MAX_STATUS_COUNT: Final = 10_000
"""Limit of counts; counting 100,000 rows took 0.4 s on a busy machine, too long for `status`."""
_MAX_CODES_SHOWN: Final = 8
"""Maximum number of error codes shown to people; `--json` has all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """Work in progress according to the database and the broker.

    Args:
        totals: None if PostgreSQL does not answer.
        queue_length: Tasks that no worker has taken; None if the broker does not answer.
        silent: Components that did not answer, with the reason.
        images: Indexed images; None if PostgreSQL does not answer in time.
    """

    totals: StatsSnapshot | None
    queue_length: int | None
    silent: dict[str, str]
    images: list[ImageCount] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCount:
    """Indexed images of one organization and source kind."""

    organization: str
    source_kind: str
    images: int


def collect_status(settings: Settings) -> StatusReport:
    """Query database, broker and index; components that are down are listed in `silent`."""
    # `bootstrap.build_services` is not used: it spends a second on imports that are not needed. The
    # imports run before the timeout starts.
    from pinpoint.stack.broker.task_sender import CeleryQueue
    from pinpoint.stack.paths import StackPaths
    from pinpoint.store.db.database import Transactions, owner_engine
    from pinpoint.store.db.installation import Installation
    from pinpoint.store.maintenance_stats import MaintenanceStats
    from pinpoint.store.vectors.index_factory import open_index

    paths = StackPaths(settings.services.home)
    transactions = Transactions(owner_engine(settings.services.database_url or paths.owner_url()))
    queue = CeleryQueue(settings.services.broker_url or paths.broker_url)
    index = open_index(settings.services, paths.index_socket, Installation(transactions))
    try:
        answers, silent = _query_components(
            {
                "database": lambda: MaintenanceStats(transactions).totals(
                    timeout_s=TIMEOUT_S, max_count=MAX_STATUS_COUNT
                ),
                "broker": queue.waiting,
                "index": lambda: _check_index(index),
                "images": lambda: MaintenanceStats(transactions).count_images(timeout_s=TIMEOUT_S),
            }
        )
    finally:
        transactions.close()
        queue.close()
    image_counts = answers.get("images")
    if "database" in silent:
        silent.pop("images", None)  # the same database is already listed
    return StatusReport(
        totals=answers.get("database"),
        queue_length=answers.get("broker"),
        silent=silent,
        images=None
        if image_counts is None
        else [
            ImageCount(organization=name, source_kind=kind, images=images)
            for name, kind, images in image_counts
        ],
    )


def _check_index(index: VectorIndex) -> bool:
    """Query the index, which raises an error if it belongs to another installation."""
    info = index.info()
    if not info.ready:
        raise IndexUnavailableError(info.loading or "it is not ready")
    return True


def describe_sandbox_state(settings: Settings) -> dict[str, Any]:
    """Describe the decoder's sandbox on this machine as plain values.

    Returns:
        `summary` for people, and `measures` (name, state, detail).
    """
    from pinpoint.media.decoding.child_process import describe_sandbox
    from pinpoint.media.decoding.sandbox import summarize_measures

    try:
        measures = describe_sandbox(settings.media)
    except PinpointError as error:
        return {"summary": error.message, "measures": []}
    return {
        "summary": summarize_measures(measures),
        "measures": [dataclasses.asdict(measure) for measure in measures],
    }


def _query_components(
    calls: dict[str, Callable[[], object]],
) -> tuple[dict[str, Any], dict[str, str]]:
    """Collect the answers of all components, and the errors of those that failed or timed out."""
    answers: dict[str, Any] = {}
    failures: dict[str, str] = {}

    def run(component: str, call: Callable[[], object]) -> None:
        try:
            answers[component] = call()
        except PinpointError as error:
            failures[component] = error.message
        except Exception as error:  # for example another schema revision: report it and continue
            failures[component] = (
                f"it cannot be read ({type(error).__name__}); `pinpoint up` migrates it"
            )

    # Daemon threads: a component that hangs must not keep the command from ending.
    threads = [Thread(target=run, args=item, daemon=True) for item in calls.items()]
    deadline = time.monotonic() + TIMEOUT_S
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0.0))
    finished = dict(answers)
    late = f"no answer within {TIMEOUT_S} s"
    return finished, {
        component: failures.get(component, late) for component in calls if component not in finished
    }


def status_to_dict(report: StatusReport) -> dict[str, Any]:
    """Convert a status report to plain values."""
    return dataclasses.asdict(report)


def show_status(report: StatusReport) -> None:
    """Print a status report for people."""
    rows: list[tuple[str, str]] = []
    if report.queue_length is not None:
        rows.append(("queue length", str(report.queue_length)))
    if report.totals is not None:
        rows += _work_rows(report.totals)
    rows += [
        (component, f"does not answer: {message}") for component, message in report.silent.items()
    ]
    output.print_line("")
    output.print_table(None, ("work", "status"), rows)


def _work_rows(totals: StatsSnapshot) -> list[tuple[str, str]]:
    def at_least(count: int) -> str:
        return f"{count} or more" if count >= totals.max_count else str(count)

    waiting, stored = totals.open_items["received"], totals.open_items["stored"]
    oldest = "" if totals.oldest_open_s is None else f", oldest {_format_age(totals.oldest_open_s)}"
    rejections = [
        f"{count.items} {count.error_code}" for count in totals.rejected_items[:_MAX_CODES_SHOWN]
    ]
    more = len(totals.rejected_items) - len(rejections)
    return [
        ("files open", f"{at_least(waiting)} to read, {at_least(stored)} to index{oldest}"),
        ("leases", f"{totals.leases_held} held, {totals.leases_expired} expired"),
        (
            "images",
            f"{at_least(totals.images_pending)} to index, "
            f"{at_least(totals.images_deleted)} to delete; "
            f"{at_least(totals.tombstones)} tombstones",
        ),
        ("last recovery", _describe_recovery(totals)),
        ("last reconcile", _describe_drift(totals)),
        (
            "rejected files",
            ", ".join(rejections + [f"{more} more codes"] * (more > 0)) or "none",
        ),
    ]


def _describe_recovery(totals: StatsSnapshot) -> str:
    recovery = totals.recovery
    if recovery is None or totals.recovered_at is None:
        return "none yet"
    return (
        f"{_format_ago(totals.recovered_at)}: {recovery.released} leases released, "
        f"{recovery.items} files and {recovery.images} images sent again"
    )


def _describe_drift(totals: StatsSnapshot) -> str:
    drift = totals.drift
    if drift is None or totals.reconciled_at is None:
        return "none yet"
    return (
        f"{_format_ago(totals.reconciled_at)}: drift {drift.total} of {drift.checked} "
        f"({drift.missing} missing, {drift.stale} stale, {drift.extra} extra)"
    )


def _format_ago(then: datetime) -> str:
    return f"{_format_age((datetime.now(UTC) - then).total_seconds())} ago"


def _format_age(seconds: float) -> str:
    if seconds < 120:
        return f"{max(seconds, 0):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"
