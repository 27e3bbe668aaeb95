"""Settings of locate jobs, a group of `pinpoint.settings`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class JobSettings(BaseSettings):
    """Size and lifetime of locate jobs."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_JOB_", frozen=True)

    max_items: Annotated[
        int, Field(ge=1, le=1_000_000, description="Maximum number of items of one job.")
    ] = 50_000
    max_line_bytes: Annotated[
        int, Field(ge=1_000, description="Maximum size of one line of a JSONL file, bytes.")
    ] = 300_000
    expiry_hours: Annotated[
        float, Field(gt=0, description="Age at which an unfinished job expires, hours.")
    ] = 72.0
    retention_days: Annotated[
        float,
        Field(gt=0, description="Retention of the results after the end of a job, days."),
    ] = 30.0
    chunk_size: Annotated[
        int, Field(ge=1, le=512, description="Number of items that a worker claims at once.")
    ] = 16
