"""Settings of exports, a group of `pinpoint.settings`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ExportSettings(BaseSettings):
    """Limits of exports of gallery rows."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_EXPORT_", frozen=True)

    max_running: Annotated[
        int,
        Field(
            ge=1,
            le=16,
            description="Maximum number of concurrent exports of the API; one organization gets "
            "half of them. More get status 503.",
        ),
    ] = 4
    timeout_s: Annotated[
        float,
        Field(gt=0, le=86_400, description="Time limit of one export with its download, seconds."),
    ] = 3_600.0
    max_disk_bytes: Annotated[
        int,
        Field(
            ge=1_000_000,
            description="Maximum size of the temporary files of all running exports, bytes: "
            "FlatGeobuf and GeoPackage are sent when they are complete.",
        ),
    ] = 20_000_000_000
