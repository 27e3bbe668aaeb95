"""Containers run without privileges, and no file of `deploy/` contains a secret."""

from __future__ import annotations

import re

from sqlalchemy import text

from deployment_files import (
    DEPLOY,
    KUBERNETES,
    list_containers,
    list_own_services,
    list_stages,
    read_compose,
    read_kustomization,
    read_manifests,
)
from pinpoint.store.db.database import api_engine, owner_engine

SECRET_NAME = re.compile(r"(DATABASE_URL|BROKER_URL|KEY|TOKEN|PASSWORD)$")
OPEN_ITEMS = """
WITH organization AS (
    INSERT INTO organizations (id, name) VALUES (gen_random_uuid(), 'scaled') RETURNING id),
source AS (
    INSERT INTO sources (id, organization_id, name, kind, originals)
    SELECT gen_random_uuid(), id, 'walk', 'photo', 'copy' FROM organization
    RETURNING id, organization_id),
batch AS (
    INSERT INTO batches (id, organization_id, source_id)
    SELECT gen_random_uuid(), organization_id, id FROM source RETURNING id, organization_id)
INSERT INTO batch_items (id, organization_id, batch_id, position, external_id, file, uri, status,
                         lease_owner, lease_until)
SELECT gen_random_uuid(), b.organization_id, b.id, n, n::text, 'f', 'file:///f',
       (ARRAY['received', 'stored', 'indexed'])[1 + n % 3],
       CASE WHEN n < 4 THEN 'host/1/1' END, CASE WHEN n < 4 THEN now() + interval '1 minute' END
  FROM batch b, generate_series(0, 7) n
"""
"""Eight items: three received, three stored, two indexed; the first four are leased."""


def test_images_run_as_a_numeric_user_with_a_health_check():
    assert re.search(r"^USER 10001:10001$", list_stages()["runtime"], re.MULTILINE)
    for target in ("api", "worker-cpu", "worker-gpu"):
        assert "HEALTHCHECK" in list_stages()[target]
        assert "USER" not in list_stages()[target]


def test_compose_services_of_ours_are_confined():
    for name, service in list_own_services().items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name


def test_pods_are_confined():
    for name, pod, container in list_containers():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["automountServiceAccountToken"] is False, name
        confined = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["securityContext"] == confined, name
        assert {"requests", "limits"} <= set(container["resources"]), name


def test_secrets_are_references():
    assert "Secret" not in {manifest["kind"] for manifest in read_manifests()}
    for name, _, container in list_containers():
        for entry in container.get("env", ()):
            if SECRET_NAME.search(entry["name"]):
                assert "secretKeyRef" in entry["valueFrom"], (name, entry["name"])
    for name, service in read_compose()["services"].items():
        for variable, value in service.get("environment", {}).items():
            if SECRET_NAME.search(variable):
                assert "${" in value, (name, variable)
    example = (DEPLOY / "compose" / "example.env").read_text(encoding="utf-8")
    assert re.findall(r"^\w+(?:PASSWORD|KEY|TOKEN)=.+$", example, re.MULTILINE) == []


def test_secret_keys_of_kubernetes_are_in_the_guide():
    keys = {
        entry["valueFrom"]["secretKeyRef"]["key"]
        for _, _, container in list_containers()
        for entry in container.get("env", ())
        if "valueFrom" in entry
    }
    guide = (DEPLOY.parent / "docs" / "how-to" / "deploy.md").read_text(encoding="utf-8")
    assert [key for key in keys if f"--from-literal={key}=" not in guide] == []


def test_every_workload_has_probes_and_a_disruption_budget():
    budgets = {
        manifest["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        for manifest in read_manifests()
        if manifest["kind"] == "PodDisruptionBudget"
    }
    assert budgets == {"api", "worker", "jobs-worker", "qdrant"}
    for name, _, container in list_containers():
        if name not in ("pinpoint-migrate", "beat"):
            assert "livenessProbe" in container, name
    names = {manifest["metadata"]["name"] for manifest in read_manifests()}
    for manifest in read_manifests():
        if manifest["kind"] == "ScaledObject":
            assert manifest["spec"]["scaleTargetRef"]["name"] in names


def test_kustomizations_name_files_that_exist():
    for folder in ("base", "services", "overlays/small", "overlays/large"):
        kustomization = read_kustomization(folder)
        patches = [patch["path"] for patch in kustomization.get("patches", ()) if "path" in patch]
        for name in [*kustomization["resources"], *patches]:
            assert (KUBERNETES / folder / name).exists(), (folder, name)


def test_scaling_query_counts_open_and_leased_items_with_the_role_of_the_api(
    database_url, api_database_url
):
    queries = [
        manifest["spec"]["triggers"][0]["metadata"]["query"]
        for manifest in read_manifests()
        if manifest["kind"] == "ScaledObject"
    ]
    assert len(queries) == 2
    owner, api = owner_engine(database_url), api_engine(api_database_url, own_login=True)
    try:
        with owner.begin() as connection:
            connection.execute(text(OPEN_ITEMS))
        with api.connect() as connection:
            counts = [connection.exec_driver_sql(query).scalar_one() for query in queries]
    finally:
        owner.dispose()
        api.dispose()
    assert counts == [6, 0]
    assert all(isinstance(count, int) for count in counts)
