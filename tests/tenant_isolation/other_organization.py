"""Two organizations with the same files at the same coordinates under the same names."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text

from api import example_answers
from pinpoint.api.v1.schemas.protected_areas import ProtectedAreaIn
from pinpoint.records import Caller, KeyGrant, NewItem
from pinpoint.records.jobs import NewJob, NewJobItem
from pinpoint.records.protected_areas import ProtectedArea
from pinpoint.records.quality_reports import (
    NewQualityReport,
    QueryError,
    ReliabilityBin,
    ReportMetric,
)
from pinpoint.store.db.protected_areas import ProtectedAreaStore
from pinpoint.store.jobs.job_database import JobDatabase
from pinpoint.store.quality_reports import QualityReportStore
from stack_fixtures import ServiceHarness, jpeg, plain_jpeg, write_photos
from tenant_isolation.route_table import AREA

ROWS = (
    "sources",
    "source_roots",
    "images",
    "thumbnails",
    "embeddings",
    "tombstones",
    "cell_stats",
    "batches",
    "batch_items",
    "item_images",
    "audit_log",
    "kept_queries",
    "api_keys",
    "bucket_listings",
    "webhooks",
    "webhook_deliveries",
    "idempotency_keys",
    "jobs",
    "job_items",
    "protected_areas",
    "quality_reports",
)
_ID_COLUMNS = {
    **dict.fromkeys(("thumbnails", "embeddings", "tombstones"), "image_id"),
    "cell_stats": "source_id",
    "item_images": "item_id",
    "idempotency_keys": "caller_id",
}
"""Column with the id of a row that has none of its own."""
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Tenant:
    """One organization with an id of each kind."""

    name: str
    id: UUID
    key: str
    harness: ServiceHarness
    url: str
    shared: dict[str, str] = field(default_factory=dict)

    def http(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {self.key}"},
            trust_env=False,
            timeout=60,
        )

    def column(self, statement: str) -> list[Any]:
        """One column of the rows of this organization, read as the owner."""
        with self.harness.owner.begin() as unit:
            return list(unit.connection.execute(text(statement), {"org": self.id}).scalars())

    def ids(self) -> set[str]:
        """All ids that no other organization may see."""
        selects = [
            f"SELECT {_ID_COLUMNS.get(table, 'id')}::text FROM {table} WHERE organization_id = :org"
            for table in ROWS
        ]
        return {str(self.id), *self.column(" UNION ".join(selects))}

    def words(self) -> set[str]:
        """Texts that occur only in the rows of this organization."""
        return {self.name, f"{self.name}-only", f"{self.name} & sons"}

    def fingerprint(self) -> str:
        """A digest over all rows; equal digests show that no row was changed."""
        selects = [
            f"SELECT '{table} ' || t::text FROM {table} t WHERE organization_id = :org"
            for table in ROWS
        ]
        rows = self.column(" UNION ALL ".join(selects) + " ORDER BY 1")
        return hashlib.sha256(repr(rows).encode()).hexdigest()


@dataclass
class TenantPair:
    """Two tenants and the API that they share."""

    harness: ServiceHarness
    app: Any
    folder: Path
    alder: Tenant
    birch: Tenant

    def pair(self, name: str) -> tuple[Tenant, Tenant]:
        """The tenant that sends the requests, and the other one."""
        return (self.alder, self.birch) if name == "alder" else (self.birch, self.alder)

    def grow(self, tenant: Tenant, first: int, count: int = 2) -> None:
        """Ingest more photos of one tenant at the same coordinates."""
        folder = self.folder / f"more-{tenant.name}-{first}"
        write_photos(folder, count, first=first)
        self.harness.ingest(folder, tenant.id, source=f"more-{first}")

    def leaks(self, answer: str, other: Tenant) -> set[str]:
        """Ids and texts of the other tenant in an answer."""
        answer_ids = set(_ID.findall(answer.lower()))
        leaked = answer_ids & other.ids() if answer_ids else set()
        return leaked | {word for word in other.words() if word in answer}


def photo_of(tenant: Tenant) -> bytes:
    """A photo of this organization only, where both have photos."""
    seed = {"alder": 501, "birch": 502}[tenant.name]
    return jpeg(seed, 48.85, 2.3511)


def create_tenants(harness: ServiceHarness, app: Any, url: str, folder: Path) -> TenantPair:
    """Create two organizations that ingest the same files in turn, then different ones."""
    tenants = []
    for name in ("alder", "birch"):
        organization = harness.api_keys.create_organization(name)
        created, key = harness.api_keys.create_key(name, "all", KeyGrant(role="admin"))
        tenants.append(Tenant(name, organization.id, key, harness, url, {"key": str(created.id)}))
    for turn in range(3):
        for kind, source in (("photo", "walk"), ("street", "drive")):
            files = folder / source / f"turn-{turn}"
            write_photos(files, 2, first=10 * turn + (5 if kind == "street" else 0))
            (files / "nowhere.jpg").write_bytes(plain_jpeg(turn))
            for tenant in tenants:
                harness.ingest(files.parent, tenant.id, source=source, kind=kind)
    for tenant in tenants:
        tenant_folder = folder / tenant.name
        tenant_folder.mkdir()
        (tenant_folder / f"{tenant.name}-only.jpg").write_bytes(photo_of(tenant))
        harness.ingest(tenant_folder, tenant.id, source=f"{tenant.name}-only")
        with harness.owner.begin() as unit:
            unit.connection.execute(
                text(
                    "UPDATE sources SET attribution = :whom, license = :whom"
                    " WHERE organization_id = :org AND name = :name"
                ),
                {"whom": f"{tenant.name} & sons", "org": tenant.id, "name": f"{tenant.name}-only"},
            )
        _open_batch(harness, tenant, tenant_folder)
    return TenantPair(harness, app, folder, *tenants)


def _create_job(harness: ServiceHarness, tenant: Tenant) -> UUID:
    """A job with one completed item and one that waits for its upload."""
    new_job = NewJob(
        organization_id=tenant.id,
        key_id=None,
        parameters={},
        has_lines=True,
        expiry_s=86_400,
        start=False,
    )
    items = [
        NewJobItem(custom_id=f"{tenant.name}-only", file=f"{tenant.name}-only"),
        NewJobItem(custom_id="waiting", file="waiting.jpg"),
    ]
    job, _ = JobDatabase(harness.as_api).create(new_job, items, {})
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text(
                "UPDATE job_items SET state = 'completed', result = :result, lat = 1, lon = 2"
                " WHERE job_id = :job AND position = 1"
            ),
            {"job": job.id, "result": f'{{"text": "{tenant.name}-only"}}'},
        )
    return job.id


def protect(harness: ServiceHarness, organization_id: UUID, document: Any) -> ProtectedArea:
    """Create a protected area from its GeoJSON Feature, and apply it."""
    store = ProtectedAreaStore(harness.owner)
    caller = Caller(organization_id=organization_id, organization="", scopes=frozenset())
    area = ProtectedAreaIn.model_validate(document).to_record()
    created = store.create(caller, area)
    assert store.apply(60)
    return store.area(organization_id, created.id)


def _add_report(harness: ServiceHarness, tenant: Tenant) -> UUID:
    report = NewQualityReport(
        kind="evaluation",
        bundle="descriptor",
        title=f"{tenant.name}-only",
        is_synthetic=False,
        queries=1,
        metrics=(ReportMetric(name="within 1 km", value=1.0, low=0.5, high=1.0),),
        reliability=(ReliabilityBin(stated=0.9, observed=1.0, queries=1),),
        notes=(),
        errors=(QueryError(lat=1.0, lon=2.0, error_km=0.1),),
    )
    return QualityReportStore(harness.owner).add(tenant.id, report)


def _open_batch(harness: ServiceHarness, tenant: Tenant, folder: Path) -> None:
    """A kept query, and an open batch with one failed file for uploads and retries."""
    with harness.database.write(tenant.id) as catalog:
        kept_query = catalog.keep_query(example_answers.answer(), retention_days=1)
        source = catalog.source(f"{tenant.name}-only")
        batch = catalog.open_batch(source.id)
        file = folder / f"{tenant.name}-only.jpg"
        item = NewItem(
            external_id=f"{tenant.name}-only", file=f"{tenant.name}-only", uri=file.as_uri()
        )
        (item_id,) = catalog.add_items(batch.id, [item])
        catalog.add_listing(batch.id, f"s3://{tenant.name}-only/")
    webhook, _ = harness.webhooks.store.add_webhook(tenant.id, f"https://{tenant.name}-only/", [])
    harness.webhooks.store.send_test(tenant.id, webhook.id)
    area = protect(harness, tenant.id, AREA)
    harness.queue.sent.clear()
    with harness.owner.begin() as unit:
        unit.connection.execute(
            text("UPDATE batch_items SET status = 'failed', error_code = 'x' WHERE id = :id"),
            {"id": item_id},
        )
        image = unit.connection.execute(
            text("SELECT id, collection_id FROM images WHERE source_id = :source"),
            {"source": source.id},
        ).one()
    tenant.shared |= {
        "source": str(source.id),
        "batch": str(batch.id),
        "item": str(item_id),
        "image": str(image.id),
        "collection": str(image.collection_id),
        "query": str(kept_query.id),
        "webhook": str(webhook.id),
        "job": str(_create_job(harness, tenant)),
        "area": str(area.id),
        "report": str(_add_report(harness, tenant)),
    }
