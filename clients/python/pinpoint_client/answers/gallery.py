"""Answers of gallery, generated from the OpenAPI document by `generate_answers.py`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pinpoint_client.answers.answer_model import AnswerModel


class Batch(AnswerModel):
    """A batch; `received + stored + indexed + … + canceled == items`."""

    id: UUID
    source_id: UUID
    source: str
    state: str
    is_processed: bool
    """Whether the batch is closed and each item has a final status."""
    created_at: datetime
    closed_at: datetime | None
    items: int
    received: int
    stored: int
    indexed: int
    updated: int
    duplicate: int
    rejected: int
    failed: int
    canceled: int
    error_counts: dict[str, int] | None = None
    """Number of files `rejected` or `failed`, by error code; only in responses for a single
    batch."""


class Batches(AnswerModel):
    """A page of batches, newest first."""

    batches: list[Batch]
    next: str | None
    """Path and query string of the next page; null on the last page."""


class Uploaded(AnswerModel):
    """Ids of the created items, in the order of the uploaded files."""

    items: list[UUID]
    batch: Batch


class NearestPlace(AnswerModel):
    """The GeoNames city (population of 1,000 or more) that is nearest to a position."""

    name: str
    region: str
    """First administrative level; may be empty."""
    country: str
    """ISO 3166 code."""
    distance_m: float
    """Great-circle distance from the city's center."""


class Item(AnswerModel):
    """One file of a batch."""

    nearest_place: NearestPlace | None = None
    """City nearest to its first image; null without an image."""
    id: UUID
    position: int
    """Ordinal of the file in its batch, from 1."""
    file: str
    status: str
    error_stage: str | None
    error_code: str | None
    error_message: str | None
    image_ids: list[UUID]
    attempts: int
    notes: list[str]
    """Remarks on the file: bytes that were replaced, manual values that were preserved."""


class Items(AnswerModel):
    """A page of items in order of arrival."""

    items: list[Item]
    next: str | None
    """Path and query string of the next page; null on the last page."""


class Retried(AnswerModel):
    """Number of items that were queued again."""

    retried: int
    batch: Batch


class Canceled(AnswerModel):
    """Number of canceled items; items in progress continue to their final status."""

    canceled: int
    batch: Batch


class Correction(AnswerModel):
    """Result of one row."""

    status: str
    """`unchanged`: the images have these values already. `rejected`: nothing was changed."""
    image_ids: list[UUID]
    """Images of the row; several for a panorama."""
    error_code: str | None
    error_message: str | None


class ImageMetadata(AnswerModel):
    """Results in the order of the rows; `updated + unchanged + rejected` is their number."""

    results: list[Correction]
    updated: int
    unchanged: int
    rejected: int


class GeoPoint(AnswerModel):
    """A GeoJSON point: longitude first."""

    type: str | None = None
    coordinates: tuple[float, float]


class Image(AnswerModel):
    """A gallery row."""

    id: UUID
    source_id: UUID
    source: str
    source_kind: str
    external_id: str
    file_name: str
    """Last part of `external_id`."""
    cubemap_face: str | None
    panorama_id: str | None
    lat: float
    lon: float
    geometry: GeoPoint
    nearest_place: NearestPlace
    captured_at: datetime | None
    heading_deg: float | None
    field_of_view_deg: float | None
    """Horizontal field of view in degrees; null unless known."""
    altitude_m: float | None
    camera: str | None
    creator: str | None
    sequence: str | None
    license: str | None
    attribution: str | None
    sha256: str
    format: str
    width_px: int
    height_px: int
    uri: str | None
    state: str
    error_message: str | None
    version: int
    attributes: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    thumbnail_url: str
    position_source: str
    """Origin of the position: `manual`, `manifest`, `caller` (upload fields), a tag of the
    file, or `gpx`."""
    time_source: str | None
    """Origin of captured_at; null without a time."""
    field_sources: dict[str, str]
    """Field → origin of its value, for each field that has one."""
    warnings: list[str]
    """One sentence for each value that overrode another one or was ignored."""


class Images(AnswerModel):
    """A page of images by file name and id."""

    images: list[Image]
    next: str | None
    """Path and query string of the next page; null on the last page. Concurrent inserts and
    deletions neither repeat nor hide other images."""


class Neighbor(AnswerModel):
    """An image near another image."""

    image: Image
    distance_m: float


class Neighbors(AnswerModel):
    """Images near an image, nearest first."""

    neighbors: list[Neighbor]


class Source(AnswerModel):
    """A collection of images of one kind."""

    id: UUID
    name: str
    kind: str
    license: str | None
    attribution: str | None
    originals: str
    image_access: str
    """What API keys may see of its images: nothing (`none`), the thumbnail, or the whole file
    (`full`). Images are served as they were ingested, faces and number plates included."""
    roots: list[str]
    """Names of the folders that were ingested on the stack's machine; they are prefixes of
    their files' ids."""
    created_at: datetime
    images: int


class Sources(AnswerModel):
    """A page of sources by name."""

    sources: list[Source]
    next: str | None
    """Path and query string of the next page; null on the last page."""


class Erased(AnswerModel):
    """Number of images that a worker will erase."""

    images: int


class PointNeighbor(AnswerModel):
    """An image near a point."""

    id: UUID
    source: str
    source_kind: str
    file_name: str
    lat: float
    lon: float
    captured_at: datetime | None
    heading_deg: float | None
    license: str | None
    attribution: str | None
    distance_m: float
    """Length of the geodesic on the WGS84 ellipsoid."""
    bearing_deg: float
    """Direction from the point to the image, degrees clockwise from north in [0, 360); 0 if
    both have the same position."""


class PointNeighbors(AnswerModel):
    """A point of the request, and the images near it, nearest first."""

    lat: float
    lon: float
    neighbors: list[PointNeighbor]


class NeighborResults(AnswerModel):
    """Results in the order of the points. The text has one line for each result."""

    results: list[PointNeighbors]


class CellCount(AnswerModel):
    """Images of one source kind in a cell."""

    source_kind: str
    images: int
    first_captured_at: datetime | None
    last_captured_at: datetime | None


class Cell(AnswerModel):
    """An H3 cell with images."""

    cell: str
    """H3 id."""
    resolution: int
    lat: float
    """Latitude of the center of its images."""
    lon: float
    """Longitude of the center of its images."""
    images: int
    first_captured_at: datetime | None
    last_captured_at: datetime | None
    counts: list[CellCount]
    """For each source kind with images."""
    license: str | None
    """Licenses of its sources, separated by semicolons."""
    attribution: str | None
    """Attributions of its sources, separated by semicolons."""


class Cells(AnswerModel):
    """A page of cells by id."""

    cells: list[Cell]
    next: str | None
    """Path and query string of the next page; null on the last page."""


class KeptQuery(AnswerModel):
    """An answer that its caller asked to keep; the photo is not kept."""

    id: UUID
    created_at: datetime
    expires_at: datetime
    """From this time on, nobody can read it."""
    lat: float
    lon: float
    radius_m: float | None
    """Radius that contains the photo's position with `probability`; null if the answer has no
    credible disc."""
    probability: float | None
    """Share of the ranker's weights if the answer is not calibrated."""
    calibrated: bool
    abstention_reason: str | None
    """Reason why the point is only a guess; null for an answer."""
    bundle: str


class KeptQueries(AnswerModel):
    """A page of kept queries, newest first."""

    queries: list[KeptQuery]
    next: str | None
    """Path and query string of the next page; null on the last page."""


class Live(AnswerModel):
    """Liveness of the process."""

    live: bool
    proof: str | None = None
    """Proves to a client on this machine that this is its own stack."""


class Component(AnswerModel):
    """State of one component of the stack."""

    ok: bool
    detail: str


class Ready(AnswerModel):
    """Readiness of the API and of each component."""

    ready: bool
    components: dict[str, Component]


class Urls(AnswerModel):
    """Items that were added; URLs that the batch has were skipped."""

    items: list[UUID]
    skipped: int
    """Number of URLs that the batch had, or that were repeated."""
    batch: Batch


class Prefix(AnswerModel):
    """The listing that a worker executes."""

    listing_id: UUID
    batch: Batch
