"""A gallery of rows with all difficult values behind a real API."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid5

import httpx
import numpy as np
import uvicorn
from sqlalchemy import text

from pinpoint import logs
from pinpoint.api.app import create_app
from pinpoint.export_settings import ExportSettings
from pinpoint.geo.cells import cells_of
from pinpoint.records import KeyGrant, Point
from pinpoint.settings import LogSettings, ServiceSettings, Settings
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.catalog_database import CatalogDatabase
from pinpoint.store.db.database import Transactions, api_engine, owner_engine
from pinpoint.store.gallery.gallery_database import GalleryDatabase
from stack_fixtures import limit_services

SEED = UUID("00000000-0000-4000-8000-000000000077")
CONTRACT = "c" * 16
DIMS = 8
NOON = datetime(2024, 5, 1, 12, 0, 0, 250_000, tzinfo=UTC)
CORNERS = [(90.0, 0.0), (-90.0, 0.0), (0.0, 180.0), (0.0, -180.0), (16.5, 179.999999), (0.0, 0.0)]
TEXTS = ["Zoë", "日本 🗻", 'a "quoted", value', "line\nbreak", "", " ", "100%", "\\N", "NULL", "-"]
_INSERT = text(
    "INSERT INTO images (id, organization_id, source_id, source_kind, external_id, geog,"
    " captured_at, heading_deg, field_of_view_deg, altitude_m, camera, creator, sequence, license,"
    " position_source, time_source, sha256, size_bytes, format, width_px, height_px, uri,"
    " cell_r5, cell_r7, cell_r9, attributes, state, version, created_at, updated_at)"
    " VALUES (:id, :org, :source, :kind, :external_id,"
    " ST_SetSRID(ST_MakePoint(:lon, :lat), 4326)::geography, :captured_at, :heading_deg,"
    " :field_of_view_deg, :altitude_m, :camera, :creator, :sequence, :license, 'exif', 'exif',"
    " :sha256, :size_bytes, 'jpeg', 640, 480, :uri, :r5, :r7, :r9, CAST(:attributes AS jsonb),"
    # Milliseconds, the resolution of GDAL.
    " :state, 1, '2026-01-02T03:04:05.678Z', '2026-01-02T03:04:06.789Z')"
)


def make_rows(count: int, seed: int = 7) -> list[dict[str, Any]]:
    """Rows with nulls, Unicode, positions at the poles and at the antimeridian."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        lat, lon = (
            CORNERS[number]
            if number < len(CORNERS)
            else (float(random.uniform(-90, 90)), float(random.uniform(-180, 180)))
        )
        # The first ten rows are null, as GIS clients derive types from them.
        has_values = number >= 10
        cells = cells_of(Point(lat, lon))
        rows.append(
            {
                "id": uuid5(SEED, f"{seed}/{number}"),
                "external_id": f"folder/{number:05d} {TEXTS[number % 2]}.jpg",
                "lat": lat,
                "lon": lon,
                "captured_at": NOON + timedelta(hours=number) if has_values else None,
                "heading_deg": float(random.uniform(0, 360)) if has_values else None,
                "field_of_view_deg": 90.0 if number % 3 == 2 else None,
                "altitude_m": float(random.normal(100, 50)) if number % 2 else None,
                "camera": TEXTS[number % len(TEXTS)] if has_values else None,
                "creator": TEXTS[(number * 7) % len(TEXTS)] if has_values else None,
                "sequence": f"s{number % 5}" if has_values else None,
                "license": "CC BY 4.0" if number % 4 == 0 else None,
                "sha256": random.bytes(32),
                "size_bytes": 5_000_000_000 + number,
                "uri": f"file:///photos/{number}.jpg" if number % 2 else f"https://x.org/{number}",
                "attributes": json.dumps({"n": number, "t": TEXTS[number % len(TEXTS)]}),
                "state": "failed" if number == 11 else "deleted" if number == 12 else "indexed",
                "r5": cells.r5,
                "r7": cells.r7,
                "r9": cells.r9,
            }
        )
    return rows


@dataclass
class GalleryServer:
    """One organization with rows, and an API with two keys and the operator."""

    url: str
    home: Path
    owner: Transactions
    services: SimpleNamespace
    organization_id: UUID
    key: str
    app: Any

    def http(self, key: str | None = None, timeout_s: float = 60) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key or self.key}"}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=timeout_s)

    def query(self, statement: str) -> list[dict[str, Any]]:
        """Rows of a statement, read as the owner."""
        with self.owner.begin() as unit:
            rows = unit.connection.execute(text(statement), {"org": self.organization_id})
            return [dict(row) for row in rows.mappings()]

    def limit(self, **limits: Any) -> None:
        """Change the limits of exports."""
        self.services.settings = Settings(
            services=ServiceSettings(home=self.home), export=ExportSettings(**limits)
        )

    @property
    def temporary_files(self) -> list[Path]:
        return list((self.home / "exports").rglob("*"))


def insert_rows(owner: Transactions, organization_id: UUID, rows: list[dict[str, Any]]) -> None:
    """A source of photos, one of street imagery, and the rows in turn."""
    with owner.begin() as unit:
        sources = {}
        for kind, attribution in (("photo", None), ("street", "City of Zürich")):
            sources[kind] = uuid5(organization_id, kind)
            unit.connection.execute(
                text(
                    "INSERT INTO sources (id, organization_id, name, kind, license, attribution,"
                    " originals) VALUES (:id, :org, :name, :kind, 'ODbL', :whom, 'reference')"
                ),
                {
                    "id": sources[kind],
                    "org": organization_id,
                    "name": f"{kind}s",
                    "kind": kind,
                    "whom": attribution,
                },
            )
        values = []
        for number, row in enumerate(rows):
            kind = "street" if number % 3 == 0 else "photo"
            values.append(row | {"org": organization_id, "source": sources[kind], "kind": kind})
        unit.connection.execute(_INSERT, values)
        vectors = [
            {
                "id": row["id"],
                "org": organization_id,
                "contract": CONTRACT,
                "vector": np.full(DIMS, number / 7, dtype="<f2").tobytes(),
            }
            for number, row in enumerate(rows)
            if number % 5
        ]
        unit.connection.execute(
            text(
                "INSERT INTO embeddings (image_id, contract, channel, organization_id, vector)"
                " VALUES (:id, :contract, 'image', :org, :vector)"
            ),
            vectors,
        )


@contextmanager
def serve_gallery(owner_url: str, api_url: str, home: Path) -> Iterator[GalleryServer]:
    """Serve an empty organization `acme`; keyless loopback is its operator."""
    logs.configure(LogSettings())
    owner = Transactions(owner_engine(owner_url))
    as_api = Transactions(api_engine(api_url, own_login=True))
    keys = ApiKeyStore(owner)
    organization_id = keys.create_organization("acme").id
    _, key = keys.create_key("acme", "exports", KeyGrant(scopes=("export", "read")))
    services = SimpleNamespace(
        settings=Settings(services=ServiceSettings(home=home)),
        database=CatalogDatabase(as_api, 64),
        gallery=GalleryDatabase(as_api),
        api_keys=ApiKeyStore(as_api),
        **limit_services(as_api),
        index=SimpleNamespace(info=lambda: SimpleNamespace(contract=CONTRACT)),
    )
    app = create_app(services)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, proxy_headers=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield GalleryServer(
            f"http://127.0.0.1:{port}", home, owner, services, organization_id, key, app
        )
    finally:
        server.should_exit = True
        thread.join(10)
        owner.close()
        as_api.close()
