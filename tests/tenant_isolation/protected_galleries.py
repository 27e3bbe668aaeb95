"""Two galleries with one protected area: one has images in it, the other never had them."""

from __future__ import annotations

import io
import json
import re
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pyogrio
from pyarrow import parquet
from sqlalchemy import text

from pinpoint.records import KeyGrant
from stack_fixtures import jpeg, write_photos
from tenant_isolation.other_organization import Tenant, TenantPair, protect
from vector_tiles import read_tile

PROTECTED_SEEDS = (703, 704)
PROTECTED_STREET_SEEDS = (723, 724)
"""Images of `write_photos` in the area."""
REMOTE_SEED = 790
REMOTE_LAT, REMOTE_LON = -41.5, 173.25
"""A photo far away from all others, alone in its cells and its collection."""


def rectangle(west: float, south: float, east: float, north: float) -> list[list[list[float]]]:
    """Coordinates of a GeoJSON Polygon."""
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]


def area_document(granularity: str, **properties: object) -> dict[str, Any]:
    """A protected area around the protected photos, with the meridian 180 and the south pole."""
    return {
        "type": "Feature",
        "geometry": {
            "type": "MultiPolygon",
            "coordinates": [
                rectangle(3.0525, 48.84, 3.0545, 48.86),
                rectangle(3.0725, 48.84, 3.0745, 48.86),
                rectangle(173.0, -42.0, 173.5, -41.0),
                rectangle(179.0, 10.0, 180.0, 11.0),
                rectangle(0.0, -90.0, 10.0, -89.0),
            ],
        },
        "properties": {
            "name": "quiet place",
            "granularity": granularity,
            "purpose": "a test",
            **properties,
        },
    }


@dataclass
class ProtectedGalleries:
    """The galleries, each with a restricted key and a key that is exempt."""

    full: Tenant
    reduced: Tenant
    exempt_keys: dict[str, str]
    areas: dict[str, UUID]

    def as_exempt(self, tenant: Tenant) -> Tenant:
        """The tenant with the key that sees protected areas."""
        return Tenant(
            tenant.name, tenant.id, self.exempt_keys[tenant.name], tenant.harness, tenant.url
        )

    def set_area(self, granularity: str, **properties: object) -> None:
        """Replace the area of both galleries."""
        for tenant in (self.full, self.reduced):
            with self.as_exempt(tenant).http() as http:
                document = area_document(granularity, **properties)
                answer = http.put(f"/v1/protected-areas/{self.areas[tenant.name]}", json=document)
                assert answer.status_code == 200, answer.text
                assert answer.json()["properties"]["applied"]

    def protected_ids(self) -> dict[int, str]:
        """Ids of the protected images by seed."""
        return {
            seed: str(
                self.full.column(
                    "SELECT id FROM images WHERE organization_id = :org"
                    f" AND external_id LIKE '%{seed:04d}.jpg'"
                )[0]
            )
            for seed in (*PROTECTED_SEEDS, *PROTECTED_STREET_SEEDS, REMOTE_SEED)
        }


def create_galleries(pair: TenantPair) -> ProtectedGalleries:
    """Create both galleries behind the API of `pair`."""
    tenants, exempt_keys, areas = [], {}, {}
    for name in ("cedar", "dogwood"):
        organization = pair.harness.api_keys.create_organization(name)
        scopes = ("locate", "read", "ingest", "export", "admin")
        _, key = pair.harness.api_keys.create_key(name, "restricted", KeyGrant(scopes=scopes))
        _, exempt_keys[name] = pair.harness.api_keys.create_key(
            name, "exempt", KeyGrant(scopes=scopes, granularity="exact")
        )
        tenant = Tenant(name, organization.id, key, pair.harness, pair.alder.url)
        for kind, source, first in (("photo", "walk", 700), ("street", "drive", 720)):
            folder = pair.folder / name / source
            write_photos(folder, 6, first=first)
            if kind == "photo":
                remote = jpeg(REMOTE_SEED, REMOTE_LAT, REMOTE_LON)
                (folder / f"{REMOTE_SEED:04d}.jpg").write_bytes(remote)
            if name == "dogwood":
                _remove_protected(folder)
            if kind == "street":
                _write_sequences(folder)
            pair.harness.ingest(folder, tenant.id, source=source, kind=kind)
        areas[name] = protect(pair.harness, tenant.id, area_document("refuse")).id
        tenants.append(tenant)
    full, reduced = tenants
    return ProtectedGalleries(full, reduced, exempt_keys, areas)


def _write_sequences(folder: Path) -> None:
    """Two sequences; the second one has the images in the area, and one outside."""
    names = sorted(path.name for path in folder.glob("*.jpg"))
    rows = [f"{name},{'first' if int(name[:4]) < 723 else 'second'} drive" for name in names]
    (folder / "images.csv").write_text("\n".join(["file,sequence", *rows, ""]))


def _remove_protected(folder: Path) -> None:
    for seed in (*PROTECTED_SEEDS, *PROTECTED_STREET_SEEDS, REMOTE_SEED):
        (folder / f"{seed:04d}.jpg").unlink(missing_ok=True)


class Normalizer:
    """Replaces the ids and times of a gallery by what both galleries share."""

    def __init__(self, tenant: Tenant) -> None:
        with tenant.harness.owner.begin() as unit:
            rows = unit.connection.execute(
                text(
                    "SELECT i.id::text, i.collection_id::text, i.organization_id::text,"
                    "       s.id::text, s.name, i.external_id, coalesce(i.sequence, '')"
                    "  FROM images i JOIN sources s ON s.id = i.source_id"
                    " WHERE i.organization_id = :org"
                ),
                {"org": tenant.id},
            ).all()
        self._names = {tenant.name: "ORGANIZATION"}
        for image, collection, organization, source_id, source, file, sequence in rows:
            self._names |= {
                image: f"{source}/{file}",
                image.replace("-", ""): f"{source}/{file}",
                source_id: source,
                collection: f"collection of {source} {sequence}",
                collection.replace("-", ""): f"collection of {source} {sequence}",
                organization: "ORGANIZATION",
            }
        self._pattern = re.compile("|".join(sorted(map(re.escape, self._names), reverse=True)))

    def replace(self, value: Any) -> Any:
        """A value of an answer; the order of lists, which ids decide, is that of their texts."""
        if isinstance(value, dict):
            return {
                self.replace(key): self.replace(entry)
                for key, entry in value.items()
                if key not in ("created_at", "updated_at", "created", "updated", "timeStamp")
            }
        if isinstance(value, list | tuple):
            return sorted((self.replace(entry) for entry in value), key=repr)
        if isinstance(value, str):
            named = self._pattern.sub(lambda match: self._names[match[0]], value)
            named = re.sub(r"cursor=[\w%-]+", "CURSOR", named)  # has an id
            return re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|\+00:00)", "TIME", named)
        if isinstance(value, float):
            return round(value, 9)
        return value


def assert_equal_answers(
    galleries: ProtectedGalleries, iterate_answers: Callable[[Tenant], Iterator[tuple[str, Any]]]
) -> None:
    """Assert that both galleries give the same answers, except for ids and times.

    Args:
        galleries: The galleries.
        iterate_answers: Sends requests of a tenant; yields what each is, and its response.
    """
    full, reduced = (
        sorted(
            (
                (what, normalizer.replace(_strip_volatile(what, answer)))
                for what, answer in iterate_answers(tenant)
            ),
            key=repr,
        )
        for tenant in (galleries.full, galleries.reduced)
        for normalizer in [Normalizer(tenant)]
    )
    assert len(full) == len(reduced) > 0
    for one, other in zip(full, reduced, strict=True):
        assert list(_find_differences(one, other)) == [], one[0]


def _strip_volatile(what: str, answer: Any) -> tuple[int, dict[str, str], Any]:
    """What both galleries share of an answer."""
    assert answer.status_code in (200, 404, 422), (what, answer.text)
    match answer.headers.get("content-type"):
        case "image/jpeg":
            content = answer.content
        case "image/png":  # a match picture shows the id of the image
            content = None
        case _:
            content = read_content(answer)
    if isinstance(content, dict):
        for name in ("timings_ms", "request_id", "instance"):
            content.pop(name, None)
    volatile = (
        *("x-request-id", "date", "etag", "content-length", "content-disposition", "link"),
        "ratelimit",  # what is left of the limit of the key
    )
    headers = {name: value for name, value in answer.headers.items() if name not in volatile}
    return answer.status_code, headers, content


def _find_differences(first: Any, second: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Paths and values where two answers differ."""
    if isinstance(first, dict) and isinstance(second, dict) and first.keys() == second.keys():
        for key in first:
            yield from _find_differences(first[key], second[key], f"{path}.{key}")
    elif isinstance(first, list | tuple) and len(first) == len(second):
        for number, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from _find_differences(one, other, f"{path}[{number}]")
    elif first != second:
        yield path, first, second


def read_content(answer: Any) -> Any:
    """Content of an answer as values: JSON, rows of a file, or features of a tile."""
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if kind.endswith("json"):
        return answer.json()
    if kind in ("application/vnd.mapbox-vector-tile", "application/x-protobuf"):
        return {
            layer: [(feature.geometry.wkt, feature.attributes) for feature in features]
            for layer, features in read_tile(answer.content).items()
        }
    if kind == "application/vnd.apache.parquet":
        return parquet.read_table(io.BytesIO(answer.content)).to_pylist()
    if "flatgeobuf" in kind or "geopackage" in kind:
        suffix = ".fgb" if "flatgeobuf" in kind else ".gpkg"
        with tempfile.NamedTemporaryFile(suffix=suffix) as file:
            file.write(answer.content)
            file.flush()
            return pyogrio.read_arrow(file.name)[1].to_pylist()
    if kind == "application/zip":
        return read_dossier(answer)
    return answer.text.splitlines()


def read_dossier(answer: Any) -> dict[str, Any]:
    """Document and layer of a dossier, and the number of its files by folder."""
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        document = json.loads(archive.read("dossier.json"))
        layer = json.loads(archive.read("answer.geojson"))
        folders = Counter(name.rpartition("/")[0] for name in archive.namelist())
    del document["created_at"]
    return {"document": document, "layer": layer, "folders": dict(folders)}
