"""Request and response schemas of files that a batch names by URL."""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from pinpoint.api.v1.schemas.catalog import BatchOut, IndexedText, MetadataOverrideIn
from pinpoint.records import MetadataOverride

MAX_URLS: Final = 10_000
"""Maximum number of URLs of one request."""
UrlText = Annotated[str, Field(min_length=1, max_length=2_048)]


class UrlIn(MetadataOverrideIn):
    """A file at a URL, with known metadata."""

    url: UrlText = Field(
        description="`https://…`, `s3://bucket/key` or `gs://bucket/key`.",
        examples=["https://photos.example.org/a.jpg"],
    )
    external_id: IndexedText | None = Field(
        default=None, description="Id of the file in the source; default: the URL."
    )

    def metadata_override(self) -> MetadataOverride:
        """Convert the metadata to the internal record."""
        fields = {name: getattr(self, name) for name in MetadataOverrideIn.model_fields}
        return MetadataOverride(position_source="caller", **fields)


class UrlsIn(BaseModel):
    """URLs to add to a batch."""

    model_config = ConfigDict(extra="forbid")

    urls: list[UrlIn] = Field(min_length=1, max_length=MAX_URLS)


class UrlsOut(BaseModel):
    """Items that were added; URLs that the batch has were skipped."""

    items: list[UUID]
    skipped: int = Field(description="Number of URLs that the batch had, or that were repeated.")
    batch: BatchOut


class PrefixIn(BaseModel):
    """A bucket, or a prefix of keys in it."""

    model_config = ConfigDict(extra="forbid")

    url: UrlText = Field(
        description="`s3://bucket/prefix` or `gs://bucket/prefix`.",
        examples=["s3://survey/flights/2026/"],
    )


class PrefixOut(BaseModel):
    """The listing that a worker executes."""

    listing_id: UUID
    batch: BatchOut
