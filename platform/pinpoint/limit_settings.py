"""Settings of limits and of the misuse rule; part of `pinpoint.settings`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class LimitSettings(BaseSettings):
    """Limits of every API key that has no limits of its own, and the misuse rule."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_LIMITS_", frozen=True)

    redis_url: Annotated[
        str | None,
        Field(
            description="URL of the Redis that counts. Default: the broker, if it is Redis; "
            "otherwise each API process counts for itself."
        ),
    ] = None
    requests_per_minute: Annotated[
        int, Field(ge=0, description="Maximum number of requests of a key per minute; 0: no limit.")
    ] = 6_000
    photos_per_day: Annotated[
        int,
        Field(
            ge=0, description="Maximum number of query photos of a key in 24 hours; 0: no limit."
        ),
    ] = 0
    bytes_per_day: Annotated[
        int,
        Field(
            ge=0,
            description="Maximum size of all request bodies of a key in 24 hours, bytes; 0: no "
            "limit.",
        ),
    ] = 0
    concurrent_jobs: Annotated[
        int, Field(ge=0, description="Maximum number of open jobs of a key; 0: no limit.")
    ] = 16
    misuse_action: Annotated[
        Literal["off", "report", "refuse"],
        Field(
            description="What the misuse rule does: nothing; write an audit row, a log line and a "
            "metric; or also refuse the answers with status 429."
        ),
    ] = "off"
    misuse_photos_per_creator: Annotated[
        int,
        Field(
            ge=0,
            description="Misuse rule: maximum number of photos of one creator that a key locates "
            "in 24 hours; 0: no limit.",
        ),
    ] = 50
    misuse_photos_per_cell: Annotated[
        int,
        Field(
            ge=0,
            description="Misuse rule: maximum number of photos that a key locates in one H3 cell "
            "in 24 hours; 0: no limit.",
        ),
    ] = 100
    misuse_cell_resolution: Annotated[
        Literal[7, 9],
        Field(description="Misuse rule: resolution of the H3 cells: 7 (5 km²) or 9 (0.1 km²)."),
    ] = 9

    @field_validator("misuse_cell_resolution", mode="before")
    @classmethod
    def _parse_digits(cls, value: Any) -> Any:
        """Convert the text of an environment variable."""
        return int(value) if isinstance(value, str) and value.isdigit() else value
