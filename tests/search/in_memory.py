"""In-memory implementations of the search ports: an exact index and a catalog of dictionaries.

Images are 8 x 8 color noise with one seed per place, plus weak noise per view. The encoder
normalizes the pixels, so vectors have realistic similarities without network weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import chain
from types import SimpleNamespace
from uuid import UUID, uuid5

import numpy as np
from geographiclib.geodesic import Geodesic

from pinpoint.errors import NotFoundError
from pinpoint.geo.distance import geodesic_m, haversine_m
from pinpoint.geo.points import destination, lat_lon
from pinpoint.records import (
    SOURCE_KINDS,
    C2paClaim,
    Contract,
    DecodedImage,
    Evidence,
    Hit,
    Image,
    ImageFace,
    IndexInfo,
    IndexPoint,
    Point,
    Rejected,
)
from pinpoint.search.context import SearchContext
from pinpoint.settings import SearchSettings

SIDE = 8
US, THEM = UUID(int=1), UUID(int=2)
START = datetime(2026, 1, 1, tzinfo=UTC)
CONTRACT = Contract(
    name="pixels",
    digest="d1g357",
    tower="pixels",
    dims={"image": SIDE * SIDE * 3},
    rendition_px=SIDE,
    calibrated=False,
    note="sees noise",
)


def geodesic_bearing_deg(a, b):
    """Azimuth at `a` of the geodesic to `b`, in [0, 360) degrees; 0 for equal points."""
    if a == b:
        return 0.0
    return Geodesic.WGS84.Inverse(a.lat, a.lon, b.lat, b.lon, Geodesic.AZIMUTH)["azi1"] % 360.0


def view_pixels(place: int, view: int = 0, noise: float = 25.0) -> np.ndarray:
    """Image of a place from one of its views, `[8, 8, 3]` uint8."""
    base = np.random.default_rng(place).uniform(0, 255, (SIDE, SIDE, 3))
    seen = base + np.random.default_rng([place, view]).normal(0, noise, base.shape)
    return np.clip(seen, 0, 255).astype(np.uint8)


@dataclass
class PixelEncoder:
    contract: Contract = CONTRACT

    def encode_query(self, image, kind=None):
        flat = image.astype(np.float64).ravel() - 127.5
        return (flat / np.linalg.norm(flat)).astype(np.float32)

    def encode_query_channels(self, image, kind=None):
        return {"image": self.encode_query(image, kind)}


class PixelDecoder:
    """Takes raw pixels; anything of another length is rejected."""

    def read(self, file, data, metadata_override=None, *, query=False, crop=None):
        assert query
        if data.startswith(b"huge"):
            return Rejected(
                file=file, error_stage="read", error_code="too_many_pixels", error_message="too big"
            )
        if len(data) != SIDE * SIDE * 3:
            return Rejected(
                file=file,
                error_stage="decode",
                error_code="undecodable",
                error_message="not pixels",
            )
        pixels = np.frombuffer(data, np.uint8).reshape(SIDE, SIDE, 3)
        face = ImageFace(name=None, heading_deg=None, pixels=pixels, thumbnail=b"")
        return DecodedImage(capture=SimpleNamespace(), faces=(face,))

    def read_c2pa(self, data):
        return C2paClaim(state="absent")

    def close(self):
        return None


def search_context(index, database=None, *, contract=CONTRACT, **changes) -> SearchContext:
    """Context of one query over an index and a catalog in memory."""
    defaults = {
        "organization_id": US,
        "settings": SearchSettings(),
        "decoder": PixelDecoder(),
        "encoder": PixelEncoder(contract),
    }
    return SearchContext(
        index=index,
        database=database,
        **{**defaults, **changes},
    )


@dataclass
class NumpyIndex:
    points: list[IndexPoint]
    state: IndexInfo | None = None
    requests: list = field(default_factory=list)

    def info(self):
        return self.state or IndexInfo(
            engine="qdrant-edge",
            ready=True,
            contract=CONTRACT.digest,
            build="b1",
            points=len(self.points),
            indexed_vectors=len(self.points),
        )

    def search(self, queries):
        self.requests.append(queries)
        return [self._nearest(query) for query in queries]

    def _nearest(self, query):
        seen = [p for p in self.points if visible(p, query.filter)]
        hits = [
            Hit(
                id=p.id,
                score=float(p.vectors[query.channel] @ query.vector),
                version=p.version,
                source_id=p.source_id,
                kind=p.kind,
                point=p.point,
                captured_at=p.captured_at,
                group=p.group,
                content_key=p.content_key,
            )
            for p in seen
        ]
        return sorted(hits, key=lambda h: (-h.score, h.tie_key))[: query.limit]

    def fetch(self, ids, *, vectors=False):
        return [p for p in self.points if p.id in ids]

    def count(self, where=None):
        return sum(where is None or visible(p, where) for p in self.points)


def haversine_to(a, b) -> float:
    """Meters on the sphere, as the circles of the index."""
    return float(haversine_m(lat_lon([a]), lat_lon([b]))[0])


def visible(point, where) -> bool:  # noqa: PLR0911 - one line for each condition
    """Whether a filter lets a point through."""
    if point.organization_id != where.organization_id:
        return False
    if where.source_kinds and point.kind not in where.source_kinds:
        return False
    if where.source_ids and point.source_id not in where.source_ids:
        return False
    if where.circle is not None:
        away = geodesic_m(point.point, where.circle.center)
        if away > where.circle.radius_m:
            return False
    if where.captured_after is not None and point.captured_at < where.captured_after:
        return False
    if where.captured_before is not None and point.captured_at >= where.captured_before:
        return False
    area = where.exclude_circle
    if area is not None and haversine_to(point.point, area.center) <= area.radius_m:
        return False
    return point.id not in where.exclude_ids and point.group not in where.exclude_groups


@dataclass
class DictDatabase:
    """Counts its units of work and its statements."""

    points: list[IndexPoint]
    gone: set = field(default_factory=set)
    log: list[str] = field(default_factory=list)

    @contextmanager
    def read(self, organization_id) -> Iterator[DictReader]:
        self.log.append("read")
        rows_of_organization = [p for p in self.points if p.organization_id == organization_id]
        yield DictReader(self, [p for p in rows_of_organization if p.id not in self.gone])


@dataclass
class DictReader:
    database: DictDatabase
    points: list[IndexPoint]

    def image(self, image_id):
        for p in self.points:
            if p.id == image_id:
                return image_of(p)
        raise NotFoundError(f"no image {image_id}")

    def images(self, ids):
        self.database.log.append("images")
        return {p.id: image_of(p) for p in self.points if p.id in set(ids)}

    def copies(self, images):
        self.database.log.append("copies")
        key = {p.id: p.content_key for p in self.points}
        copies = {
            image.id: tuple(
                image_of(p)
                for p in self.points
                if key[image.id] and p.content_key == key[image.id] and p.id != image.id
            )
            for image in images
        }
        return {id_: others for id_, others in copies.items() if others}

    def evidence(
        self, candidates, *, contract, radius_m, per_kind, excluded=(), exclude_circle=None
    ):
        self.database.log.append("evidence")
        assert contract == CONTRACT.digest
        rows = []
        for candidate in candidates:
            nearest_by_kind = [
                self._near(candidate, k, radius_m, excluded, exclude_circle)[:per_kind]
                for k in SOURCE_KINDS
            ]
            rows += sorted(chain(*nearest_by_kind), key=lambda row: (row.distance_m, row.tie_key))
        return rows

    def _near(self, candidate, kind, radius_m, excluded, circle):
        at = np.array([candidate.point.lat, candidate.point.lon])
        away = haversine_m(lat_lon([p.point for p in self.points]), at)
        # As the database: by distance on the sphere, ties by content, then by id.
        near = [
            p
            for p, distance_m in sorted(
                zip(self.points, away.tolist(), strict=True),
                # Places of this gallery are symmetric: the last digits are rounding errors.
                key=lambda row: (round(row[1], 6), row[0].content_key, row[0].id.int),
            )
            if p.kind == kind
            and distance_m <= radius_m
            and p.id not in excluded
            and (circle is None or haversine_to(p.point, circle.center) > circle.radius_m)
        ]
        return [
            Evidence(
                id=p.id,
                candidate_id=candidate.id,
                source_id=p.source_id,
                source_kind=p.kind,
                point=p.point,
                captured_at=p.captured_at,
                group=p.group,
                distance_m=geodesic_m(candidate.point, p.point),
                bearing_deg=geodesic_bearing_deg(candidate.point, p.point),
                vector=p.vectors["image"],
                content_key=p.content_key,
            )
            for p in near
        ]


def image_of(p: IndexPoint) -> Image:
    """The catalog's row of a point."""
    return Image(
        id=p.id,
        source_id=p.source_id,
        source=f"the {p.kind} source",
        source_kind=p.kind,
        external_id=str(p.id),
        cubemap_face=None,
        panorama_id=None,
        point=p.point,
        captured_at=p.captured_at,
        heading_deg=None,
        field_of_view_deg=None,
        altitude_m=None,
        camera=None,
        creator=None,
        sequence=None,
        license="CC BY 4.0",
        attribution=f"people of {p.kind}",
        sha256="",
        format="JPEG",
        width_px=SIDE,
        height_px=SIDE,
        uri=None,
        state="indexed",
        error_message=None,
        version=p.version,
        attributes={},
        created_at=START,
        updated_at=START,
    )


def gallery(
    places: int = 12,
    views: int = 3,
    organization: UUID = US,
    around: tuple[float, float] = (10.0, 179.99),
    apart_m: float = 30_000.0,
    views_apart_m: float = 60.0,
) -> list[IndexPoint]:
    """Gallery of `places` with `views` of both kinds each; it crosses the antimeridian."""
    encoder = PixelEncoder()
    points = []
    for place in range(places):
        middle = destination(np.array(around), place * 360 / places, apart_m)
        for kind in ("photo", "street"):
            for view in range(views):
                turn = view * 360 / views + (30 if kind == "street" else 0)
                lat, lon = destination(middle, turn, views_apart_m).tolist()
                seed = view + (100 if kind == "street" else 0)
                points.append(
                    IndexPoint(
                        id=uuid5(organization, f"{place}/{kind}/{view}"),
                        version=1,
                        organization_id=organization,
                        source_id=uuid5(organization, kind),
                        kind=kind,
                        point=Point(lat, lon),
                        captured_at=START + timedelta(days=view),
                        cell=0,
                        group=f"{kind}-{place}",
                        vectors={"image": encoder.encode_query(view_pixels(place, seed))},
                    )
                )
    return points
