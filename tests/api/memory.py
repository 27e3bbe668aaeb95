"""In-memory services behind the API, with the isolation, states and errors of the ports."""

from __future__ import annotations

import dataclasses
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID, uuid4

import pyarrow as pa

from api.memory_stores import Answers, Blobs, Index
from pinpoint.errors import ConflictError, NotFoundError, PreconditionError, UnauthenticatedError
from pinpoint.records import (
    FINAL_STATUSES,
    AuditEntry,
    Batch,
    BatchItem,
    Caller,
    CorrectionResult,
    ExportRows,
    Image,
    ImageLabel,
    KeptQuery,
    Point,
    Source,
)
from pinpoint.records.key_limits import KeyLimits
from pinpoint.settings import Settings
from pinpoint.store.limits.counters import IN_PROCESS_URL, LimitCounters
from pinpoint.store.limits.limiter import KeyLimiter
from pinpoint.store.limits.misuse import MisuseRule

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
JPEG = b"\xff\xd8\xff\xe0 a thumbnail"


def image(source: Source, lat: float = 48.85, lon: float = 2.35) -> Image:
    return Image(
        id=uuid4(), source_id=source.id, source=source.name, source_kind=source.kind,
        external_id="a.jpg", cubemap_face=None, panorama_id=None, point=Point(lat, lon),
        captured_at=NOW, heading_deg=10.0, altitude_m=None, camera="c", creator=None,
        field_of_view_deg=None,
        sequence=None, license="CC0", attribution="we", sha256="0" * 64, format="jpeg",
        width_px=8, height_px=8, uri=None, state="indexed", error_message=None, version=1,
        attributes={"a": 1}, created_at=NOW, updated_at=NOW,
    )  # fmt: skip


class Access:
    def __init__(self):
        self.ids = {"default": uuid4(), "acme": uuid4()}
        self.secrets: dict[str, Caller] = {}

    def key(self, organization: str, *scopes: str) -> str:
        secret = f"pk_{len(self.secrets)}_{organization}"
        self.secrets[secret] = self.caller_for(organization, scopes, uuid4())
        return secret

    def any_keys(self):
        return bool(self.secrets)

    def authenticate(self, secret):
        if secret not in self.secrets:
            raise UnauthenticatedError("unknown or revoked key")
        return self.secrets[secret]

    def caller_for(self, organization_name, scopes, key_id=None):
        if organization_name not in self.ids:
            raise NotFoundError(f"no organization {organization_name}")
        return Caller(
            organization_id=self.ids[organization_name],
            organization=organization_name,
            scopes=frozenset(scopes),
            key_id=key_id,
        )


class Rows:
    """Rows of one organization; reader and writer of the catalog."""

    def __init__(self):
        self.all_sources: dict[UUID, Source] = {}
        self.all_images: dict[UUID, Image] = {}
        self.all_batches: dict[UUID, dict] = {}
        self.audit: list[AuditEntry] = []
        self.all_kept: list[KeptQuery] = []

    def _get(self, table, key, what):
        if key not in table:
            raise NotFoundError(f"no {what} {key}")
        return table[key]

    def sources(self, *, limit=None, after=None):
        ordered = sorted(self.all_sources.values(), key=lambda source: source.name)
        return [source for source in ordered if after is None or source.name > after][:limit]

    def source(self, name_or_id):
        for stored in self.all_sources.values():
            if str(name_or_id) in (stored.name, str(stored.id)):
                return stored
        raise NotFoundError(f"no source {name_or_id}: `pinpoint sources list` shows the sources")

    def add_source(self, name, kind, *, license=None, attribution=None, originals="copy"):
        if any(other.name == name for other in self.all_sources.values()):
            raise ConflictError(f"there is a source {name} already")
        source = Source(
            id=uuid4(), name=name, kind=kind, license=license, attribution=attribution,
            originals=originals, created_at=NOW,
        )  # fmt: skip
        self.all_sources[source.id] = source
        return source

    def erase_source(self, source_id):
        gone = [i for i in self.all_images.values() if i.source_id == source_id]
        for deleted in gone:
            del self.all_images[deleted.id]
        del self.all_sources[source_id]
        return len(gone)

    def open_batch(self, source_id):
        key = uuid4()
        self.all_batches[key] = {"source": self.all_sources[source_id], "open": True, "items": []}
        return self.batch(key)

    def batch(self, batch_id):
        stored = self._get(self.all_batches, batch_id, "batch")
        states = [item.status for item in stored["items"]]
        counts = {state: states.count(state) for state in ("received", "stored", *FINAL_STATUSES)}
        return Batch(
            id=batch_id, source_id=stored["source"].id, source=stored["source"].name,
            state="open" if stored["open"] else "closed", created_at=NOW, closed_at=None,
            items=len(states), **counts,
        )  # fmt: skip

    def batches(self, limit=50, before=None, id_prefix=None):
        keys = [key for key in self.all_batches if key.hex.startswith(id_prefix or "")]
        batches = [self.batch(key) for key in reversed(keys)]
        ids = [batch.id for batch in batches]
        return batches[ids.index(before) + 1 if before else 0 :][:limit]

    def batch_items(self, batch_id, *, status=None, after=0, limit=200):
        items = self._get(self.all_batches, batch_id, "batch")["items"]
        return [i for i in items if i.position > after and status in (None, i.status)][:limit]

    def error_counts(self, batch_id):
        refused = [i for i in self.batch_items(batch_id) if i.status in ("rejected", "failed")]
        return dict(Counter(i.error_code or "unknown" for i in refused))

    def add_items(self, batch_id, items):
        stored = self._get(self.all_batches, batch_id, "batch")
        if not stored["open"]:
            raise ConflictError("closed")
        for new in items:
            stored["items"].append(
                BatchItem(
                    id=uuid4(), position=len(stored["items"]) + 1, file=new.file, status="received",
                    error_stage=None, error_code=None, error_message=None, image_ids=(), attempts=0,
                )
            )  # fmt: skip
            stored.setdefault("new", []).append(new)
        return [item.id for item in stored["items"][-len(items) :]]

    def settle(self, batch_id, state):
        items = self.all_batches[batch_id]["items"]
        items[:] = [dataclasses.replace(item, status=state) for item in items]

    def close_batch(self, batch_id):
        self._get(self.all_batches, batch_id, "batch")["open"] = False
        return self.batch(batch_id)

    def retry_batch(self, batch_id):
        return sum(i.status in ("failed", "canceled") for i in self.batch_items(batch_id))

    def images(self, ids):
        return {id_: self.all_images[id_] for id_ in ids if id_ in self.all_images}

    def image(self, image_id):
        return self._get(self.all_images, image_id, "image")

    def list_images(self, query, *, limit, after=None):
        self.listed = (query, limit, after)
        images = sorted(
            self.all_images.values(),
            key=lambda image_: (image_.file_name, image_.id),
        )
        if after is not None:
            start = (after.file_name, after.image_id)
            images = [image_ for image_ in images if (image_.file_name, image_.id) > start]
        if query.id_prefix is not None:
            images = [image_ for image_ in images if image_.id.hex.startswith(query.id_prefix)]
        return images[:limit]

    def image_labels(self, ids):
        return {
            id_: ImageLabel(
                file_name=image_.file_name,
                source=image_.source,
                license=image_.license,
                attribution=image_.attribution,
                point=image_.point,
            )
            for id_, image_ in self.all_images.items()
            if id_ in ids
        }

    def cancel_batch(self, batch_id):
        self.close_batch(batch_id)
        items = self.all_batches[batch_id]["items"]
        waiting = [item for item in items if item.status == "received"]
        items[:] = [
            dataclasses.replace(item, status="canceled") if item in waiting else item
            for item in items
        ]
        return len(waiting)

    def thumbnail(self, image_id):
        return JPEG if self.image(image_id) else b""

    def neighbors(self, image_id, *, radius_m, source_kinds=(), limit=20):
        center_image = self.image(image_id)
        near = [
            i
            for i in self.all_images.values()
            if i.id != center_image.id and i.source_kind in (source_kinds or i.source_kind)
        ]
        return [(i, 12.5) for i in near][:limit]

    def update_image(self, image_id, image_update, *, version=None):
        stored = self.image(image_id)
        if version not in (None, stored.version):
            raise PreconditionError("another version")
        names = [f.name for f in dataclasses.fields(image_update) if f.name != "clear"]
        values = {name: getattr(image_update, name) for name in names}
        changes = {name: value for name, value in values.items() if value is not None}
        changes |= dict.fromkeys(image_update.clear - {"position"})
        self.all_images[image_id] = dataclasses.replace(
            stored, version=stored.version + 1, **changes
        )
        return self.all_images[image_id]

    def update_images(self, corrections):
        results = []
        for correction in corrections:
            named = [
                stored.id
                for stored in self.all_images.values()
                if correction.image_id in (None, stored.id)
                and correction.external_id in (None, stored.external_id)
                and correction.source in (None, stored.source)
            ]
            for image_id in named:
                self.update_image(image_id, correction.update)
            results.append(
                CorrectionResult(status="updated", image_ids=tuple(named))
                if named
                else CorrectionResult(status="rejected", error_code="not_found")
            )
        return results

    def has_protected_areas(self):
        return False

    def set_image_access(self, source_id, image_access):
        source = self.source(source_id)
        self.all_sources[source.id] = dataclasses.replace(source, image_access=image_access)
        return self.all_sources[source.id]

    def delete_image(self, image_id):
        self.image(image_id)
        del self.all_images[image_id]

    def log_access(self, *entries):
        self.audit += entries

    def keep_query(self, answer, retention_days):
        self.all_kept.append(
            KeptQuery(
                id=uuid4(), created_at=NOW, expires_at=NOW + timedelta(days=retention_days),
                point=answer.point, radius_m=answer.outer_disc.radius_m,
                probability=answer.outer_disc.probability, calibrated=answer.calibrated,
                abstention_reason=None, bundle=answer.bundle,
            )
        )  # fmt: skip
        return self.all_kept[-1]

    def kept_queries(self, *, limit, before=None):
        rows = sorted(self.all_kept, key=lambda row: (row.created_at, row.id), reverse=True)
        return [row for row in rows if before is None or (row.created_at, row.id) < before][:limit]

    def delete_kept_query(self, query_id):
        remaining = [row for row in self.all_kept if row.id != query_id]
        if len(remaining) == len(self.all_kept):
            raise NotFoundError(f"no kept query {query_id}")
        self.all_kept = remaining


class Database:
    def __init__(self):
        self.rows: dict[UUID, Rows] = {}
        self.answers: dict[UUID, Answers] = {}
        self.broken: Exception | None = None

    @contextmanager
    def read(self, organization_id):
        if self.broken:
            raise self.broken
        yield self.rows.setdefault(organization_id, Rows())

    write = read

    @contextmanager
    def write_once(self, organization_id):
        with self.write(organization_id):
            yield self.answers.setdefault(organization_id, Answers())

    def check(self):
        if self.broken:
            raise self.broken


class Gallery:
    """Counts the faces of panoramas; exports all rows; other reads need PostgreSQL."""

    def __init__(self, database):
        self.database = database

    @contextmanager
    def read(self, organization_id):
        with self.database.read(organization_id) as rows:
            yield SimpleNamespace(count_faces=lambda id_: self.count_faces(rows, id_))

    def count_faces(self, rows, image_id):
        face = rows.image(image_id)
        return sum(
            (other.source_id, other.external_id) == (face.source_id, face.external_id)
            for other in rows.all_images.values()
            if other.cubemap_face is not None
        )

    @contextmanager
    def export(self, organization_id, request, limit_s):
        with self.database.read(organization_id) as rows:
            values = [
                {"id": str(i.id), "lat": i.point.lat, "lon": i.point.lon, "attributes": "{}"}
                for i in rows.all_images.values()
            ]
        schema = pa.schema(
            [
                ("id", pa.string()), ("lat", pa.float64()), ("lon", pa.float64()),
                ("attributes", pa.string()),
            ]
        )  # fmt: skip
        batches = pa.Table.from_pylist(values, schema).to_batches()
        yield ExportRows(schema=schema, num_rows=len(values), batches=iter(batches))


class LimitStore:
    def __init__(self):
        self.overrides: dict[UUID, KeyLimits] = {}

    def read(self, key_id):
        return self.overrides.get(key_id, KeyLimits())

    def write(self, key_id, limits):
        self.overrides[key_id] = limits

    def read_hash_key(self):
        return bytes(32)


def services(settings: Settings) -> SimpleNamespace:
    database = Database()
    counters, limit_store = LimitCounters(IN_PROCESS_URL), LimitStore()
    return SimpleNamespace(
        settings=settings,
        database=database,
        gallery=Gallery(database),
        api_keys=Access(),
        index=Index(),
        encoder=None,
        with_current_encoder=lambda do: do(SimpleNamespace(reranker=None)),
        decoder=None,
        verifier=None,
        blobs=Blobs(),
        key_limiter=KeyLimiter(counters, limit_store, settings.limits),
        misuse_rule=MisuseRule(counters, limit_store, settings.limits),
        tasks=SimpleNamespace(check=lambda: None),
    )
