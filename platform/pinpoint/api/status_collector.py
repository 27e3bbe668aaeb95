"""Status metrics from database, broker and index, cached for a few seconds.

A component that does not answer has `pinpoint_component_up 0`; its metrics are absent instead
of stale.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeVar

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from pinpoint import deadline, logs
from pinpoint.bootstrap import Services
from pinpoint.errors import IndexUnavailableError, PinpointError
from pinpoint.media.checks import REASONS
from pinpoint.records import StatsSnapshot

FRESH_S: Final = 5.0
QUERY_TIMEOUT_S: Final = 2.0
OTHER_CODE: Final = "other"
WORKER_CODES: Final = (
    *("too_many_attempts", "not_encoded", "source_erased"),
    *("deleted_during_ingest", "file_modified_during_ingest", "internal_error", "not_indexed"),
)
"""Error codes of workers in addition to `REASONS`; all other codes are counted as `other`."""
_KNOWN_CODES: Final = frozenset({*REASONS, *WORKER_CODES})

T = TypeVar("T")

_log = logs.get_logger(__name__)


class StatusCollector(Collector):
    """Collects the metrics of the whole stack, as opposed to those of this process.

    Args:
        version: Version of the code.
        help_of: Returns the HELP text of a metric by name.
    """

    def __init__(self, version: str, help_of: Callable[[str], str]) -> None:
        self._version, self._help = version, help_of
        self._lock = threading.Lock()
        self._refreshed_at = -FRESH_S
        self._services: Services | None = None
        self._families: list[Metric] = []

    def refresh(self, services: Services) -> None:
        """Query the components unless the cache is fresh; concurrent calls wait for one query."""
        with self._lock:
            now = time.monotonic()
            if self._services is services and now - self._refreshed_at < FRESH_S:
                return
            self._families = list(self._query_components(services))
            self._services, self._refreshed_at = services, time.monotonic()

    def describe(self) -> list[Metric]:
        """Return no metrics in advance, so that registration queries no component."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the last refresh."""
        yield self._make_labeled_gauge("pinpoint_build_info", "version", {self._version: 1})
        yield from self._families

    def _query_components(self, services: Services) -> Iterator[Metric]:
        totals = _query_component(
            "database", lambda: services.maintenance_stats.totals(timeout_s=QUERY_TIMEOUT_S)
        )
        waiting = _query_component("broker", services.tasks.waiting)
        index = _query_component("index", lambda: _check_index(services))
        results = {"database": totals, "broker": waiting, "index": index}
        states = {component: int(result is not None) for component, result in results.items()}
        yield self._make_labeled_gauge("pinpoint_component_up", "component", states)
        name = "pinpoint_limit_failures_total"
        family = CounterMetricFamily(name, self._help(name))
        family.add_metric((), services.key_limiter.num_failures)
        yield family
        if waiting is not None:
            yield self._make_gauge("pinpoint_queue_length", waiting)
        if totals is not None:
            yield from self._item_metrics(totals)
            yield from self._job_metrics(totals)
            yield from self._maintenance_metrics(totals)
            yield from self._worker_metrics(totals)

    def _item_metrics(self, totals: StatsSnapshot) -> Iterator[Metric]:
        yield self._make_labeled_gauge("pinpoint_ingest_items", "state", totals.open_items)
        yield self._make_gauge("pinpoint_ingest_oldest_item_seconds", totals.oldest_open_s or 0.0)
        yield self._make_gauge("pinpoint_leases_held", totals.leases_held)
        yield self._make_gauge("pinpoint_leases_expired", totals.leases_expired)
        unprocessed = {"pending": totals.images_pending, "deleted": totals.images_deleted}
        yield self._make_labeled_gauge("pinpoint_images_pending", "state", unprocessed)
        yield self._make_gauge("pinpoint_tombstones", totals.tombstones)
        counts: Counter[tuple[str, str]] = Counter()
        for rejection in totals.rejected_items:
            is_known = rejection.error_code in _KNOWN_CODES
            code = rejection.error_code if is_known else OTHER_CODE
            counts[rejection.status, code] += rejection.items
        name = "pinpoint_ingest_items_rejected_total"
        family = CounterMetricFamily(name, self._help(name), labels=("status", "error_code"))
        for key, items in sorted(counts.items()):
            family.add_metric(key, items)
        yield family

    def _job_metrics(self, totals: StatsSnapshot) -> Iterator[Metric]:
        yield self._make_labeled_gauge("pinpoint_jobs", "state", totals.jobs)
        yield self._make_labeled_gauge("pinpoint_job_items", "state", totals.job_items)
        yield self._make_gauge("pinpoint_job_oldest_item_seconds", totals.oldest_job_item_s or 0.0)

    def _maintenance_metrics(self, totals: StatsSnapshot) -> Iterator[Metric]:
        if totals.drift is not None and totals.reconciled_at is not None:
            drift = totals.drift
            states = {"missing": drift.missing, "stale": drift.stale, "extra": drift.extra}
            yield self._make_labeled_gauge("pinpoint_index_drift_points", "state", states)
            timestamp = totals.reconciled_at.timestamp()
            yield self._make_gauge("pinpoint_last_reconcile_timestamp_seconds", timestamp)
        if totals.recovered_at is not None:
            timestamp = totals.recovered_at.timestamp()
            yield self._make_gauge("pinpoint_last_recovery_timestamp_seconds", timestamp)

    def _worker_metrics(self, totals: StatsSnapshot) -> Iterator[Metric]:
        name = "pinpoint_ingest_stage_seconds"
        stages = SummaryMetricFamily(name, self._help(name), labels=("stage",))
        for stage, timing in totals.stages.items():
            stages.add_metric((stage,), count_value=timing.slices, sum_value=timing.seconds)
        yield stages
        for name, key in (
            ("pinpoint_ingest_items_claimed_total", "claimed"),
            ("pinpoint_ingest_encoded_total", "encoded"),
            ("pinpoint_leases_released_total", "released"),
            ("pinpoint_dead_letters_total", "dead_letters"),
        ):
            yield CounterMetricFamily(name, self._help(name), value=totals.counts[key])

    def _make_gauge(self, name: str, value: float) -> GaugeMetricFamily:
        return GaugeMetricFamily(name, self._help(name), value=value)

    def _make_labeled_gauge(
        self, name: str, label: str, values: Mapping[str, float]
    ) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, self._help(name), labels=(label,))
        for key, value in values.items():
            family.add_metric((key,), value)
        return family


def _query_component(component: str, query: Callable[[], T]) -> T | None:
    """Return the result of a query to a component; on failure log it and return None."""
    try:
        with deadline.limit_time(QUERY_TIMEOUT_S):
            return query()
    except PinpointError as error:
        _log.warning(
            "component does not answer",
            component=component,
            reason=error.reason,
            detail=error.message,
        )
        return None


def _check_index(services: Services) -> bool:
    if not services.index.info().ready:
        raise IndexUnavailableError("the index is still loading")
    return True
