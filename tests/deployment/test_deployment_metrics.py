"""Dashboard and alerts use metrics and labels of the API; every alert has cases and a page."""

from __future__ import annotations

import json
import re

import yaml

from deployment_files import DEPLOY, ROOT
from pinpoint.api.metrics import METRICS, SEARCH_STAGES
from pinpoint.media.checks import REASONS

SERIES = re.compile(r"\b(pinpoint_\w+?)(?:_(?:bucket|sum|count))?\b(?:\{([^}]*)\})?")
LABEL = re.compile(r"(\w+)\s*(?:=~|!=|!~|=)")


def read_rules():
    return yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"][0]["rules"]


def read_cases():
    return yaml.safe_load((DEPLOY / "prometheus" / "alerts_test.yml").read_text())["tests"]


def read_panels():
    panels = json.loads((DEPLOY / "grafana" / "pinpoint.json").read_text())["panels"]
    return [panel for panel in panels if panel["type"] != "row"]


def expressions():
    for rule in read_rules():
        yield rule["expr"]
    for panel in read_panels():
        for target in panel["targets"]:
            yield target["expr"]


def find_unknown_names(expression):
    """Metrics of an expression that do not exist, and labels that their metric does not have."""
    labels = {metric.name: set(re.findall(r"`(\w+)`", metric.labels)) for metric in METRICS}
    unknown = set()
    used = set()
    for name, matchers in SERIES.findall(expression):
        if name not in labels:
            unknown.add(name)
            continue
        used |= labels[name]
        unknown |= {
            f"{name}{{{label}}}"
            for label in LABEL.findall(matchers)
            if label not in labels[name] | {"le", "instance"}
        }
    grouped = ",".join(re.findall(r"\bby \(([\w, ]+)\)", expression))
    return unknown | ({*re.findall(r"\w+", grouped)} - used - {"le"})


def test_every_metric_and_label_exists():
    assert {
        name for expression in expressions() for name in find_unknown_names(expression)
    } == set()


def test_unknown_metrics_and_labels_are_reported():
    expression = 'sum by (who) (rate(pinpoint_jobs{kind="x"}[5m])) / pinpoint_nothing_total'
    assert find_unknown_names(expression) == {
        "who",
        "pinpoint_jobs{kind}",
        "pinpoint_nothing_total",
    }


def test_every_metric_is_in_a_panel_or_an_alert():
    text = " ".join(expressions())
    left_out = {"pinpoint_upload_files_total"}
    assert {metric.name for metric in METRICS if metric.name not in text} == left_out


def test_series_of_the_cases_exist():
    for case in read_cases():
        for entry in case["input_series"]:
            series = entry["series"]
            if series != "up":
                assert find_unknown_names(series) == set(), series
            for code in re.findall(r'error_code="(\w+)"', series):
                assert code in REASONS
            for stage in re.findall(r'stage="(\w+)"', series):
                assert stage in SEARCH_STAGES


def test_every_alert_has_a_case_that_fires_and_one_that_does_not():
    fires, silent = set(), set()
    for case in read_cases():
        (expected,) = case["alert_rule_test"]
        (fires if expected["exp_alerts"] else silent).add(expected["alertname"])
    names = {rule["alert"] for rule in read_rules()}
    assert fires == silent == names


def test_every_alert_has_a_runbook_in_the_site():
    names = {rule["alert"]: rule["labels"]["severity"] for rule in read_rules()}
    pages = {re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower(): name for name in names}
    folder = ROOT / "docs" / "runbooks"
    assert {path.stem for path in folder.glob("*.md")} == {*pages, "index"}
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page, name in pages.items():
        text = (folder / f"{page}.md").read_text(encoding="utf-8")
        assert f"Alert `{name}`, severity `{names[name]}`." in text
        assert f"runbooks/{page}.md" in site


def test_documents_name_alerts_that_exist():
    names = {rule["alert"] for rule in read_rules()}
    for path in (ROOT / "docs").rglob("*.md"):
        named = set(re.findall(r"`(Pinpoint[A-Z]\w+)`", path.read_text(encoding="utf-8")))
        if "runbooks" in path.parts:
            assert named <= names, path.name


def test_dashboard_uses_the_provisioned_source():
    folder = DEPLOY / "grafana" / "provisioning"
    source = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())
    uid = source["datasources"][0]["uid"]
    assert {panel["datasource"]["uid"] for panel in read_panels()} == {uid}
    assert len({panel["id"] for panel in read_panels()}) == len(read_panels())
