"""The vector of a search: text, photos, gallery images, a point, or a weighted mixture of them.

All are vectors of the channel `image` (text and points if the bundle has these encoders), of unit
length. With weights w ≥ 0 of sum 1 and the vectors v of the parts, the query is

    q = Σ w v / |Σ w v|,

and the score of an image is its cosine to q. Several photos, images or texts are one part: the
normalized mean of their vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args
from uuid import UUID

import numpy as np

from pinpoint.errors import InvalidRequestError, UnsupportedQueryError
from pinpoint.geo.points import lat_lon
from pinpoint.ports import Encoder
from pinpoint.records import GPS_CHANNEL, IndexPoint, Point, Vector
from pinpoint.search.candidates_and_evidence import encode_photos
from pinpoint.search.context import QueryPhoto, SearchContext
from pinpoint.vector_math import mean_direction

QueryPart = Literal["text", "photo", "image", "point"]
QUERY_PARTS: Final[tuple[QueryPart, ...]] = get_args(QueryPart)
_MIN_LENGTH: Final = 1e-6
"""Length of a sum of vectors below which they cancel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryQuery:
    """What to search for; at least one part."""

    texts: Sequence[str] = ()
    photos: Sequence[QueryPhoto] = ()
    image_ids: Sequence[UUID] = ()
    """Gallery images."""
    point: Point | None = None
    weights: Mapping[QueryPart, float] = field(default_factory=dict)
    """Weight of each part; those of the mixture are divided by their sum. Default: 1 each."""

    @property
    def parts(self) -> tuple[QueryPart, ...]:
        """The parts of this query, in the order of `QUERY_PARTS`."""
        values = (self.texts, self.photos, self.image_ids, self.point)
        return tuple(part for part, value in zip(QUERY_PARTS, values, strict=True) if value)

    @property
    def normalized_weights(self) -> dict[QueryPart, float]:
        """Weight of each part; their sum is 1.

        Raises:
            InvalidRequestError: There is no part, or a weight belongs to none of them.
            UnsupportedQueryError: The weights have the sum 0.
        """
        if not self.parts:
            raise InvalidRequestError("give at least one of text, photo, image_id and point")
        surplus = sorted(set(self.weights) - set(self.parts))
        if surplus:
            raise InvalidRequestError(
                f"the query has a weight of {surplus[0]}, but no {surplus[0]}"
            )
        weights = {part: float(self.weights.get(part, 1.0)) for part in self.parts}
        total = sum(weights.values())
        if total <= 0:
            raise UnsupportedQueryError("the weights of a query must have a positive sum")
        return {part: weight / total for part, weight in weights.items()}


def has_location_encoder(encoder: Encoder) -> bool:
    """Whether the bundle encodes positions."""
    return GPS_CHANNEL in encoder.contract.dims


def compute_query_vector(
    query: GalleryQuery, images: Sequence[IndexPoint], context: SearchContext
) -> Vector:
    """The vector `[D]` of a query.

    Args:
        query: The query; at least one part.
        images: Index points of its gallery images, with vectors.
        context: Gives decoder, encoder and stopwatch.

    Raises:
        InvalidRequestError: As `GalleryQuery.normalized_weights`.
        UnsupportedQueryError: The bundle has no encoder of a part, or the vectors cancel.
        BadPhotoError: A photo is not an accepted image.
        TooLargeError: A photo exceeds a limit.
    """
    weights = query.normalized_weights
    vectors = {part: _encode_part(part, query, images, context) for part in weights}
    if len(vectors) == 1:
        # Without rounding: a search for one photo is the same query as `similar`.
        return next(iter(vectors.values()))
    return mix_vectors([vectors[part] for part in weights], list(weights.values()))


def mix_vectors(vectors: Sequence[Vector], weights: Sequence[float]) -> Vector:
    """The normalized weighted sum `[D]` of unit vectors `[D]`.

    Raises:
        UnsupportedQueryError: The vectors cancel.
    """
    total = np.asarray(weights, dtype=np.float64) @ np.stack(vectors).astype(np.float64)
    length = float(np.linalg.norm(total))
    if length < _MIN_LENGTH:
        raise UnsupportedQueryError("the parts of the query cancel: change their weights")
    return np.asarray(total / length, dtype=np.float32)


def _encode_part(
    part: QueryPart, query: GalleryQuery, images: Sequence[IndexPoint], context: SearchContext
) -> Vector:
    encoder, stopwatch = context.encoder, context.stopwatch
    if part == "photo":
        return encode_photos(query.photos, context.decoder, encoder, stopwatch).vector
    if part == "image":
        rows = [image.vectors["image"] for image in images]
    elif part == "text":
        with stopwatch.stage("encode"):
            rows = list(encoder.encode_texts(query.texts))
    elif not has_location_encoder(encoder) or query.point is None:
        raise UnsupportedQueryError(
            f"bundle {encoder.contract.name} has no location encoder, so a point cannot be mixed "
            "with other parts: search for the point alone, or filter by lat, lon and radius_m"
        )
    else:
        with stopwatch.stage("encode"):
            rows = list(encoder.encode_positions(lat_lon([query.point])))
    vector = rows[0] if len(rows) == 1 else mean_direction(np.stack(rows))
    if not np.linalg.norm(vector) > _MIN_LENGTH:
        raise UnsupportedQueryError(f"the vectors of {part} cancel: give fewer of them")
    return vector
