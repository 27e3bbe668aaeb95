"""Layouts of known tables: exports, OSV-5M, MP-16, YFCC100M and Flickr, recognized by columns.

A layout adds meanings to names that are ambiguous elsewhere, and finds the files of rows that give
only an id. A meaning from `--column` has precedence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote_plus

from pinpoint.media.checks import RejectedFileError
from pinpoint.media.manifests.columns import ATTRIBUTE, normalize_name
from pinpoint.media.manifests.values import is_missing, read_number
from pinpoint.media.panoramas import FACES

FLICKR_LICENSES: Final[Mapping[str, str]] = {
    "0": "All rights reserved",
    "1": "CC BY-NC-SA 2.0",
    "2": "CC BY-NC 2.0",
    "3": "CC BY-NC-ND 2.0",
    "4": "CC BY 2.0",
    "5": "CC BY-SA 2.0",
    "6": "CC BY-ND 2.0",
    "7": "No known copyright restrictions",
    "8": "United States government work",
    "9": "CC0 1.0",
    "10": "Public Domain Mark 1.0",
}
"""Number of a license in the API of Flickr → its name (flickr.photos.licenses.getInfo)."""
OSV_LICENSE: Final = "CC BY-SA 4.0"

YFCC_NAMES: Final = (
    *("photoid", "uid", "unickname", "datetaken", "dateuploaded", "capturedevice", "title"),
    *("description", "usertags", "machinetags", "longitude", "latitude", "accuracy", "pageurl"),
    *("downloadurl", "licensename", "licenseurl", "serverid", "farmid", "secret"),
    *("secretoriginal", "ext", "marker"),
)
"""Columns of `yfcc100m_dataset`, a table of tabs without a header."""

RowCells = Mapping[str, Any]
"""Normalized name → cell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetLayout:
    """The columns of one data set. All names are normalized (`columns.normalize_name`)."""

    name: str
    required: frozenset[str]
    """A table with all of these names has the layout."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Name → column or `attribute`, where the meaning differs from that of other tables."""
    file_names: tuple[str, ...] = ()
    """Columns whose cells are names of files without a suffix, for tables without a column
    `file`."""
    ignored: frozenset[str] = frozenset()
    """Columns whose values are derived from the file or belong to another gallery."""
    attributes: str | None = None
    """Column with further attributes, as a JSON object."""
    convert: Callable[[dict[str, Any], RowCells], None] | None = None
    """Changes the values of a row (column → cell), given all of its cells."""


def find_layout(names: Iterable[str]) -> DatasetLayout | None:
    """The layout of a table with these names, or None."""
    keys = {normalize_name(name)[0] for name in names}
    return next((layout for layout in LAYOUTS if layout.required <= keys), None)


def list_file_candidates(layout: DatasetLayout, cells: RowCells) -> tuple[str, ...]:
    """Names that the file of a row may have, with or without a suffix."""
    stems = [
        str(cells[name]).strip() for name in layout.file_names if not is_missing(cells.get(name))
    ]
    secret = cells.get("secret")
    if stems and not is_missing(secret):
        # Flickr's names of downloaded files: id_secret_size.
        stems += [f"{stems[0]}_{secret}{size}" for size in ("", "_b", "_c", "_z", "_o", "_k", "_h")]
    return tuple(stems)


def select_attributes(layout: DatasetLayout, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a row without those that its layout ignores, and with those in JSON."""
    selected: dict[str, Any] = {}
    for name, value in attributes.items():
        key = normalize_name(name)[0]
        if key == layout.attributes:
            selected |= _parse_attributes(value)
        elif key not in layout.ignored:
            selected[name] = value
    return selected


def is_yfcc_row(cells: list[str]) -> bool:
    """Whether a row is one of `yfcc100m_dataset`, which has no header."""
    return (
        len(cells) == len(YFCC_NAMES)
        and cells[0].isdecimal()
        and cells[22] in ("0", "1")
        and "@N" in cells[1]
    )


def _parse_attributes(value: object) -> dict[str, Any]:
    """The entries of a JSON object; any other value remains an attribute of its own."""
    if is_missing(value):
        return {}
    try:
        document = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        document = None
    return document if isinstance(document, dict) else {"attributes": value}


def _convert_export(values: dict[str, Any], cells: RowCells) -> None:
    face = cells.get("cubemapface")
    if is_missing(face):
        return
    # The faces are cut from the file again: each has 90°, and the panorama no field of view.
    values["field_of_view_deg"] = None
    try:
        heading_deg = read_number(values.get("heading_deg"), "heading_deg")
    except RejectedFileError:
        return  # the same error rejects the row when all its values are read
    if heading_deg is not None:
        values["heading_deg"] = (heading_deg - _DIRECTIONS.get(str(face), 0.0)) % 360.0


def _convert_osv(values: dict[str, Any], cells: RowCells) -> None:
    values.setdefault("license", OSV_LICENSE)


def _convert_yfcc(values: dict[str, Any], cells: RowCells) -> None:
    for name in ("creator", "license"):
        if isinstance(values.get(name), str):
            values[name] = unquote_plus(values[name])


def _convert_flickr(values: dict[str, Any], cells: RowCells) -> None:
    license_cell = str(values.get("license", "")).strip()
    values["license"] = FLICKR_LICENSES.get(license_cell, values.get("license"))
    if str(cells.get("accuracy")).strip() == "0":
        # Flickr's API gives 0/0 with accuracy 0 to photos without a position.
        values["latitude"] = values["longitude"] = None
    if str(cells.get("datetakengranularity", "0")).strip() not in ("", "0"):
        # Only the month or the year of the capture is known.
        values["captured_at"] = None
    if str(cells.get("datetakenunknown", "0")).strip() == "1":
        # Flickr then gives the time of the upload.
        values["captured_at"] = None


_DIRECTIONS: Final = dict(FACES)
"""Heading of each cube-map face relative to that of its panorama, degrees."""

LAYOUTS: Final = (
    DatasetLayout(
        name="Pinpoint export",
        required=frozenset({"externalid", "sourcekind", "positionsource", "sha256", "uri"}),
        ignored=frozenset(
            {"id", "source", "sourcekind", "cubemapface", "camera", "attribution", "positionsource"}
            | {"timesource", "sha256", "sizebytes", "format", "widthpx", "heightpx", "cellr9"}
            | {"state", "version", "createdat", "updatedat"}
        ),
        attributes="attributes",
        convert=_convert_export,
    ),
    DatasetLayout(
        name="OSV-5M",
        required=frozenset({"id", "latitude", "longitude", "capturedat", "landcover", "driveside"}),
        columns={"creatorusername": "creator"},
        file_names=("id",),
        convert=_convert_osv,
    ),
    DatasetLayout(
        name="MP-16",
        required=frozenset({"imgid", "lat", "lon"}),
        columns={"imgid": "file"},
    ),
    DatasetLayout(
        name="YFCC100M",
        required=frozenset({"photoid", "uid", "datetaken", "longitude", "latitude"}),
        columns={
            "photoid": "external_id",
            "unickname": "creator",
            "datetaken": "captured_at",
            "licensename": "license",
            "dateuploaded": ATTRIBUTE,
        },
        file_names=("photoid",),
        convert=_convert_yfcc,
    ),
    DatasetLayout(
        name="Flickr",
        required=frozenset({"id", "latitude", "longitude", "accuracy", "owner", "datetaken"}),
        columns={
            "owner": ATTRIBUTE,
            "ownername": "creator",
            "dateupload": ATTRIBUTE,
            "lastupdate": ATTRIBUTE,
        },
        file_names=("id",),
        convert=_convert_flickr,
    ),
)
