"""The API over one database with two organizations and known images, through an ASGI client."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from pinpoint import logs
from pinpoint.api.app import create_app
from pinpoint.api_settings import ApiSettings
from pinpoint.geo.cells import cells_of
from pinpoint.records import KeyGrant, Point
from pinpoint.settings import LogSettings, Settings
from pinpoint.store.db.api_keys import ApiKeyStore
from pinpoint.store.db.catalog_database import CatalogDatabase
from pinpoint.store.db.database import Transactions, api_engine, owner_engine
from pinpoint.store.gallery.gallery_database import GalleryDatabase
from stack_fixtures import limit_services

START = datetime(2020, 1, 1, tzinfo=UTC)
NUM_IMAGES = 60
INSERT_SOURCE = text(
    "INSERT INTO sources (id, organization_id, name, kind, license, attribution, originals)"
    " VALUES (:id, :org, :name, :kind, 'CC-BY-4.0', :attribution, 'copy')"
)
INSERT_IMAGE = text(
    "INSERT INTO images (id, organization_id, source_id, source_kind, external_id, geog,"
    " captured_at, heading_deg, altitude_m, camera, creator, sequence, position_source, sha256,"
    " size_bytes, format, width_px, height_px, cell_r5, cell_r7, cell_r9, attributes, state,"
    " version) VALUES (:id, :org, :source_id, :source_kind, :external_id,"
    " ST_SetSRID(ST_MakePoint(:lon, :lat), 4326)::geography, :captured_at, :heading_deg,"
    " :altitude_m, :camera, :creator, :sequence, 'exif', '\\x00', :size_bytes, 'jpeg', 640, 480,"
    " :r5, :r7, :r9, '{\"a\": 1}', :state, 1)"
)

INSERT_KEPT_QUERY = text(
    "INSERT INTO kept_queries (id, organization_id, expires_at, geom, radius_m, probability,"
    " calibrated, bundle) VALUES (:id, :org, now() + interval '1 day',"
    " ST_SetSRID(ST_MakePoint(2.35, 48.85), 4326), 120.5, 0.9, true, 'descriptor')"
)


def make_image(number: int) -> dict[str, Any]:
    """Values of one image; some positions are on the meridian 180 and at a pole."""
    lon = [-180.0, 180.0, 179.5, -179.5][number % 4] if number < 8 else 2.0 + 0.01 * number
    lat = 90.0 if number == 8 else -10.0 + 0.8 * (number // 2)
    return {
        "lat": lat,
        "lon": lon,
        "source_kind": ("photo", "street")[number % 2],
        "external_id": f"walk/{number:03d}.jpg",
        "captured_at": None if number % 5 == 0 else START + timedelta(days=number),
        "heading_deg": None if number % 3 == 0 else float(number * 6),
        "altitude_m": None if number % 4 else -2.5 * number,
        "camera": f"Camera {number % 3}",
        "creator": None if number % 7 == 0 else ("Ann", "ben", "Cy%d", "Ünal")[number % 4],
        "sequence": f"drive-{number // 10}" if number % 2 else None,
        "size_bytes": 1000 + number,
        "state": "failed" if number == NUM_IMAGES - 1 else "indexed",
    }


@dataclass
class Organization:
    """One organization and its visible images by id."""

    id: uuid.UUID
    key: str
    images: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class LayerApi:
    """A client of the API, and what the database contains."""

    client: TestClient
    owner: Transactions
    as_api: Transactions
    alder: Organization
    birch: Organization

    def get(self, path: str, **parameters: Any) -> Any:
        """Response of `GET /ogc…` with the key of alder."""
        return self.client.get(f"/ogc{path}", params=parameters, auth=("user", self.alder.key))

    def ids(self, **parameters: Any) -> list[str]:
        """Ids of one page of images."""
        response = self.get("/collections/images/items", **{"limit": 1000, **parameters})
        assert response.status_code == 200, response.text
        return [feature["id"] for feature in response.json()["features"]]


@pytest.fixture(scope="session")
def layer_api(postgres, server_paths, tmp_path_factory) -> Iterator[LayerApi]:
    """The API with two organizations that have equal images at equal positions."""
    logs.configure(LogSettings())
    name = f"o_{uuid.uuid4().hex[:16]}"
    postgres.clone("template_pinpoint", name)
    owner = Transactions(owner_engine(server_paths.owner_url(name)))
    as_api = Transactions(api_engine(server_paths.api_url(name), own_login=True))
    services = SimpleNamespace(
        settings=Settings(api=ApiSettings(host_names="testserver")),
        gallery=GalleryDatabase(as_api),
        database=CatalogDatabase(as_api, 32),
        api_keys=ApiKeyStore(as_api),
        **limit_services(as_api),
    )
    organizations = [add_organization(owner, name) for name in ("alder", "birch")]
    with owner.begin() as unit:
        unit.connection.execute(text("ANALYZE images, cell_stats"))
    with TestClient(create_app(services), base_url="http://testserver") as client:
        yield LayerApi(client, owner, as_api, *organizations)
    owner.close()
    as_api.close()
    postgres.drop(name)


def add_organization(owner: Transactions, name: str) -> Organization:
    """Insert an organization with one source of each kind and all images."""
    keys = ApiKeyStore(owner)
    organization = Organization(keys.create_organization(name).id, "")
    _, organization.key = keys.create_key(name, "all", KeyGrant(scopes=("read",)))
    sources = {kind: uuid.uuid4() for kind in ("photo", "street")}
    with owner.begin() as unit:
        kept_query = {"id": uuid.uuid4(), "org": organization.id}
        unit.connection.execute(INSERT_KEPT_QUERY, kept_query)
        for kind, source_id in sources.items():
            values = {"id": source_id, "org": organization.id, "name": f"{name}-{kind}"}
            unit.connection.execute(
                INSERT_SOURCE, {**values, "kind": kind, "attribution": f"{name} & sons"}
            )
        for number in range(NUM_IMAGES):
            image = make_image(number)
            image |= {"id": uuid.uuid4(), "source_id": sources[image["source_kind"]]}
            cells = cells_of(Point(image["lat"], image["lon"]))
            row = {"org": organization.id, "r5": cells.r5, "r7": cells.r7, "r9": cells.r9, **image}
            unit.connection.execute(INSERT_IMAGE, row)
            image["source"] = f"{name}-{image['source_kind']}"
            if image["state"] != "failed":
                organization.images[str(image["id"])] = image
    return organization
