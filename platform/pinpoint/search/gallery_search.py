"""The flow `search`: gallery images for text, photos, images, a point, or a mixture of them.

query ─encode→ vector ─retrieve→ [SimilarGroup]; `similar` is the search for one photo or image.
A bundle without a location encoder answers a point alone with the images nearest to it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import numpy as np

from pinpoint.errors import InvalidRequestError, ModelMismatchError
from pinpoint.geo.points import lat_lon
from pinpoint.geo.predicates import Mask
from pinpoint.ports import CatalogReader
from pinpoint.records import (
    Candidate,
    Evidence,
    Hit,
    IndexPoint,
    Point,
    SearchFilter,
    SimilarGroup,
    SimilarResult,
)
from pinpoint.search import consistency, grouping, query, retrieve
from pinpoint.search.context import SearchContext
from pinpoint.search.coordinate_search import is_inside
from pinpoint.search.evidence import passes_filter
from pinpoint.search.query_vector import (
    GalleryQuery,
    compute_query_vector,
    has_location_encoder,
)
from pinpoint.search.visible_hits import list_warnings

_WHOLE_EARTH_M: Final = 20_100_000.0
_FIRST_READ: Final = 64
_MAX_READ: Final = 4_096
"""Maximum number of images of a kind that are read to find those that pass the filter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """A query of the gallery, and the size of the page."""

    query: GalleryQuery
    limit: int
    """Number of groups (panoramas, sequences, otherwise single images) on the page."""
    per_group: int = 3
    """Number of images per group on the page."""
    include_self: bool = False
    """Include the gallery images of the query among the hits."""
    exclude_group: bool = False
    """Exclude the panoramas and sequences of the gallery images of the query."""


def search_gallery(
    request: SearchRequest, search_filter: SearchFilter, context: SearchContext
) -> SimilarResult:
    """Find the images that are most similar to a query, best group first.

    Args:
        request: The query, and the size of the page.
        search_filter: As `pipeline.locate`.
        context: As `pipeline.locate`. The database is read only for gallery images, and for a
            point with a bundle without a location encoder.

    Raises:
        InvalidRequestError: A limit is below 1, or as `GalleryQuery.normalized_weights`.
        UnsupportedQueryError: The bundle has no encoder of a part, or the vectors cancel.
        NotFoundError: The organization has no such image.
        ConflictError: An image is not in the index yet.
        BadPhotoError: As `pipeline.locate`.
        TooLargeError: As `pipeline.locate`.
        ModelMismatchError: As `pipeline.locate`.
        UnavailableError: As `pipeline.locate`.
    """
    if request.limit < 1 or request.per_group < 1:
        raise InvalidRequestError(
            f"limit ({request.limit}) and per_group ({request.per_group}) must be at least 1"
        )
    contract, stopwatch = context.encoder.contract, context.stopwatch
    weights = request.query.normalized_weights
    point = request.query.point
    if point is not None and len(weights) == 1 and not has_location_encoder(context.encoder):
        return _search_nearest(request, point, search_filter, context)
    snapshot_before = consistency.require_same_model(context.index, contract)
    where = retrieve.to_index_filter(context.organization_id, search_filter)
    images = _fetch_images(request.query.image_ids, context)
    for image in images:
        where = grouping.restrict_to_neighbors_of(
            where,
            image,
            include_self=request.include_self,
            exclude_group=request.exclude_group,
        )
    vector = compute_query_vector(request.query, images, context)
    with stopwatch.stage("retrieve"):
        for snapshot in consistency.consistent_snapshots(context.index, contract):
            groups = grouping.group_hits(
                vector,
                where,
                context,
                snapshot=snapshot,
                limit=request.limit,
                per_group=request.per_group,
            )
    if images and snapshot.build != snapshot_before.build:
        raise ModelMismatchError("the index changed during the query; retry")
    return SimilarResult(
        groups=groups,
        bundle=contract.name,
        index_build=snapshot.build,
        timings_ms=stopwatch.timings_ms(),
        weights={str(part): weight for part, weight in weights.items()},
        warnings=list_warnings(context),
    )


def _fetch_images(image_ids: Sequence[UUID], context: SearchContext) -> list[IndexPoint]:
    """The gallery images of a query, with their vectors."""
    if not image_ids:
        return []
    with context.stopwatch.stage("fetch"):
        return [
            query.fetch_image_query(
                image_id, context.organization_id, index=context.index, database=context.database
            )
            for image_id in image_ids
        ]


def _search_nearest(
    request: SearchRequest, point: Point, search_filter: SearchFilter, context: SearchContext
) -> SimilarResult:
    """The groups with the images nearest to a point, nearest first, ties by `Hit.tie_key`."""
    contract = context.encoder.contract
    snapshot = consistency.require_same_model(context.index, contract)
    with (
        context.stopwatch.stage("retrieve"),
        context.database.read(context.organization_id) as reader,
    ):
        images = _read_nearest(request, point, search_filter, reader, contract.digest)
    groups: dict[str, list[Evidence]] = defaultdict(list)
    for image in images:
        groups[image.group].append(image)
    return SimilarResult(
        groups=tuple(
            SimilarGroup(group=group, hits=tuple(map(_to_hit, members[: request.per_group])))
            for group, members in list(groups.items())[: request.limit]
        ),
        bundle=contract.name,
        index_build=snapshot.build,
        timings_ms=context.stopwatch.timings_ms(),
        weights={"point": 1.0},
        by_distance=True,
    )


def _read_nearest(
    request: SearchRequest,
    point: Point,
    search_filter: SearchFilter,
    reader: CatalogReader,
    contract: str,
) -> list[Evidence]:
    """Images that pass the filter, nearest first: enough for the page, if there are as many.

    At most the `_MAX_READ` nearest images of each kind are read, whatever the filter.
    """
    here = Candidate(
        id=UUID(int=0),
        source_id=UUID(int=0),
        source_kind="photo",
        point=point,
        captured_at=None,
        group="",
        score=0.0,
        rank=0,
    )
    limit = _FIRST_READ
    while True:
        rows = reader.evidence([here], contract=contract, radius_m=_WHOLE_EARTH_M, per_kind=limit)
        inside = _is_inside(rows, search_filter)
        images = sorted(
            (
                row
                for row, is_in_area in zip(rows, inside.tolist(), strict=True)
                if is_in_area and passes_filter(row, search_filter)
            ),
            key=lambda row: (row.distance_m, row.tie_key),
        )
        # A kind whose read is cut has further images beyond the last one of them.
        counts = Counter(row.source_kind for row in rows)
        horizon_m = min(
            (
                max(row.distance_m for row in rows if row.source_kind == kind)
                for kind, count in counts.items()
                if count >= limit
            ),
            default=math.inf,
        )
        images = [image for image in images if image.distance_m <= horizon_m]
        num_groups = len({image.group for image in images})
        if num_groups > request.limit or math.isinf(horizon_m) or limit >= _MAX_READ:
            return images
        limit *= 4


def _is_inside(rows: Sequence[Evidence], search_filter: SearchFilter) -> Mask:
    positions = lat_lon([row.point for row in rows]) if rows else np.empty((0, 2))
    return is_inside(positions, search_filter)


def _to_hit(image: Evidence) -> Hit:
    """The image as a hit; its score is no similarity (`SimilarResult.by_distance`)."""
    return Hit(
        id=image.id,
        score=0.0,
        version=0,
        source_id=image.source_id,
        kind=image.source_kind,
        point=image.point,
        captured_at=image.captured_at,
        group=image.group,
        content_key=image.content_key,
    )
