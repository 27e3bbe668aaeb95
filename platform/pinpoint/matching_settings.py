"""Settings of the local features for geometric verification."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class MatchingSettings(BaseSettings):
    """Local features of gallery images, for geometric verification."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_MATCHING_", frozen=True)

    threads: Annotated[
        int,
        Field(ge=1, le=64, description="Images that each process reads and matches concurrently."),
    ] = 2
    cache_max_bytes: Annotated[
        int,
        Field(
            ge=0,
            description="Maximum size of the cache of local features on each host, bytes; an image "
            "needs about 200,000. 0 stores nothing.",
        ),
    ] = 2_000_000_000
    cache_ttl_s: Annotated[
        float,
        Field(
            gt=0,
            description="Maximum age of cached local features, seconds; those of a deleted image "
            "leave every host within this time.",
        ),
    ] = 604_800.0
