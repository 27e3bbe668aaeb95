"""GeoJSON manifests: features with one position each are read, other features are rejected."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from media.pictures import photo
from pinpoint.errors import BadManifestError
from pinpoint.media.manifests.manifest_files import read_manifest
from pinpoint.media.manifests.manifest_rows import ManifestRow
from pinpoint.records import MetadataOverride, Rejected
from pinpoint.settings import MediaSettings

SETTINGS = MediaSettings()
QUITO = (-0.2202, -78.5123)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "p.jpg").write_bytes(photo())
    return tmp_path


def write_geojson(folder: Path, geometry: object, **members: object) -> Path:
    path = folder / "list.geojson"
    feature = {"type": "Feature", "properties": {"file": "p.jpg"}, "geometry": geometry}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature], **members}))
    return path


@pytest.mark.parametrize(
    "geometry",
    [
        {"type": "Point", "coordinates": [-78.5123, -0.2202]},
        {"type": "MultiPoint", "coordinates": [[-78.5123, -0.2202]]},
        {"type": "MultiPoint", "coordinates": [[-78.5123, -0.2202, 2850]]},
        {
            "type": "GeometryCollection",
            "geometries": [{"type": "Point", "coordinates": [-78.5123, -0.2202]}],
        },
    ],
)
def test_read_manifest_single_point_geometry_gives_position(folder: Path, geometry: object) -> None:
    (row,) = read_manifest(write_geojson(folder, geometry), SETTINGS)
    assert isinstance(row, ManifestRow)
    assert (row.metadata_override.lat, row.metadata_override.lon) == QUITO


@pytest.mark.parametrize(
    ("geometry", "message_part"),
    [
        ({"type": "MultiPoint", "coordinates": [[1, 2], [3, 4]]}, "MultiPoint of 2"),
        ({"type": "MultiPoint", "coordinates": []}, "MultiPoint of 0"),
        ({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}, "LineString; a Point"),
        ({"type": "GeometryCollection", "geometries": []}, "GeometryCollection of 0"),
        ({"type": "Point", "coordinates": [1]}, "two or three"),
        ({"type": "Point", "coordinates": ["a", "b"]}, "is no number"),
        ({"type": ["x"]}, "nothing; a Point"),
        ("POINT (1 2)", "not a GeoJSON geometry"),
    ],
)
def test_read_manifest_other_geometry_is_rejected_by_name(
    folder: Path, geometry: object, message_part: str
) -> None:
    (rejected,) = read_manifest(write_geojson(folder, geometry), SETTINGS)
    assert isinstance(rejected, Rejected)
    assert (rejected.error_stage, rejected.error_code) == ("find", "bad_row")
    assert message_part in rejected.error_message


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("urn:ogc:def:crs:OGC:1.3:CRS84", True),
        ("urn:ogc:def:crs:EPSG::4326", True),
        ("EPSG:4326", True),
        ("urn:ogc:def:crs:EPSG::3857", True),
        ("EPSG:999999", False),
        ("+proj=utm +zone=32 +nadgrids=/etc/passwd", False),
        (None, False),
    ],
)
def test_read_manifest_unknown_crs_raises(folder: Path, name: str | None, accepted: bool) -> None:
    crs = {"type": "name", "properties": {"name": name}}
    path = write_geojson(folder, {"type": "Point", "coordinates": [1, 2]}, crs=crs)
    if accepted:
        assert len(list(read_manifest(path, SETTINGS))) == 1
    else:
        with pytest.raises(BadManifestError, match="coordinate reference system"):
            list(read_manifest(path, SETTINGS))


def test_read_manifest_non_finite_numbers_are_dropped(folder: Path) -> None:
    path = folder / "list.geojson"
    path.write_text(
        '{"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": null, '
        '"properties": {"file": "p.jpg", "heading": NaN, "altitude": null, "a": Infinity, '
        f'"b": {10**400}, "c": null, "timestamp": 1574598615000}}}}]}}'
    )
    (row,) = read_manifest(path, SETTINGS)
    assert isinstance(row, ManifestRow)
    assert row.metadata_override == MetadataOverride(
        captured_at=datetime(2019, 11, 24, 12, 30, 15, tzinfo=UTC), attributes={"b": str(10**400)}
    )


def test_read_manifest_messages_contain_no_exception_text(folder: Path) -> None:
    path = folder / "list.geojson"
    for text, message_part in (
        ("{", "line 1, column 2"),
        ("[" * 200_000, "too deep"),
        (f"[{'9' * 5000}]", "digits"),
    ):
        path.write_text(text)
        with pytest.raises(BadManifestError) as caught:
            list(read_manifest(path, SETTINGS))
        assert message_part in caught.value.message
        assert "Expecting" not in caught.value.message
        assert "Exceeds" not in caught.value.message
