"""File format of local features: a header with a checksum, key points, descriptors.

Little-endian. Descriptors are the eight bits of SIFT, so that features from a file equal computed
ones. Every number is checked before it is used: a truncated or edited file is refused.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final

import numpy as np

from pinpoint.records import LocalFeatures

FORMAT: Final = 1
"""Incremented whenever the layout changes."""
_MAGIC: Final = b"PPLF"
_HEADER: Final = struct.Struct("<4sHIIII")
"""Magic, format, checksum of the rest, width, height, number of key points."""
_DESCRIPTOR_WIDTH: Final = 128
_BYTES_PER_KEYPOINT: Final = 2 * 4 + _DESCRIPTOR_WIDTH
_MAX_KEYPOINTS: Final = 100_000


class BadFeaturesError(Exception):
    """Bytes that are no local features of this format."""


def encode_features(features: LocalFeatures) -> bytes:
    """Local features as bytes; about 136 bytes for each key point."""
    payload = (
        np.ascontiguousarray(features.keypoints, "<f4").tobytes()
        + np.ascontiguousarray(features.descriptors, np.uint8).tobytes()
    )
    size = (features.width_px, features.height_px, len(features.keypoints))
    checksum = zlib.crc32(payload, zlib.crc32(struct.pack("<III", *size)))
    return _HEADER.pack(_MAGIC, FORMAT, checksum, *size) + payload


def decode_features(data: bytes) -> LocalFeatures:
    """Local features from bytes; the arrays are read-only views.

    Raises:
        BadFeaturesError: Another format, or damaged bytes.
    """
    if len(data) < _HEADER.size:
        raise BadFeaturesError("shorter than a header")
    magic, file_format, checksum, width, height, count = _HEADER.unpack_from(data)
    if magic != _MAGIC or file_format != FORMAT:
        raise BadFeaturesError("another format")
    if count > _MAX_KEYPOINTS or len(data) != _HEADER.size + count * _BYTES_PER_KEYPOINT:
        raise BadFeaturesError("another length than its header states")
    payload = memoryview(data)[_HEADER.size :]
    if checksum != zlib.crc32(payload, zlib.crc32(struct.pack("<III", width, height, count))):
        raise BadFeaturesError("another checksum than its header states")
    keypoints = np.frombuffer(payload, "<f4", count * 2).reshape(count, 2)
    descriptors = np.frombuffer(payload, np.uint8, offset=count * 8)
    return LocalFeatures(
        keypoints=keypoints.astype(np.float32, copy=False),
        descriptors=descriptors.reshape(count, _DESCRIPTOR_WIDTH),
        width_px=width,
        height_px=height,
    )
