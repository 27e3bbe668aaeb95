"""Query parameters of exports."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from pinpoint.api.v1.schemas.catalog import Text
from pinpoint.errors import BadRequestError
from pinpoint.media.exports.formats import ExportSuffix, GeoParquetVersion
from pinpoint.ports import CatalogReader
from pinpoint.records import EmbeddingType, ImageFilter, SourceKind


class ExportQuery(BaseModel):
    """Filter and options of an export; unknown parameters are errors."""

    model_config = ConfigDict(extra="forbid")

    source: list[Annotated[Text, Field(max_length=100)]] = Field(
        default=[], max_length=100, description="Only these sources, by name or id; repeatable."
    )
    source_kind: list[SourceKind] = Field(
        default=[], max_length=2, description="Only sources of these kinds; repeatable."
    )
    file_name: Annotated[Text, Field(max_length=255)] | None = Field(
        default=None, description="Last part of the path; `*` is any text, `?` one character."
    )
    state: list[Literal["pending", "indexed", "failed"]] = Field(
        default=[], max_length=3, description="Only images in these states; repeatable."
    )
    geoparquet_version: GeoParquetVersion = Field(
        default="1.1",
        description="Version of GeoParquet. 2.0 has Parquet's geometry type, which readers with "
        "libarrow 19 and older cannot open.",
    )
    embeddings: str | None = Field(
        default=None,
        pattern=r"^[a-z][a-z0-9_]{0,39}$",
        description="Add the embeddings of this channel as the column `embedding`; null for images "
        "without one. GeoParquet only.",
        examples=["image"],
    )
    embedding_type: EmbeddingType = Field(
        default="float16", description="Type of the numbers of `embedding`."
    )

    def check_format(self, suffix: ExportSuffix) -> None:
        """Check that the options suit the format.

        Raises:
            BadRequestError: An option is for GeoParquet only.
        """
        if suffix == "parquet":
            return
        for name in ("embeddings", "embedding_type", "geoparquet_version"):
            if name in self.model_fields_set:
                raise BadRequestError(f"{name} is for GeoParquet only, not for .{suffix}")

    def to_image_filter(self, catalog: CatalogReader) -> ImageFilter:
        """Convert to a filter record.

        Raises:
            NotFoundError: A source does not exist.
        """
        return ImageFilter(
            source_ids=tuple(catalog.source(name).id for name in self.source),
            source_kinds=tuple(self.source_kind),
            file_name=self.file_name,
            states=tuple(self.state),
        )
