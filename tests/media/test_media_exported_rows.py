"""Rows of exports as rows of manifests."""

from __future__ import annotations

import pytest

from pinpoint.media.checks import RejectedFileError
from pinpoint.media.manifests.exported_rows import convert_exported_row, is_export
from pinpoint.media.manifests.manifest_rows import RawRow

EXPORTED = {
    "id": "x",
    "sha256": "00",
    "cell_r9": "89",
    "position_source": "exif",
    "cubemap_face": "",
    "attributes": '{"weather": "rain", "lanes": 2}',
}


def test_convert_exported_row_reads_the_attributes_only():
    row = RawRow(values={"heading_deg": "10"}, attributes=EXPORTED)
    converted = convert_exported_row(row)
    assert converted.attributes == {"weather": "rain", "lanes": 2}
    assert converted.values == {"heading_deg": "10"}


def test_convert_exported_row_of_another_table_is_unchanged():
    for missing in ("sha256", "attributes"):
        attributes = {name: cell for name, cell in EXPORTED.items() if name != missing}
        row = RawRow(values={}, attributes=attributes)
        assert convert_exported_row(row) is row
        assert not is_export(attributes)


@pytest.mark.parametrize(("face", "heading"), [("front", 350.0), ("right", 260.0), ("left", 80.0)])
def test_convert_exported_row_of_a_face_has_the_heading_of_the_panorama(face, heading):
    row = RawRow(
        values={"heading_deg": 350.0, "field_of_view_deg": 90.0},
        attributes=EXPORTED | {"cubemap_face": face, "attributes": None},
    )
    converted = convert_exported_row(row)
    assert converted.values == {"heading_deg": heading}
    assert converted.attributes == {}


@pytest.mark.parametrize("cell", ["{", "[1]", "3", 3])
def test_convert_exported_row_with_damaged_attributes_is_rejected(cell):
    with pytest.raises(RejectedFileError) as refused:
        convert_exported_row(RawRow(values={}, attributes=EXPORTED | {"attributes": cell}))
    assert refused.value.reason == "bad_row"
