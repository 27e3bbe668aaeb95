"""`pinpoint images download`: the file of an image, and its errors."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from io import BytesIO

import pytest
from PIL import Image

from api import memory
from cli.test_cli_commands import pinpoint  # noqa: F401 - a fixture
from media.pictures import photo
from pinpoint.ingest.gallery_files import GalleryFiles
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.settings import MediaSettings
from pinpoint.store.blobs import FolderBlobs


@pytest.fixture
def stored(api, tmp_path):
    """An image with a stored original."""
    with ChildDecoder(MediaSettings()) as decoder:
        api.parts.blobs = FolderBlobs(tmp_path / "blobs")
        api.parts.gallery_files = GalleryFiles(api.parts.blobs, decoder, 1_000_000)
        rows, data = api.rows(), photo()
        image = dataclasses.replace(
            memory.image(rows.add_source("photos", "photo")),
            sha256=hashlib.sha256(data).hexdigest(),
            uri=api.parts.blobs.put(api.parts.api_keys.ids["default"], data),
        )
        rows.all_images[image.id] = image
        yield image


def test_download_writes_a_file_without_metadata(pinpoint, stored, tmp_path):  # noqa: F811
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"earlier content")
    answer = pinpoint("images", "download", stored.id, "-o", path, "--json")
    assert answer == {
        "image_id": str(stored.id),
        "file": str(path),
        "size_bytes": path.stat().st_size,
    }
    assert b"Exif" not in path.read_bytes()
    full = Image.open(BytesIO(path.read_bytes())).size
    shown = pinpoint("images", "download", stored.id, "-o", path, "--width", 32).out
    assert str(stored.id) in shown
    assert Image.open(BytesIO(path.read_bytes())).size == (32, round(32 * full[1] / full[0]))


def test_download_reports_errors_and_writes_no_file(pinpoint, api, stored, tmp_path):  # noqa: F811
    path = tmp_path / "new.jpg"
    missing = tmp_path / "no" / "new.jpg"
    refused = pinpoint("images", "download", stored.id, "-o", missing, code=os.EX_USAGE)
    assert "cannot be written" in refused.err
    api.parts.blobs.delete(stored.uri)
    for options in ((), ("--panorama",)):
        arguments = ("images", "download", stored.id, "-o", path, *options)
        assert pinpoint(*arguments, code=os.EX_NOINPUT).err.startswith("pinpoint: ")
    assert not path.exists()
