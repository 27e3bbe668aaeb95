"""Names of settings and metrics: terms of the field, units as suffixes, no former names."""

from __future__ import annotations

import re

import pytest

from pinpoint.api.metrics import METRICS, Meters
from pinpoint.settings_file import list_settings

FORMER_SETTINGS = {
    "search_cited": "search_max_citations",
    "search_objective_km": "search_optimize_for_radius_km",
    "search_overfetch": "search_oversampling",
    "search_gps_share": "search_gps_channel_fraction",
    "worker_chunk": "worker_task_batch_size",
    "worker_lease_s": "worker_lease_ttl_s",
    "worker_sweep_s": "worker_recovery_interval_s",
    "worker_reconcile_s": "worker_reconcile_interval_s",
    "worker_prune_s": "worker_prune_interval_s",
    "worker_tombstone_s": "worker_tombstone_ttl_s",
    "worker_orphan_s": "worker_orphan_blob_ttl_s",
    "worker_audit_days": "worker_audit_retention_days",
}
FORMER_METRICS = {
    "pinpoint_info": "pinpoint_build_info",
    "pinpoint_part_up": "pinpoint_component_up",
    "pinpoint_items_refused_24h": "pinpoint_ingest_items_rejected_total",
    "pinpoint_drift": "pinpoint_index_drift_points",
    "pinpoint_reconciled_timestamp_seconds": "pinpoint_last_reconcile_timestamp_seconds",
    "pinpoint_swept_timestamp_seconds": "pinpoint_last_recovery_timestamp_seconds",
    "pinpoint_images_unsettled": "pinpoint_images_pending",
    "pinpoint_jobs_waiting": "pinpoint_queue_length",
    "pinpoint_items_open": "pinpoint_ingest_items",
}
FORMER_LABELS = {"`part`", "`point`", "`verdict`", "`kind`"}
DURATION = re.compile(r"_(?:interval|ttl|timeout|budget)_s$")


@pytest.mark.parametrize(("former", "name"), FORMER_SETTINGS.items())
def test_settings_former_name_is_replaced(former, name):
    settings = list_settings()
    assert former not in settings
    assert name in settings


def test_settings_durations_state_what_they_limit():
    """A setting in seconds says whether it is an interval, a time to live, a limit or a budget."""
    in_seconds = [name for name in list_settings() if name.endswith("_s")]
    assert len(in_seconds) > 5
    assert [name for name in in_seconds if not DURATION.search(name)] == []


@pytest.mark.parametrize(("former", "name"), FORMER_METRICS.items())
def test_metrics_former_name_is_replaced(former, name):
    names = {metric.name for metric in METRICS}
    assert former not in names
    assert name in names


def test_metrics_labels_are_the_glossary_words():
    used = {label for metric in METRICS for label in metric.labels.split(", ")}
    assert used.isdisjoint(FORMER_LABELS), used & FORMER_LABELS


def test_metrics_suffix_matches_the_type():
    """`_total` is for counters, `_seconds` for durations and times (Prometheus, metric naming)."""
    families = list(Meters().registry.collect())
    counters = {f"{family.name}_total" for family in families if family.type == "counter"}
    others = {family.name for family in families if family.type != "counter"}
    names = {metric.name for metric in METRICS}
    assert len(counters) >= 4
    assert counters <= names
    assert not [name for name in others if name.endswith("_total")]
    for metric in METRICS:
        if metric.name.endswith("_seconds"):
            assert re.search(r"seconds|Unix time", metric.meaning), metric.name
