"""Containers, compose, units and Kubernetes name only what the code knows."""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib

import pytest
import reference_tables
import yaml

import pinpoint
from deployment_files import (
    DEPLOY,
    DOCKERFILE,
    KUBERNETES,
    ROOT,
    VARIABLE,
    list_containers,
    list_own_services,
    list_stages,
    list_texts,
    read_compose,
    read_images,
    read_kustomization,
    read_manifests,
)
from document_blocks import NOT_RUN
from pinpoint.settings import MediaSettings, WorkerSettings
from pinpoint.settings_file import load_settings
from pinpoint.tasks import GALLERY_QUEUES, JOBS_QUEUE
from pinpoint_workers.app import app

TARGETS = {"api", "worker-cpu", "worker-gpu"}
DECODING_CHILDREN = 2
WORKER_OPTIONS = ("--pool=solo", "--concurrency=1", "--without-gossip", "--without-mingle")


def find_unknown_variables(text):
    known = {name for name, _, _ in reference_tables.setting_fields()}
    return set(VARIABLE.findall(text)) - known


def commands():
    """Every command of a container of ours, with its place."""
    for target in TARGETS:
        (command,) = re.findall(r"^CMD (\[.*\])$", list_stages()[target], re.MULTILINE)
        yield f"Dockerfile {target}", json.loads(command)
    for name, service in list_own_services().items():
        if "command" in service:
            yield f"compose {name}", service["command"]
    for name, _, container in list_containers():
        command = [*container.get("command", ()), *container.get("args", ())]
        if command and container["image"].startswith("pinpoint-"):
            yield f"kubernetes {name}", command


def test_variables_in_deploy_are_settings():
    assert {path.name: find_unknown_variables(text) for path, text in list_texts()} == {
        path.name: set() for path, _ in list_texts()
    }


def test_variable_that_is_no_setting_is_reported():
    assert find_unknown_variables("PINPOINT_QDRANT_ADDRESS=x PINPOINT_HOME=y") == {
        "PINPOINT_QDRANT_ADDRESS"
    }


@pytest.mark.parametrize("name", sorted(list_own_services()))
def test_compose_environment_is_accepted_by_the_settings(name, monkeypatch, tmp_path):
    for variable, value in list_own_services()[name]["environment"].items():
        filled = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)
        monkeypatch.setenv(variable, re.sub(r"\$\{[^}]*\}", "0123456789abcdef", filled))
    settings = load_settings(tmp_path)
    assert settings.media.sandbox == "required"
    assert settings.services.qdrant_url
    assert settings.limits.redis_url
    if name == "api":
        assert settings.services.database_url is None, "the API must not have the owner's login"


def test_ports_are_the_same_everywhere():
    stage = list_stages()["api"]
    (port,) = re.findall(r"PINPOINT_API_PORT=(\d+)", stage)
    assert re.findall(r"^EXPOSE (\d+)$", stage, re.MULTILINE) == [port]
    assert set(re.findall(r"127\.0\.0\.1:(\d+)", stage)) == {port}
    api = read_compose()["services"]["api"]
    assert api["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"127.0.0.1:{port}/" in api["healthcheck"]["test"][-1]
    assert f'"api:{port}"' in (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    ports = {
        manifest["metadata"]["name"]: [entry["port"] for entry in manifest["spec"]["ports"]]
        for manifest in read_manifests()
        if manifest["kind"] == "Service"
    }
    assert ports["api"] == [int(port)]
    # A service in a URL listens on the port that the URL names.
    literals = read_kustomization("base")["configMapGenerator"][0]["literals"]
    for host, number in re.findall(r"//(\w+):(\d+)", " ".join(literals)):
        assert int(number) in ports[host], host
    for name, _, container in list_containers():
        offered = {entry["name"]: entry["containerPort"] for entry in container.get("ports", ())}
        if name in ports:
            assert set(ports[name]) <= set(offered.values()), name


def test_home_is_the_only_mounted_path_of_our_containers():
    (home,) = re.findall(r"PINPOINT_HOME=(\S+)", list_stages()["runtime"])
    for name, service in list_own_services().items():
        assert service["volumes"] == [f"home:{home}"], name
    for name, _, container in list_containers():
        if container["image"].startswith("pinpoint-"):
            paths = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert paths == {home, "/tmp"}, name


def test_alembic_file_is_where_the_wheel_has_it():
    (path,) = re.findall(r"ALEMBIC_CONFIG=(\S+)", list_stages()["runtime"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert path.endswith(f"site-packages/{included['alembic.ini']}")


def test_dockerfile_installs_the_pinned_versions_of_the_project():
    required = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    pins = set(re.findall(r"\b(torch(?:vision)?==[\d.]+)", DOCKERFILE.read_text()))
    assert len(pins) == 2
    assert [pin for pin in pins if f'"{pin}"' not in required] == []
    for source in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE.read_text(), re.MULTILINE):
        for name in source.split():
            assert (ROOT / name).exists(), name


def test_image_names_are_targets_or_pinned_in_one_place():
    others = read_images()
    assert not [image for image in others.values() if not re.search(r":[\w.-]*\d", image)]
    assert set(list_stages()) >= TARGETS
    for name, service in read_compose()["services"].items():
        if name in list_own_services():
            image, _, version = service["image"].partition(":")
            assert image.removeprefix("pinpoint-") in TARGETS
            assert service["build"]["target"] == image.removeprefix("pinpoint-")
            assert version == f"${{IMAGE_VERSION:-{pinpoint.__version__}}}"
        else:
            assert re.fullmatch(r"\$\{(\w+):\?\}", service["image"])[1] in others, name
    for overlay in ("small", "large"):
        images = {
            entry["name"]: entry for entry in read_kustomization(f"overlays/{overlay}")["images"]
        }
        for name, entry in images.items():
            if name.startswith("pinpoint-"):
                assert entry["newTag"] == pinpoint.__version__
                assert name.removeprefix("pinpoint-") in TARGETS
            else:
                assert f"{entry['newName']}:{entry['newTag']}" in others.values(), name
    used = {container["image"] for _, _, container in list_containers()}
    assert used == {
        entry["name"]
        for overlay in ("small", "large")
        for entry in read_kustomization(f"overlays/{overlay}")["images"]
    }


def test_probe_paths_are_routes_of_the_api():
    routes = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))["paths"]
    named = set(re.findall(r"(?<=8080)(/[\w/]+)", list_stages()["api"]))
    named |= set(re.findall(r"(?<=8080)(/[\w/]+)", json.dumps(read_compose()["services"]["api"])))
    for name, _, container in list_containers():
        if name == "api":
            probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness")]
            assert {probe["path"] for probe in probes} == {"/health/live"}
            assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    named |= {"/health/live", "/health/ready", scrape["scrape_configs"][0]["metrics_path"]}
    assert [path for path in named if "get" not in routes.get(path, {})] == []


def test_commands_of_containers_exist():
    consumed = set()
    for place, command in commands():
        if command[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(f"{command[2]}.__main__"), place
        elif command[0] == "alembic":
            assert command == ["alembic", "upgrade", "head"], place
        else:
            assert command[:3] == ["celery", "-A", "pinpoint_workers.app:app"], place
            assert command[3] in ("worker", "beat"), place
        if "worker" in command:
            start = command.index("worker") + 1
            assert command[start : start + 4] == list(WORKER_OPTIONS), place
            consumed.add(tuple(command[command.index("-Q") + 1].split(",")))
    assert app.main == "pinpoint"
    assert consumed == {GALLERY_QUEUES, (JOBS_QUEUE,)}


def test_worker_checks_ask_for_the_name_of_the_worker():
    checked = 0
    for _, _, container in list_containers():
        if "ping-worker" in json.dumps(container):
            args = container["args"]
            (name,) = re.findall(r"^(.+)@%h$", args[args.index("-n") + 1])
            for kind in ("startupProbe", "livenessProbe"):
                assert container[kind]["exec"]["command"] == ["ping-worker", name]
            checked += 1
    assert checked == 3
    jobs = list_own_services()["jobs-worker"]
    assert jobs["healthcheck"]["test"][-1] == jobs["command"][-1].removesuffix("@%h")
    for target in ("worker-cpu", "worker-gpu"):
        assert '["ping-worker", "worker"]' in list_stages()[target]
        assert '"worker@%h"' in list_stages()[target]


def test_units_run_commands_of_the_command_line():
    names = {name for name, _ in reference_tables.commands()}
    for path in (DEPLOY / "systemd").glob("*.service"):
        text = path.read_text(encoding="utf-8")
        run = re.findall(r"^Exec\w+=.*?/bin/pinpoint (\w+)", text, re.MULTILINE)
        assert run, path.name
        assert [word for word in run if f"pinpoint {word}" not in names] == []
        (home,) = re.findall(r"^Environment=PINPOINT_HOME=(\S+)$", text, re.MULTILINE)
        assert home in re.findall(r"^ReadWritePaths=(.*)$", text, re.MULTILINE)[0].split()


def test_grace_periods_are_longer_than_the_slowest_chunk():
    longest = WorkerSettings().task_batch_size * MediaSettings().timeout_s / DECODING_CHILDREN
    for name, pod, container in list_containers():
        if "ping-worker" in json.dumps(container):
            assert pod["terminationGracePeriodSeconds"] >= 2 * longest, name
    for name, service in list_own_services().items():
        if "worker" in name:
            assert int(service["stop_grace_period"].removesuffix("m")) * 60 >= 2 * longest, name
    for manifest in read_manifests():
        if manifest["kind"] == "ScaledObject":
            behavior = manifest["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
            assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= 2 * longest


def test_role_script_of_compose_and_kubernetes_is_the_same():
    script = DEPLOY / "compose" / "postgres" / "10-api-role.sh"
    copy = KUBERNETES / "overlays" / "small" / "10-api-role.sh"
    assert script.read_bytes() == copy.read_bytes()


def test_every_command_of_the_guide_says_what_was_checked_instead():
    guide = (ROOT / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^( *)(.*)\n *```bash$", guide, re.MULTILINE)
    assert len(blocks) == guide.count("```bash")
    assert [line for _, line in blocks if not line.startswith(f"{NOT_RUN}: ")] == []
    paths = re.findall(r"\b(deploy/[\w./-]+[\w])", guide)
    made = {"deploy/docker/images.pinned.env", "deploy/compose/.env"}
    assert [path for path in paths if path not in made and not (ROOT / path).exists()] == []
