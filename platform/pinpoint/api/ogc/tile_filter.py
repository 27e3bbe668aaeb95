"""Query parameters of vector tiles: the images that points show and cells count.

They are those of `GET /v1/images` that a map needs, so that one query string selects the images of
a list and of the map next to it.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from pydantic import BaseModel, Field

from pinpoint.api.v1.image_filter_parameters import Creators, SourceNames, find_source_ids
from pinpoint.api.v1.spatiotemporal_parameters import AreaField
from pinpoint.api.v1.times import IntervalField
from pinpoint.bootstrap import Services
from pinpoint.records import Caller, ImageFilter, SourceKind

REPEATABLE_PARAMETERS: Final = frozenset({"source", "source_kind", "creator"})
"""Parameters of a tile whose values are alternatives; values may contain commas."""


class TileFilterParameters(BaseModel):
    """Filter of the images of a tile; `item_parameters` rejects unknown parameters."""

    source: SourceNames = Field(default=[], description="Sources, by name or id.")
    source_kind: list[SourceKind] = Field(default=[], max_length=2, description="Kinds of sources.")
    creator: Creators = Field(default=[], description="Creators.")
    datetime: IntervalField | None = Field(
        default=None, description="Capture time: a time, or `start/end` with `..` as an open end."
    )
    polygon: AreaField | None = Field(default=None, description="Area as GeoJSON polygons.")


TILE_PARAMETERS: Final = frozenset(TileFilterParameters.model_fields)


def read_tile_filter(
    services: Services, caller: Caller, parameters: TileFilterParameters
) -> ImageFilter:
    """Convert the parameters of a tile.

    Raises:
        NotFoundError: A source does not exist in the caller's organization.
    """
    source_ids: tuple[UUID, ...] = ()
    if parameters.source:
        with services.database.read(caller.organization_id) as catalog:
            source_ids = find_source_ids(parameters.source, catalog)
    interval = parameters.datetime
    return ImageFilter(
        source_ids=source_ids,
        source_kinds=tuple(parameters.source_kind),
        creators=tuple(parameters.creator),
        captured_after=None if interval is None else interval.start,
        captured_before=None if interval is None else interval.before,
        polygons=parameters.polygon or (),
    )
