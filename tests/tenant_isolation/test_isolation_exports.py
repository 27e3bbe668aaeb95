"""Exports have the images of their organization only."""

from __future__ import annotations

import io
import re

import pyogrio
import pytest
from pyarrow import parquet

BOTH = pytest.mark.parametrize("tenant_name", ["alder", "birch"])
IMAGE_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@BOTH
@pytest.mark.parametrize("suffix", ["parquet", "fgb", "gpkg", "geojsons", "csv"])
def test_export_has_the_images_of_its_organization_only(tenant_pair, tenant_name, suffix, tmp_path):
    requester, other = tenant_pair.pair(tenant_name)
    expected = requester.column(
        "SELECT id FROM images WHERE organization_id = :org AND state IN ('pending', 'indexed')"
    )
    with requester.http() as http:
        answer = http.get(f"/v1/exports/images.{suffix}")
        # Without the whole name: the audit log has the filters of the caller.
        theirs = http.get(f"/v1/exports/images.{suffix}?file_name={other.name[:3]}*only*")
    assert answer.status_code == theirs.status_code == 200
    assert answer.headers["X-Pinpoint-Rows"] == str(len(expected))
    assert theirs.headers["X-Pinpoint-Rows"] == "0"
    path = tmp_path / f"images.{suffix}"
    path.write_bytes(answer.content)
    table = parquet.read_table(path) if suffix == "parquet" else pyogrio.read_arrow(path)[1]
    assert sorted(table["id"].to_pylist()) == sorted(map(str, expected))
    assert not tenant_pair.leaks(str(table.drop_columns("attributes").to_pylist()), other)


@BOTH
def test_export_of_embeddings_has_those_of_its_organization_only(tenant_pair, tenant_name):
    requester, _ = tenant_pair.pair(tenant_name)
    rows = "SELECT image_id FROM embeddings WHERE organization_id = :org AND channel = 'image'"
    with requester.http() as http:
        answer = http.get("/v1/exports/images.parquet?embeddings=image")
    assert answer.status_code == 200, answer.text
    table = parquet.read_table(io.BytesIO(answer.content), columns=["id", "embedding"])
    images = table.filter(table["embedding"].is_valid())["id"].to_pylist()
    assert sorted(images) == sorted(map(str, requester.column(rows)))
