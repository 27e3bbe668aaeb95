"""Fields of a metadata override as the API accepts them."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Final

from pinpoint.media.sidecar_files import add_sidecar_values
from pinpoint.media.tracks import add_options
from pinpoint.records import MetadataOverride, ReadOptions
from pinpoint_client.transport import Json

_LOCAL_OVERRIDE_FIELDS: Final = frozenset(
    {"track", "track_name", "sidecars", "position_source", "stored_layers"}
)


def collect_fields(
    row: MetadataOverride | None, options: ReadOptions, sidecars: tuple[str, ...]
) -> Json:
    """Return the override fields from a manifest row, the options and the sidecars of a file."""
    metadata_override = add_options(row, None, options) or row or MetadataOverride()
    if sidecars:
        metadata_override = add_sidecar_values(metadata_override, sidecars, datetime.now(UTC))
    return _override_fields(metadata_override)


def _override_fields(metadata_override: MetadataOverride) -> Json:
    """Return the override fields that the API accepts, without empty values."""
    values = dataclasses.asdict(metadata_override)
    return {
        name: value
        for name, value in values.items()
        if name not in _LOCAL_OVERRIDE_FIELDS and value is not None and value != {}
    }
