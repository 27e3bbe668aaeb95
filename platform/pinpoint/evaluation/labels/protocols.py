"""Protocols: label format, number of labels and metrics convention of each benchmark.

A protocol is data. Its label formats are column mappings (`columns`). A new data set therefore
needs another entry here, or only a mapping file, but no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pinpoint.evaluation.labels.columns import AREA_LEVELS, DEFAULT_COLUMNS, REQUIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One benchmark as its authors released it."""

    name: str
    title: str
    label_format: str
    """File and columns, for people."""
    column_mappings: tuple[Mapping[str, str], ...]
    """Column mappings of the published formats of its labels."""
    comment_columns: Mapping[str, str] | None = None
    """Mapping of the keys in JPEG comments, if a folder of images can replace the label file."""
    label_file: str | None = None
    """Path of the label file in a folder that is given instead of the file."""
    num_labels: int | None = None
    """Number of labeled rows of the release; None if there is no fixed number."""
    num_released_images: int | None = None
    """Number of images of the release; may exceed the number of labeled rows."""
    convention: str
    """Key of `pinpoint.metrics.conventions.CONVENTIONS`: distance, comparison, rounding."""
    areas: tuple[str, ...] = ()
    """Administrative levels that are evaluated, from `columns.AREA_LEVELS`."""
    area_label_format: str = ""
    """Format of the area labels, for people."""
    license: str


_FLICKR_OWNER_PATTERN: Final = r"_(\d+@N\d+)\.[A-Za-z]+$"
"""IM2GPS file names consist of photo, secret, server and the owner's Flickr id.

In `im2gps_places365.csv` the AUTHOR of 177 photos contains more than that id: it was split at the
third `_`, but these names have five. The same creator would count as two."""
_OSV5M_AREA_LABEL_FORMAT: Final = (
    "country as ISO 3166 code, region as `admin1_code`, sub-region as `admin2_admin1_code`, city "
    "as `name_admin2_admin1_code`, after GeoNames"
)

_WORLD_COLUMNS: Final[Mapping[str, str]] = {
    field: field for field in (*REQUIRED, "creator", "sequence", "kind", "country")
} | {"strata": "*"}

_PLACES365_COLUMNS: Final[Mapping[str, str]] = {
    "file": "IMG_ID",
    "latitude": "LAT",
    "longitude": "LON",
    "creator": "AUTHOR",
    "creator_pattern": _FLICKR_OWNER_PATTERN,
    "kind": "=photo",
    "strata.scene": "S3_Label",
}
"""The label files of GeoEstimation and of later projects that reuse them."""

_COMMENT_KEYS: Final[Mapping[str, str]] = {
    "file": "file",
    "latitude": "latitude",
    "longitude": "longitude",
    "creator": "owner",
    "creator_pattern": _FLICKR_OWNER_PATTERN,
    "kind": "=photo",
}
"""Comment that the IM2GPS collection script wrote into each photo, one `key: value` per line."""

_YFCC_CSV_COLUMNS: Final[Mapping[str, str]] = {
    "file": "IMG_ID",
    "latitude": "LAT",
    "longitude": "LON",
    "creator": "OwnerNSID",
    "kind": "=photo",
}
_YFCC_INFO_COLUMNS: Final[Mapping[str, str]] = {
    "delimiter": "\t",
    "file": "{#1}.jpg",
    "latitude": "#13",
    "longitude": "#12",
    "creator": "#3",
    "kind": "=photo",
}
"""Rows of YFCC100M, in the format of `info.txt` of the images."""

_OSV5M_COLUMNS: Final[Mapping[str, str]] = {
    "file": "{id}.jpg",
    "latitude": "latitude",
    "longitude": "longitude",
    "creator": "creator_id",
    "sequence": "sequence",
    "kind": "=street",
    "country": "unique_country",
    "region": "unique_region",
    "sub_region": "unique_sub-region",
    "city": "unique_city",
    "strata.land_cover": "land_cover",
    "strata.climate": "climate",
    "strata.drive_side": "drive_side",
}

_FLICKR_TERMS: Final = (
    "Flickr photos, each under its owner's terms; the set is shared for research without a license "
    "of its own, so neither photos nor labels are part of this project"
)

PROTOCOLS: Final[Mapping[str, Protocol]] = MappingProxyType(
    {
        protocol.name: protocol
        for protocol in (
            Protocol(
                name="synthetic",
                title="Synthetic planet, test queries",
                label_format="queries/labels.csv of a planet made by `pinpoint synthetic create`; "
                "every column except file, latitude, longitude, creator, sequence, kind and "
                "country is a stratum",
                column_mappings=(_WORLD_COLUMNS,),
                label_file="queries/labels.csv",
                convention="pinpoint",
                areas=("country",),
                area_label_format="country as ISO 3166 code",
                license="made by this project (Apache-2.0); city coordinates after GeoNames, "
                "CC BY 4.0",
            ),
            Protocol(
                name="im2gps",
                title="IM2GPS test set (Hays and Efros 2008)",
                label_format="im2gps_places365.csv: IMG_ID, AUTHOR, LAT, LON; or the folder of the "
                "images, whose JPEG comments hold the positions",
                column_mappings=(_PLACES365_COLUMNS,),
                comment_columns=_COMMENT_KEYS,
                num_labels=237,
                num_released_images=237,
                convention="geoestimation",
                license=_FLICKR_TERMS,
            ),
            Protocol(
                name="im2gps3k",
                title="IM2GPS3k (Vo, Jacobs and Hays 2017)",
                label_format="im2gps3k_places365.csv: IMG_ID, AUTHOR, LAT, LON; or the folder of "
                "the images, whose JPEG comments hold the positions",
                column_mappings=(_PLACES365_COLUMNS,),
                comment_columns=_COMMENT_KEYS,
                num_labels=2_997,
                num_released_images=3_000,
                convention="geoestimation",
                license=_FLICKR_TERMS,
            ),
            Protocol(
                name="yfcc4k",
                title="YFCC4k (Vo, Jacobs and Hays 2017)",
                label_format="yfcc4k.csv: IMG_ID, OwnerNSID, LAT, LON (or the places365 form); or "
                "info.txt: tab-separated rows of YFCC100M without a header",
                column_mappings=(_YFCC_CSV_COLUMNS, _PLACES365_COLUMNS, _YFCC_INFO_COLUMNS),
                num_labels=4_536,
                num_released_images=4_536,
                convention="geoestimation",
                license="photos of YFCC100M, each under its owner's Creative Commons license; not "
                "part of this project",
            ),
            Protocol(
                name="osv5m",
                title="OpenStreetView-5M, test split (Astruc et al. 2024)",
                label_format="test.csv: id, latitude, longitude, sequence, creator_id, "
                "unique_country, unique_region, unique_sub-region, unique_city",
                column_mappings=(_OSV5M_COLUMNS,),
                num_labels=210_122,
                num_released_images=210_122,
                convention="osv5m",
                areas=AREA_LEVELS,
                area_label_format=_OSV5M_AREA_LABEL_FORMAT,
                license="images of Mapillary contributors, CC BY-SA 4.0",
            ),
            Protocol(
                name="custom",
                title="Your own labeled set",
                label_format="CSV with file, latitude, longitude and, if known, creator, "
                "sequence, kind, country, region, sub_region, city; other column names by a "
                "column mapping (TOML or JSON)",
                column_mappings=(DEFAULT_COLUMNS,),
                convention="pinpoint",
                areas=AREA_LEVELS,
                area_label_format=_OSV5M_AREA_LABEL_FORMAT,
                license="set by the author of the set",
            ),
        )
    }
)
"""Every protocol by its name. Row counts are those of the releases."""
