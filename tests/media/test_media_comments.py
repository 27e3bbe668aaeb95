"""Comments of JPEG files, against Pillow and on broken files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL.JpegImagePlugin import JpegImageFile

from media.pictures import noise, photo, saved
from pinpoint.media.checks import RejectedFileError
from pinpoint.media.metadata.comments import read_comments
from pinpoint.settings import MediaSettings
from shared_data import shared_data

SETTINGS = MediaSettings()


def with_comments(data: bytes, *comments: bytes) -> bytes:
    """The JPEG with comment segments directly after its start."""
    segments = b"".join(b"\xff\xfe" + (len(c) + 2).to_bytes(2, "big") + c for c in comments)
    return data[:2] + segments + data[2:]


def comments(tmp_path: Path, data: bytes, settings: MediaSettings = SETTINGS) -> tuple[str, ...]:
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    return read_comments(path, settings)


def test_read_comments_one_segment_splits_lines(tmp_path: Path) -> None:
    data = saved(noise(), comment=b"title: caf\xc3\xa9\nlatitude: 1.5\r\n\nlongitude: -2\x00")
    assert comments(tmp_path, data) == ("title: café", "latitude: 1.5", "longitude: -2")


def test_read_comments_several_segments_equal_pillow(tmp_path: Path) -> None:
    data = with_comments(photo(), b"latitude: 1.5", b"longitude: -2", b"views: 3")
    with JpegImageFile(BytesIO(data)) as image:
        pillow_comments = [content.decode() for name, content in image.applist if name == "COM"]
        assert image.info["comment"] == b"views: 3"
    assert (
        list(comments(tmp_path, data))
        == pillow_comments
        == ["latitude: 1.5", "longitude: -2", "views: 3"]
    )


def test_read_comments_without_comment_is_empty(tmp_path: Path) -> None:
    assert comments(tmp_path, photo()) == ()


def test_read_comments_padding_and_control_characters_are_replaced(tmp_path: Path) -> None:
    data = photo()
    odd = data[:2] + b"\xff\xff\xff\x01" + with_comments(data, b"a\x1b[31m: b\xff")[2:]
    assert comments(tmp_path, odd) == ("a [31m: b\ufffd",)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (b"GIF89a" + b"\x00" * 80, "unsupported_format"),
        (b"\xff\xd8\xff", "undecodable"),
        (b"\xff\xd8\xff\xfe\x00\x01", "undecodable"),
        (b"\xff\xd8\xff\xfe\x40\x00short", "undecodable"),
        (b"\xff\xd8\xff\xe0\x00\x04ab" + b"junk", "undecodable"),
    ],
)
def test_read_comments_broken_file_raises(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(RejectedFileError) as caught:
        comments(tmp_path, data)
    assert caught.value.reason == reason


def outcome(tmp_path: Path, data: bytes) -> str | tuple[str, ...]:
    try:
        return comments(tmp_path, data)
    except RejectedFileError as caught:
        return caught.reason


def test_read_comments_truncated_file_is_read_or_rejected(tmp_path: Path) -> None:
    data = with_comments(photo(), b"latitude: 1.5", b"longitude: -2")
    all_comments = ("latitude: 1.5", "longitude: -2")
    outcomes = [outcome(tmp_path, data[:end]) for end in range(1, len(data), 7)]
    assert set(outcomes) == {"unsupported_format", "undecodable", all_comments}
    assert outcomes[-1] == all_comments


def test_read_comments_over_limit_raises(tmp_path: Path) -> None:
    data = with_comments(photo(), b"x" * 60_000, b"y" * 60_000)
    with pytest.raises(RejectedFileError) as caught:
        comments(tmp_path, data, MediaSettings(max_metadata_bytes=100_000))
    assert caught.value.reason == "metadata_too_large"
    with pytest.raises(RejectedFileError) as caught:
        comments(tmp_path, data, MediaSettings(max_bytes=100_000))
    assert caught.value.reason == "too_large"
    with pytest.raises(RejectedFileError) as caught:
        read_comments(tmp_path, SETTINGS)
    assert caught.value.reason == "missing_file"


def test_read_comments_real_files_equal_pillow(tmp_path: Path) -> None:
    compared = 0
    for path in sorted((shared_data() / "photos" / "exif-samples").rglob("*.jpg")):
        try:
            comments_read = read_comments(path, SETTINGS)
        except RejectedFileError:
            continue
        with JpegImageFile(path) as image:
            pillow_comments = [content for name, content in image.applist if name == "COM"]
        assert bool(comments_read) == any(
            content.strip(b"\x00 \r\n") for content in pillow_comments
        ), path.name
        compared += bool(pillow_comments)
    assert compared >= 1
