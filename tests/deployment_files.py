"""The files of `deploy/`, parsed, for the tests and trials of deployment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
KUBERNETES = DEPLOY / "kubernetes"
OWN_IMAGE = "pinpoint-"
VARIABLE = re.compile(r"\bPINPOINT_[A-Z_]*[A-Z]\b")


def list_texts() -> Iterator[tuple[Path, str]]:
    """Every file below `deploy/` with its text."""
    for path in sorted(DEPLOY.rglob("*")):
        if path.is_file():
            yield path, path.read_text(encoding="utf-8")


@cache
def read_compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text(encoding="utf-8"))


@cache
def read_images() -> dict[str, str]:
    """Variable to image of `images.env`."""
    lines = (DEPLOY / "docker" / "images.env").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@cache
def read_manifests() -> tuple[dict[str, Any], ...]:
    """Every object of Kubernetes as written, without kustomizations and patches."""
    patched = {
        KUBERNETES / "overlays" / name / patch["path"]
        for name in ("small", "large")
        for patch in read_kustomization(f"overlays/{name}").get("patches", ())
        if "path" in patch
    }
    return tuple(
        document
        for path in sorted(KUBERNETES.rglob("*.yaml"))
        if path.name != "kustomization.yaml" and path not in patched
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    )


def read_kustomization(folder: str) -> dict[str, Any]:
    return yaml.safe_load((KUBERNETES / folder / "kustomization.yaml").read_text(encoding="utf-8"))


def pod_of(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """Pod specification of a workload, else None."""
    template = manifest.get("spec", {}).get("template")
    return None if template is None else template["spec"]


def list_containers() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name of the workload, its pod and each of its containers."""
    for manifest in read_manifests():
        pod = pod_of(manifest)
        for container in pod["containers"] if pod else ():
            yield manifest["metadata"]["name"], pod, container


def list_own_services() -> dict[str, dict[str, Any]]:
    """Services of compose that run an image of ours."""
    return {
        name: service
        for name, service in read_compose()["services"].items()
        if service["image"].startswith(OWN_IMAGE)
    }


def list_stages() -> dict[str, str]:
    """Stages of the Dockerfile: name to instructions, comments left out."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    parts = re.split(r"^(FROM \S+ AS \S+)\n", text, flags=re.MULTILINE)[1:]
    return {head.split()[-1]: body for head, body in zip(parts[::2], parts[1::2], strict=True)}
