"""Query parameters of exports."""

from __future__ import annotations

from pydantic import Field

from pinpoint.api.v1.image_filter_parameters import ImageFilterParameters
from pinpoint.errors import InvalidRequestError
from pinpoint.media.exports.formats import ExportSuffix, GeoParquetVersion
from pinpoint.records import EmbeddingType


class ExportQuery(ImageFilterParameters):
    """Filter and options of an export; unknown parameters are errors."""

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
            InvalidRequestError: An option is for GeoParquet only.
        """
        if suffix == "parquet":
            return
        for name in ("embeddings", "embedding_type", "geoparquet_version"):
            # Generated clients send the default of each parameter.
            if getattr(self, name) != type(self).model_fields[name].default:
                raise InvalidRequestError(f"{name} is for GeoParquet only, not for .{suffix}")
