"""`/metrics` of the application on a real database: values, number of series, access."""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import httpx
import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from pinpoint import errors
from pinpoint.api.app import create_app
from pinpoint.api.metrics import METRICS
from pinpoint.api.status_collector import StatusCollector
from pinpoint.api_settings import ApiSettings
from pinpoint.geo import gazetteer
from pinpoint.records import SCOPES, Drift, KeyGrant, RecoveryReport
from pinpoint.settings import ServiceSettings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.state import load_operator_key
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.maintenance_stats import MAX_COUNT, MaintenanceStats
from stack_fixtures import ServiceHarness, jpeg, limit_services, plain_jpeg, write_photos

TOKEN = "a-token-for-prometheus"
MOST_SERIES = 1_000


@pytest.fixture
def harness(database_url, api_database_url, tmp_path):
    service_harness = ServiceHarness(database_url, api_database_url, tmp_path / "harness")
    yield service_harness
    service_harness.close()


@pytest.fixture
def metrics_api(harness, tmp_path):
    """The application on the harness with the API role and a metrics token."""
    paths = StackPaths(tmp_path / "home")
    paths.home.mkdir(mode=0o700)
    harness.settings.services = ServiceSettings(home=paths.home)
    harness.settings.api = ApiSettings(metrics_token=TOKEN)
    parts = SimpleNamespace(
        settings=harness.settings,
        database=harness.database,
        api_keys=ApiKeyStore(harness.as_api),
        **limit_services(harness.as_api),
        index=harness.index,
        encoder=harness.encoder,
        with_current_encoder=lambda do: do(harness.encoder),
        blobs=harness.blobs,
        tasks=harness.queue,
        decoder=harness.components.decoder,
        verifier=harness.verifier,
        maintenance_stats=MaintenanceStats(harness.as_api),
    )
    # As at the start of the API.
    gazetteer.load_cities()
    assert harness.features.digest
    server = uvicorn.Server(
        uvicorn.Config(create_app(parts), port=0, log_config=None, lifespan="on")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield SimpleNamespace(
            url=f"http://127.0.0.1:{port}", parts=parts, operator=load_operator_key(paths)
        )
    finally:
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def uncached_checks(monkeypatch):
    """Turns off the cache of component checks."""
    monkeypatch.setattr("pinpoint.api.status_collector.FRESH_S", 0.0)


def http(metrics_api, key=None, **headers):
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return httpx.Client(base_url=metrics_api.url, headers=headers, trust_env=False, timeout=30)


def read(metrics_api):
    with http(metrics_api, TOKEN) as client:
        answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return answer.text


def samples(exposition):
    """Value of each series by name and labels."""
    return {
        (sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    }


def test_metrics_values_match_the_database_rows(metrics_api, harness, uncached_checks, tmp_path):
    organization = harness.organization("secret-name")
    before = samples(read(metrics_api))
    assert before["pinpoint_ingest_oldest_item_seconds",] == 0
    assert before["pinpoint_component_up", "component=database"] == 1
    assert ("pinpoint_index_drift_points", "state=missing") not in before, "no reconcile has run"

    write_photos(tmp_path / "in", 3)
    (tmp_path / "in" / "nowhere.jpg").write_bytes(plain_jpeg(1))
    harness.ingest(tmp_path / "in", organization)
    with harness.operator.write(organization) as catalog:
        batch = catalog.open_batch(catalog.source("photos").id)
    key, secret = harness.api_keys.create_key("secret-name", "k", KeyGrant(scopes=SCOPES))
    with http(metrics_api, secret) as client:
        files = {"files": ("new.jpg", jpeg(77, 1, 1))}
        assert client.post(f"/v1/batches/{batch.id}/images", files=files).status_code == 202
        assert client.post("/v1/locate", files={"photo": plain_jpeg(5)}).status_code == 200
        assert client.get(f"/v1/batches/{batch.id}").status_code == 200
        assert client.get(f"/v1/batches/{key.id}").status_code == 404
        assert client.get("/no/such/path").status_code == 404
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text(
                "UPDATE batch_items SET lease_owner = 'w', lease_until = now() - interval '1 s',"
                " received_at = now() - interval '100 s' WHERE status = 'received'"
            )
        )
    exposition = read(metrics_api)
    values = samples(exposition)
    assert values["pinpoint_ingest_items", "state=received"] == 1
    assert 100 <= values["pinpoint_ingest_oldest_item_seconds",] < 160
    assert values["pinpoint_leases_expired",] == 1
    assert values["pinpoint_queue_length",] == len(harness.queue.sent) == 1
    refused = ("pinpoint_ingest_items_rejected_total", "error_code=no_position", "status=rejected")
    assert values[refused] == 1
    assert values["pinpoint_upload_files_total",] == 1
    assert values["pinpoint_upload_bytes_total",] == len(jpeg(77, 1, 1))
    assert values["pinpoint_locate_answers_total", "result=answered"] == 1
    for stage in ("decode", "encode", "retrieve", "evidence", "rank", "decide", "total"):
        name = ("pinpoint_search_stage_seconds_count", "flow=locate", f"stage={stage}")
        assert values[name] == 1, stage
    route = "route=/v1/batches/{batch_id}"
    assert values["pinpoint_http_requests_total", "method=GET", route, "status=2xx"] == 1
    assert values["pinpoint_http_requests_total", "method=GET", route, "status=4xx"] == 1
    assert values["pinpoint_http_requests_total", "method=GET", "route=none", "status=4xx"] == 1
    # `photos` is the name of a source, and of a policy of limits.
    lines = exposition.splitlines()
    exposition = "".join(line for line in lines if "pinpoint_limit" not in line)
    for word in ("secret-name", str(organization), str(batch.id), "photos", "nowhere", secret):
        assert word not in exposition


def test_metrics_include_maintenance_statistics(metrics_api, harness, uncached_checks):
    stats = MaintenanceStats(harness.owner)
    stats.record_drift(Drift(checked=10, missing=1, stale=2, extra=3, repaired=6))
    report = RecoveryReport(released=2, items=0, images=0, deletions=0, tombstones=0)
    stats.record_recovery(report)
    stats.record_recovery(report)
    for _ in range(2):
        stats.add({"claimed": 32, "encoded": 30, "embed.seconds": 0.75, "embed.slices": 1})
    values = samples(read(metrics_api))
    drift = {
        kind: values["pinpoint_index_drift_points", f"state={kind}"]
        for kind in ("missing", "stale")
    }
    assert drift == {"missing": 1, "stale": 2}
    assert abs(values["pinpoint_last_reconcile_timestamp_seconds",] - time.time()) < 60
    assert values["pinpoint_leases_released_total",] == 4
    assert values["pinpoint_ingest_encoded_total",] == 60
    assert values["pinpoint_ingest_stage_seconds_sum", "stage=embed"] == 1.5
    assert values["pinpoint_ingest_stage_seconds_count", "stage=embed"] == 2
    totals = stats.totals()
    assert (totals.recovery, totals.counts["claimed"]) == (report, 64)
    assert datetime.now(UTC) - totals.recovered_at < timedelta(minutes=1)


def test_rejected_counter_after_retry_and_erasure_never_decreases(
    metrics_api, harness, uncached_checks, tmp_path
):
    """The total counts each time that an item becomes `rejected` or `failed`."""
    organization = harness.organization()
    write_photos(tmp_path / "in", 2)
    batch = harness.ingest(tmp_path / "in", organization)
    key = ("failed", "x")

    def set_items(status, code):
        with harness.owner.begin() as unit:
            unit.connection.execute(
                text("UPDATE batch_items SET status = :status, error_code = :code"),
                {"status": status, "code": code},
            )

    def total():
        counts = MaintenanceStats(harness.owner).totals().rejected_items
        return {(count.status, count.error_code): count.items for count in counts}.get(key, 0)

    set_items("failed", "x")
    assert total() == 2
    set_items("failed", "x")
    assert total() == 2, "an item that is failed already is not counted again"
    set_items("received", None)
    set_items("failed", "x")
    assert total() == 4
    with harness.owner.begin() as unit:
        unit.connection.execute(text("DELETE FROM batches"))
    assert total() == 4, batch
    exposition = read(metrics_api)
    assert "# TYPE pinpoint_ingest_items_rejected_total counter" in exposition
    counted = samples(exposition)
    name = "pinpoint_ingest_items_rejected_total"
    assert counted[name, "error_code=other", "status=failed"] == 4


def test_rejected_counter_of_a_rolled_back_transaction_stays(harness, tmp_path):
    organization = harness.organization()
    write_photos(tmp_path / "in", 1)
    harness.ingest(tmp_path / "in", organization)
    with harness.owner.begin() as unit:
        unit.connection.execute(text("UPDATE batch_items SET status = 'failed', error_code = 'x'"))
        unit.connection.rollback()
    assert MaintenanceStats(harness.owner).totals().rejected_items == ()


def test_metrics_series_are_bounded_for_arbitrary_requests(
    metrics_api, harness, uncached_checks, tmp_path
):
    """All label values come from the code, so requests cannot add series."""
    organization = harness.organization()
    write_photos(tmp_path / "in", 40)
    harness.ingest(tmp_path / "in", organization)
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text("UPDATE batch_items SET status = 'rejected', error_code = 'made-up-' || position")
        )
    with http(metrics_api, TOKEN) as client:
        for number in range(20):
            client.request(f"X{number}", f"/v1/made-up/{number}")
            client.get(f"/v1/sources/{number}")
    values = samples(read(metrics_api))
    assert (
        values["pinpoint_ingest_items_rejected_total", "error_code=other", "status=rejected"] == 40
    )
    methods = {line[1] for line in values if line[0] == "pinpoint_http_requests_total"}
    assert methods <= {"method=GET", "method=POST", "method=other"}
    assert len(values) < 150
    # And with every route, status class, flow, stage and reason there is:
    with http(metrics_api) as client:
        paths = client.get("/openapi.json").json()["paths"]
    routes = sum(len(methods) for methods in paths.values()) + 8
    from pinpoint.media.checks import REASONS

    most = routes * 5 + 2 * 7 * 16 + 2 * (len(REASONS) + 4) + 60
    assert most < MOST_SERIES


def test_metrics_endpoint_and_metric_list_have_the_same_names(
    metrics_api, harness, uncached_checks
):
    stats = MaintenanceStats(harness.owner)
    stats.record_drift(Drift(checked=1, missing=0, stale=0, extra=0, repaired=0))
    stats.record_recovery(RecoveryReport(released=0, items=0, images=0, deletions=0, tombstones=0))
    exposition = read(metrics_api)
    named = set(re.findall(r"^# TYPE (\S+)", exposition, flags=re.MULTILINE))
    # The client adds the time at which each of its own was made.
    assert {name for name in named if not name.endswith("_created")} == {
        metric.name for metric in METRICS
    }
    helped = dict(re.findall(r"^# HELP (\S+) (.+)", exposition, flags=re.MULTILINE))
    assert all(helped[metric.name] for metric in METRICS)


def test_metrics_with_organization_key_returns_403(metrics_api, harness):
    harness.organization()
    _, secret = harness.api_keys.create_key("acme", "all", KeyGrant(scopes=SCOPES))
    with http(metrics_api, secret) as client:
        refused = client.get("/metrics")
    assert (refused.status_code, refused.json()["reason"]) == (403, "forbidden")
    assert "pinpoint_items" not in refused.text
    for wrong in (None, "pp_unknown", TOKEN + "x"):
        with http(metrics_api, wrong) as client:
            assert client.get("/metrics").status_code == 401, wrong
    with http(metrics_api, metrics_api.operator) as client:
        assert client.get("/metrics").status_code == 200
    with http(metrics_api, metrics_api.operator, **{"X-Forwarded-For": "192.0.2.1"}) as client:
        assert client.get("/metrics").status_code == 401, "from elsewhere"
    with http(metrics_api, TOKEN, **{"X-Forwarded-For": "192.0.2.1"}) as client:
        assert client.get("/metrics").status_code == 200, "that is what the token is for"


def test_metrics_without_key_require_the_setting(metrics_api, monkeypatch):
    with http(metrics_api) as client:
        assert client.get("/metrics").status_code == 401
        allowed = metrics_api.parts.settings.api.model_copy(update={"allow_keyless": True})
        monkeypatch.setattr(metrics_api.parts.settings, "api", allowed)
        assert client.get("/metrics").status_code == 200
        page = client.get("/metrics", headers={"Origin": "https://elsewhere.example"})
    assert page.status_code == 403


def test_metrics_with_component_down_omit_its_values(metrics_api, uncached_checks, monkeypatch):
    def fail(**_):
        raise errors.DatabaseUnavailableError("PostgreSQL does not answer")

    monkeypatch.setattr(metrics_api.parts.maintenance_stats, "totals", fail)
    values = samples(read(metrics_api))
    assert values["pinpoint_component_up", "component=database"] == 0
    assert values["pinpoint_component_up", "component=index"] == 1
    assert ("pinpoint_ingest_oldest_item_seconds",) not in values


def test_metrics_cache_component_checks(metrics_api, harness, monkeypatch):
    calls = []
    totals = metrics_api.parts.maintenance_stats.totals
    monkeypatch.setattr(
        metrics_api.parts.maintenance_stats,
        "totals",
        lambda **options: calls.append(1) or totals(**options),
    )
    for _ in range(4):
        read(metrics_api)
    assert len(calls) == 1
    collector = StatusCollector("1", lambda _: "")
    collector.refresh(metrics_api.parts)
    assert len(calls) == 2


def test_open_items_statement_uses_its_index(harness, tmp_path):
    """Settled items must not slow down the statement."""
    organization = harness.organization()
    write_photos(tmp_path / "in", 2)
    batch = harness.ingest(tmp_path / "in", organization)
    with harness.owner.begin() as unit:
        run = unit.connection.execute
        run(
            text(
                "INSERT INTO batch_items (id, organization_id, batch_id, position, external_id,"
                " file, uri, status) SELECT gen_random_uuid(), :org, :batch, 100 + n, n, n, '',"
                " 'indexed' FROM generate_series(1, 60000) n"
            ),
            {"org": organization, "batch": batch.id},
        )
        run(text("ANALYZE batch_items"))
        run(text("SET LOCAL jit = off"))
        explain = "EXPLAIN SELECT status FROM batch_items WHERE status IN ('received', 'stored')"
        plan = run(text(f"{explain} ORDER BY ingest_seq LIMIT {MAX_COUNT}")).scalars().all()
        assert "ix_batch_items_open" in "\n".join(plan), plan
    begun = time.perf_counter()
    assert MaintenanceStats(harness.as_api).totals().open_items == {"received": 0, "stored": 0}
    assert time.perf_counter() - begun < 1.0
