"""`/v1/images/{id}/file`: validators, ranges, names, reasons, and panoramas."""

from __future__ import annotations

import dataclasses
import hashlib
from io import BytesIO

import pytest
from PIL import Image

from api import memory
from media.pictures import noise, photo, saved, xmp
from pinpoint.ingest.gallery_files import GalleryFiles
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.media.jpeg_encoder import encode_jpeg
from pinpoint.settings import MediaSettings
from pinpoint.store.blobs import FolderBlobs

SPHERE = saved(noise(800, 400), xmp=xmp(GPano__ProjectionType="equirectangular"))


@pytest.fixture(scope="module")
def decoder():
    with ChildDecoder(MediaSettings()) as child_decoder:
        yield child_decoder


@pytest.fixture
def gallery(api, decoder, tmp_path):
    """Adds images with a stored file to the running API."""
    api.parts.blobs = FolderBlobs(tmp_path / "blobs")
    api.parts.gallery_files = GalleryFiles(api.parts.blobs, decoder, 1_000_000)
    rows = api.rows()
    source = rows.add_source("photos", "photo")

    def add(data, *, stored=None, uri=None, **fields):
        """An image of the ingested bytes `data`; `stored` are other bytes in the blob store."""
        owner = api.parts.api_keys.ids["default"]
        image = dataclasses.replace(
            memory.image(source),
            sha256=hashlib.sha256(data).hexdigest(),
            uri=uri or api.parts.blobs.put(owner, data if stored is None else stored),
            **fields,
        )
        rows.all_images[image.id] = image
        return image

    api.add, api.all_images = add, rows.all_images
    return api


def size_of(response):
    return Image.open(BytesIO(response.content)).size


def test_file_is_a_private_jpeg_without_metadata(gallery):
    image = gallery.add(photo(), external_id='trips/Café "1"\r\n.JPG')
    with gallery.http() as http:
        whole = http.get(f"/v1/images/{image.id}/file")
        head = http.head(f"/v1/images/{image.id}/file")
    assert whole.status_code == head.status_code == 200
    assert whole.headers["content-type"] == "image/jpeg"
    assert whole.headers["cache-control"] == "private, no-cache"
    assert whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-disposition"] == (
        "inline; filename=\"Caf_1.jpg\"; filename*=UTF-8''Caf%C3%A9%20%221%22.jpg"
    )
    assert b"Exif" in photo()
    assert b"Exif" not in whole.content
    assert head.content == b""
    for name in ("etag", "content-length", "content-type", "content-disposition"):
        assert head.headers[name] == whole.headers[name]


def test_file_etag_depends_on_id_version_and_width(gallery):
    image = gallery.add(photo())
    url = f"/v1/images/{image.id}/file"
    with gallery.http() as http:
        first = http.get(url)
        etags = {first.headers["etag"], http.get(url, params={"width": 32}).headers["etag"]}
        etags.add(http.get(f"/v1/images/{gallery.add(photo()).id}/file").headers["etag"])
        assert http.get(url).headers["etag"] == first.headers["etag"]
        gallery.all_images[image.id] = dataclasses.replace(image, version=2)
        etags.add(http.get(url).headers["etag"])
    assert len(etags) == 4
    assert all(etag.startswith('"') for etag in etags), "strong entity tags"


def test_file_with_known_etag_is_not_modified(gallery):
    image = gallery.add(photo())
    url = f"/v1/images/{image.id}/file"
    with gallery.http() as http:
        etag = http.get(url).headers["etag"]
        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            for method in ("GET", "HEAD"):
                answer = http.request(method, url, headers={"If-None-Match": known})
                assert (answer.status_code, answer.content) == (304, b""), known
                assert answer.headers["etag"] == etag
        other = http.get(url, headers={"If-None-Match": '"other"'})
    assert other.status_code == 200


@pytest.mark.parametrize(
    ("header", "first", "last"),
    [
        ("bytes=0-9", 0, 9),
        ("bytes=5-5", 5, 5),
        ("bytes=100-", 100, None),
        ("bytes=-7", -7, None),
        ("BYTES= 3-4", 3, 4),
        ("bytes=10-99999999", 10, None),
        ("bytes=-99999999", 0, None),
    ],
)
def test_file_range_has_exactly_its_bytes(gallery, header, first, last):
    url = f"/v1/images/{gallery.add(photo()).id}/file"
    with gallery.http() as http:
        whole = http.get(url).content
        part = http.get(url, headers={"Range": header})
    expected = whole[first : None if last is None else last + 1]
    start = first % len(whole)
    assert part.status_code == 206
    assert part.content == expected
    assert part.headers["content-length"] == str(len(expected))
    assert part.headers["content-range"] == (
        f"bytes {start}-{start + len(expected) - 1}/{len(whole)}"
    )


@pytest.mark.parametrize("header", ["bytes=99999999-", "bytes=-0"])
def test_file_range_outside_is_not_satisfiable(gallery, header):
    url = f"/v1/images/{gallery.add(photo()).id}/file"
    with gallery.http() as http:
        size = len(http.get(url).content)
        refused = http.get(url, headers={"Range": header})
    assert refused.status_code == 416
    assert refused.json()["type"] == "urn:pinpoint:problem:range_not_satisfiable"
    assert refused.headers["content-range"] == f"bytes */{size}"


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=9-3"},
        {"Range": "bytes=-"},
        {"Range": "bytes=0-1,4-5"},
        {"Range": "lines=0-1"},
        {"Range": "bytes=0-" + "9" * 5_000},
        {"Range": "bytes=0-1", "If-Range": '"other"'},
        {"Range": "bytes=0-1", "If-Range": "Wed, 21 Oct 2015 07:28:00 GMT"},
    ],
)
def test_file_with_ignored_range_is_whole(gallery, headers):
    url = f"/v1/images/{gallery.add(photo()).id}/file"
    with gallery.http() as http:
        whole = http.get(url)
        answer = http.get(url, headers=headers)
        known = {"Range": "bytes=0-1", "If-Range": whole.headers["etag"]}
        assert http.get(url, headers=known).status_code == 206
    assert (answer.status_code, answer.content) == (200, whole.content)


@pytest.mark.parametrize(("width", "status"), [(15, 422), (16, 200), (16_384, 200), (16_385, 422)])
def test_file_width_has_limits(gallery, width, status):
    url = f"/v1/images/{gallery.add(photo()).id}/file"
    with gallery.http() as http:
        answer = http.get(url, params={"width": width})
        full = size_of(http.get(url))
    assert answer.status_code == status
    if status == 200:
        assert size_of(answer) == (min(width, full[0]), round(min(width, full[0]) * 0.75))


def test_file_of_face_is_the_face_and_the_panorama(gallery):
    faces = [
        gallery.add(SPHERE, external_id="a.jpg", cubemap_face=name, panorama_id="p")
        for name in ("front", "right", "back", "left")
    ]
    url = f"/v1/images/{faces[3].id}/file"
    with gallery.http() as http:
        cut = http.get(url)
        sphere = http.get(url, params={"panorama": "true"})
        small = http.get(url, params={"panorama": "true", "width": 100})
        del gallery.all_images[faces[0].id]
        lost = http.get(url, params={"panorama": "true"})
        assert http.get(url).content == cut.content
    assert (size_of(cut), size_of(sphere), size_of(small)) == ((200, 200), (800, 400), (100, 50))
    assert 'filename="a-left.jpg"' in cut.headers["content-disposition"]
    assert 'filename="a.jpg"' in sphere.headers["content-disposition"]
    assert len({answer.headers["etag"] for answer in (cut, sphere, small)}) == 3
    assert (lost.status_code, lost.json()["reason"]) == (404, "face_not_in_gallery")


def test_file_of_rendition_is_the_rendition(gallery):
    import numpy as np

    rendition = encode_jpeg(np.asarray(noise(50, 50)))
    faces = [
        gallery.add(SPHERE, stored=rendition, cubemap_face=name, panorama_id="p")
        for name in ("front", "right", "back", "left")
    ]
    url = f"/v1/images/{faces[0].id}/file"
    with gallery.http() as http:
        assert http.get(url).content == rendition
        refused = http.get(url, params={"panorama": "true"})
    assert (refused.status_code, refused.json()["reason"]) == (404, "original_not_stored")


def test_file_that_cannot_be_served_has_a_reason(gallery, tmp_path):
    changed, gone = tmp_path / "changed.jpg", tmp_path / "gone.jpg"
    changed.write_bytes(photo() + b"x")
    images = {
        (404, "missing_file"): gallery.add(photo(), uri=gone.as_uri()),
        (409, "file_modified_since_indexing"): gallery.add(photo(), uri=changed.as_uri()),
        (404, "original_not_stored"): gallery.add(photo()),
        (409, "too_large"): gallery.add(photo() + bytes(1_000_001)),
        (409, "unsupported_format"): gallery.add(b"no image"),
    }
    stored = images[404, "original_not_stored"]
    gallery.all_images[stored.id] = dataclasses.replace(stored, uri=None)
    lost = gallery.add(photo())
    gallery.parts.blobs.delete(lost.uri)
    with gallery.http() as http:
        for (status, reason), image in [*images.items(), ((404, "missing_file"), lost)]:
            answer = http.get(f"/v1/images/{image.id}/file")
            assert (answer.status_code, answer.json()["reason"]) == (status, reason)
            assert str(tmp_path) not in answer.text
        whole = http.get(f"/v1/images/{gallery.add(photo()).id}/file", params={"panorama": "true"})
    assert (whole.status_code, whole.json()["reason"]) == (404, "not_a_panorama")
