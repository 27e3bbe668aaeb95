"""Metadata that cannot be stored is rejected by the API schemas."""

from __future__ import annotations

from uuid import UUID

import pytest
from pydantic import ValidationError

from pinpoint.api.v1.schemas.catalog import ImageUpdateIn, MetadataOverrideIn
from pinpoint.api.v1.schemas.image_metadata import ImageMetadataRowIn
from pinpoint.records import limits
from pinpoint.store.db.tables import images, sources

CJK = "".join(chr(0x4E00 + n * 7 % 20_000) for n in range(1_000))


@pytest.mark.parametrize("field", ["creator", "sequence", "license", "panorama_id"])
def test_override_with_text_over_its_limit_in_bytes_names_the_field(field):
    assert MetadataOverrideIn.model_validate({field: "x" * 1_000}).record()
    assert MetadataOverrideIn.model_validate({field: CJK[:682]}).record()
    with pytest.raises(ValidationError, match="3000 bytes") as caught:
        MetadataOverrideIn.model_validate({field: CJK})
    assert caught.value.errors()[0]["loc"] == (field,)


@pytest.mark.parametrize(
    "key",
    [
        {},
        {"source": "trips"},
        {"external_id": "a.jpg"},
        {"id": str(UUID(int=1)), "source": "trips", "external_id": "a.jpg"},
    ],
)
def test_image_metadata_row_without_one_key_is_rejected(key):
    with pytest.raises(ValidationError, match="source and external_id"):
        ImageMetadataRowIn.model_validate({**key, "creator": "me"})


@pytest.mark.parametrize("form", [MetadataOverrideIn, ImageUpdateIn])
@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_time_outside_years_1_to_9999_in_utc_is_rejected(form, moment):
    with pytest.raises(ValidationError, match="1 to 9999") as caught:
        form.model_validate({"captured_at": moment})
    assert caught.value.errors()[0]["loc"] == ("captured_at",)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59+01:00"])
def test_time_at_the_limits_of_the_calendar_is_accepted(moment):
    metadata_override = MetadataOverrideIn.model_validate({"captured_at": moment}).record()
    assert metadata_override.captured_at is not None
    assert metadata_override.captured_at.utcoffset().total_seconds() == 0


@pytest.mark.parametrize(
    "attributes",
    [
        {str(n): "x" * 1_000 for n in range(70)},
        {"a": 10**4_400},
        {"a": float("nan")},
        {"a": "\ud800"},
    ],
)
def test_attributes_that_no_store_accepts_are_rejected(attributes):
    with pytest.raises(ValidationError) as caught:
        MetadataOverrideIn.model_validate({"attributes": attributes})
    assert caught.value.errors()[0]["loc"][0] == "attributes"


def test_text_columns_with_b_tree_index_have_a_byte_limit():
    """Only columns filled by callers or files count; a hash index stores no text."""
    ours = {"kind", "source_kind", "state", "face"}
    indexed = {
        column.name
        for table in (images, sources)
        for index in table.indexes
        if index.dialect_options["postgresql"]["using"] not in ("hash", "gist")
        for column in index.columns
        if column.type.python_type is str
    }
    assert indexed - ours == {"external_id", "creator", "sequence", "camera"}
    for column in indexed - ours | {"name"}:
        # A b-tree entry has an id of 16 bytes beside the text, and headers.
        assert limits.MAX_BYTES[column] + 16 + 64 < 2_704
