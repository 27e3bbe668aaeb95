"""`/metrics` for Prometheus: totals over all organizations, accessible to the operator only.

Label values are constants of the code (routes, stages, states, error codes), never names, ids or
paths.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal, NamedTuple

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from pinpoint import __version__
from pinpoint.api import problems
from pinpoint.api.auth import require_metrics_reader
from pinpoint.api.dependencies import AppServices
from pinpoint.api.status_collector import StatusCollector
from pinpoint.records.key_limits import MISUSE_POLICIES

router = APIRouter(tags=["health"])

BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
SEARCH_STAGES: Final = (
    "decode",
    "encode",
    "retrieve",
    "evidence",
    "rank",
    "verify",
    "decide",
    "total",
)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metric(NamedTuple):
    """One metric, as documented in the README's table."""

    name: str
    labels: str
    meaning: str
    alert: str = ""


METRICS: Final = (
    Metric("pinpoint_build_info", "`version`", "Always 1; the label is the version of the code.",
           "absent: the API is down"),
    Metric("pinpoint_http_requests_total", "`method`, `route`, `status`",
           "Requests by route template and status class (`2xx` … `5xx`).",
           "share of `5xx` above 1 % for 10 min"),
    Metric("pinpoint_search_stage_seconds", "`flow`, `stage`",
           "Histogram, seconds: stages of `locate`, `similar` and `search`, and `total`.",
           "p95 of `total` above your target"),
    Metric("pinpoint_locate_answers_total", "`result`",
           "Answers with a point (`answered`) and without one (`abstained`)."),
    Metric("pinpoint_limit_refusals_total", "`policy`",
           "Requests answered with status 429, by policy: a limit (`requests`, `photos`, `bytes`, "
           "`jobs`) or a misuse rule (`creator`, `cell`)."),
    Metric("pinpoint_limit_failures_total", "",
           "Checks of limits that were skipped because Redis did not answer.", "rising"),
    Metric("pinpoint_misuse_queries_total", "`policy`",
           "Queries beyond a misuse rule (`creator`, `cell`).", "rising"),
    Metric("pinpoint_upload_files_total", "", "Files accepted by upload."),
    Metric("pinpoint_upload_bytes_total", "", "Bytes of these files."),
    Metric("pinpoint_component_up", "`component`",
           "1 if the component (`database`, `broker`, `index`) answers, else 0.",
           "0 for 2 min"),
    Metric("pinpoint_queue_length", "", "Tasks in the broker that no worker has taken."),
    Metric("pinpoint_ingest_items", "`state`",
           "Files without a final status: `received`, `stored`. Capped at 100,000."),
    Metric("pinpoint_ingest_oldest_item_seconds", "",
           "Age of the oldest open file, seconds; 0 if none is open.",
           "above 900 s, or your slowest batch; absent for 5 min"),
    Metric("pinpoint_jobs", "`state`",
           "Locate jobs by state; ended ones until they are deleted. Capped at 100,000."),
    Metric("pinpoint_job_items", "`state`",
           "Items of locate jobs that have not ended: `open`, `completed`, `failed`, `canceled`. "
           "Capped at 100,000."),
    Metric("pinpoint_job_oldest_item_seconds", "",
           "Time since the start of the oldest running job with an open item, seconds; 0 if there "
           "is none.", "above the duration of your largest job"),
    Metric("pinpoint_leases_held", "", "Files that a worker is processing."),
    Metric("pinpoint_leases_expired", "", "Files whose lease has expired.",
           "above 0 for 5 min: the recovery task does not run"),
    Metric("pinpoint_leases_released_total", "", "Leases released from dead workers.",
           "rising: workers are being killed"),
    Metric("pinpoint_dead_letters_total", "",
           "Tasks that RabbitMQ gave up after 20 deliveries; their files are sent again or failed.",
           "rising: the log of the workers names them"),
    Metric("pinpoint_images_pending", "`state`",
           "Rows that wait for the index (`pending`) or for erasure (`deleted`). "
           "Capped at 100,000.", "above 0 for an hour while nothing is open"),
    Metric("pinpoint_tombstones", "",
           "Tombstones of deleted images in the index. Capped at 100,000."),
    Metric("pinpoint_ingest_items_rejected_total", "`status`, `error_code`",
           "Files that became `rejected` or `failed` since the database was created, by error "
           "code; unknown codes as `other`.", "`failed` rising"),
    Metric("pinpoint_index_drift_points", "`state`",
           "Index points that were `missing`, `stale` or `extra` at the last reconcile.",
           "above 0 after two reconciles in a row"),
    Metric("pinpoint_last_reconcile_timestamp_seconds", "", "Unix time of the last reconcile.",
           "older than 2 × `PINPOINT_WORKER_RECONCILE_INTERVAL_S`"),
    Metric("pinpoint_last_recovery_timestamp_seconds", "",
           "Unix time of the last recovery of lost work.",
           "older than 10 × `PINPOINT_WORKER_RECOVERY_INTERVAL_S`: no beat or no worker"),
    Metric("pinpoint_ingest_stage_seconds", "`stage`",
           "Summary, seconds per slice of up to 32 files over all workers: `read` (waiting for the "
           "decoder), `store`, `embed`, `index`."),
    Metric("pinpoint_ingest_items_claimed_total", "", "Files that workers claimed."),
    Metric("pinpoint_ingest_encoded_total", "",
           "Images encoded; the excess over claimed files is repeated work."),
)  # fmt: skip
"""All metrics; a test compares this list with the output of `/metrics`."""


class Meters:
    """Counters of this process, and the status of all work, which is queried on each read."""

    def __init__(self) -> None:
        """Create all counters at zero."""
        self.registry = CollectorRegistry(auto_describe=False)
        self._requests = Counter(
            "pinpoint_http_requests", get_help("pinpoint_http_requests_total"),
            ("method", "route", "status"), registry=self.registry,
        )  # fmt: skip
        self._stages = Histogram(
            "pinpoint_search_stage_seconds", get_help("pinpoint_search_stage_seconds"),
            ("flow", "stage"), buckets=BUCKETS_S, registry=self.registry,
        )  # fmt: skip
        self._answers = Counter(
            "pinpoint_locate_answers", get_help("pinpoint_locate_answers_total"),
            ("result",), registry=self.registry,
        )  # fmt: skip
        self._files = Counter(
            "pinpoint_upload_files", get_help("pinpoint_upload_files_total"), registry=self.registry
        )
        self._bytes = Counter(
            "pinpoint_upload_bytes", get_help("pinpoint_upload_bytes_total"), registry=self.registry
        )
        self._refusals = Counter(
            "pinpoint_limit_refusals", get_help("pinpoint_limit_refusals_total"),
            ("policy",), registry=self.registry,
        )  # fmt: skip
        self._misuse_queries = Counter(
            "pinpoint_misuse_queries", get_help("pinpoint_misuse_queries_total"),
            ("policy",), registry=self.registry,
        )  # fmt: skip
        for policy in ("requests", "photos", "bytes", "jobs", *MISUSE_POLICIES):
            self._refusals.labels(policy)
        for policy in MISUSE_POLICIES:
            self._misuse_queries.labels(policy)
        for result in ("answered", "abstained"):
            self._answers.labels(result)
        self.status_collector = StatusCollector(__version__, get_help)
        self.registry.register(self.status_collector)

    def observe_request(self, method: str, route: str | None, status: int) -> None:
        """Count a request; `route` is its template, or None without a matching route."""
        self._requests.labels(
            method if method in _METHODS else "other",
            route or "none",
            f"{status // 100}xx" if status else "none",
        ).inc()

    def observe_search(
        self,
        flow: Literal["locate", "similar", "search"],
        timings_ms: Mapping[str, float],
        *,
        point: bool,
    ) -> None:
        """Record an answer and the duration of its stages."""
        for stage in SEARCH_STAGES:
            if stage in timings_ms:
                self._stages.labels(flow, stage).observe(timings_ms[stage] / 1e3)
        if flow == "locate":
            self._answers.labels("answered" if point else "abstained").inc()

    def observe_limit_refusal(self, policies: Iterable[str]) -> None:
        """Count a refused request for each policy that it violates."""
        for policy in policies:
            self._refusals.labels(policy).inc()

    def observe_misuse(self, policies: Iterable[str]) -> None:
        """Count a query beyond each of these misuse rules."""
        for policy in policies:
            self._misuse_queries.labels(policy).inc()

    def observe_upload(self, sizes: list[int]) -> None:
        """Count accepted files and their bytes.

        Args:
            sizes: Bytes of each file.
        """
        self._files.inc(len(sizes))
        self._bytes.inc(sum(sizes))


def get_help(name: str) -> str:
    """Return the meaning of a metric for its HELP line."""
    return next(metric.meaning for metric in METRICS if metric.name == name).replace("`", "")


async def get_meters(request: Request) -> Meters:
    """Return the meters of this application."""
    app_meters: Meters = request.app.state.meters
    return app_meters


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Metrics for Prometheus",
    response_class=Response,
    responses={
        200: {"description": "Metrics", "content": {"text/plain": {}}},
        **problems.problem_responses(401, 403, 503),
    },
    dependencies=[Depends(require_metrics_reader)],
)
def read(services: AppServices, meters: Annotated[Meters, Depends(get_meters)]) -> Response:
    """Return metrics over all organizations in Prometheus text format; operator only."""
    meters.status_collector.refresh(services)
    return Response(generate_latest(meters.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)
