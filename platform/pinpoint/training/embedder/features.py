"""Cached features of a frozen tower: no epoch decodes or encodes an image again.

Letters: N rows of the table, F width, B images encoded together, H and W their pixels.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.errors import BadBundleError, BadRequestError
from pinpoint.ports import Decoder
from pinpoint.progress import ProgressCallback
from pinpoint.records import Pixels, Rejected
from pinpoint.training.core.samples import CHANGED_SINCE_INGEST, Rows, Samples
from pinpoint.training.embedder.feature_files import (
    FeatureFiles,
    check_manifest,
    write_or_check_manifest,
)

Encode = Callable[[Sequence[Pixels]], NDArray[Any]]
"""Images `[H, W, 3]` uint8 in, features `[B, F]` out, each independent of the others."""

CACHE_FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """A complete cache, open for reading."""

    values: NDArray[np.float16]
    """`[N, F]`, memory-mapped and read-only; zeros in rows without features."""
    rejected: Mapping[int, str]
    """Rows without features, and the reason why their file was rejected."""

    @property
    def usable(self) -> Rows:
        """Rows that have features, ascending."""
        return np.setdiff1d(np.arange(len(self.values)), np.array([*self.rejected], dtype=np.int64))

    @property
    def rejection_counts(self) -> Mapping[str, int]:
        """Rows without features, counted by reason."""
        return dict(Counter(self.rejected.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureEncoder:
    """Computes the cached row of an image."""

    encode: Encode
    """The tower with its preprocessing."""
    digest: str
    """Digest of tower, weights and preprocessing."""
    width: int
    """F."""


def cache_features(
    folder: Path,
    samples: Samples,
    *,
    decoder: Decoder,
    encoder: FeatureEncoder,
    threads: int = 1,
    chunk: int = 128,
    on_progress: ProgressCallback = lambda completed, total: None,
) -> Features:
    """Create or complete the cache; every row is decoded and encoded once.

    Existing chunks are read once, to check them. Their image files are not read again: the table's
    fingerprint contains their ids, sizes and positions. One face of each panorama is used; it
    depends on the row, so that all directions occur. A row of the catalog is one face of the exact
    bytes that were ingested; other bytes are rejected as `file_modified_since_indexing`.

    Args:
        folder: Folder of this cache only; created if it does not exist.
        samples: The table.
        decoder: Decodes the files; it should have as many children as there are `threads`.
        encoder: The tower.
        threads: Files decoded concurrently, while the previous chunk is encoded.
        chunk: Images encoded and written together; an existing cache keeps its chunk size.
        on_progress: Called at the start and after each chunk.

    Raises:
        BadRequestError: A number is not positive, or the table is empty.
        ConflictError: The folder holds another table's or tower's features or other files, or
            another process is writing to it.
        BadBundleError: The tower returns another shape, or numbers that fp16 cannot represent.
    """
    width = encoder.width
    if min(width, threads, chunk, len(samples)) < 1:
        raise BadRequestError(
            f"features need positive numbers, not width {width}, threads {threads}, chunk {chunk} "
            f"and {len(samples)} images"
        )
    chunk_rows = write_or_check_manifest(
        folder, _cache_identity(samples, encoder.digest, width), chunk
    )
    files = FeatureFiles(folder, len(samples), width, chunk_rows)
    with files.writing() as writer:
        count = sum(len(files.rows(number)) for number in writer.done)
        on_progress(count, len(samples))
        missing = [number for number in range(files.chunks) if number not in writer.done]
        chunks = (files.rows(number) for number in missing)
        decoded = _decode_chunks(chunks, samples, decoder, threads)
        for number, results in zip(missing, decoded, strict=True):
            images = {k: item for k, item in enumerate(results) if not isinstance(item, str)}
            features = np.zeros((len(results), width), dtype=np.float16)
            if images:
                features[list(images)] = _encode_images([*images.values()], encoder)
            start = files.rows(number).start
            rejected = {start + k: item for k, item in enumerate(results) if isinstance(item, str)}
            writer.write(number, features, rejected)
            count += len(results)
            on_progress(count, len(samples))
    values, all_rejected = files.read()
    return Features(values=values, rejected=all_rejected)


def open_features(folder: Path, samples: Samples, *, tower: str, width: int) -> Features:
    """Open a complete cache; nothing is decoded.

    Raises:
        ConflictError: It is missing or incomplete, or belongs to another table or tower.
    """
    chunk = check_manifest(folder, _cache_identity(samples, tower, width))
    values, rejected = FeatureFiles(folder, len(samples), width, chunk).read()
    return Features(values=values, rejected=rejected)


def _cache_identity(samples: Samples, tower: str, width: int) -> dict[str, Any]:
    """The values that identify a cache."""
    return {
        "format": CACHE_FORMAT,
        "table": samples.fingerprint(),
        "tower": tower,
        "count": len(samples),
        "width": width,
    }


def _decode_chunks(
    chunks: Iterator[range], samples: Samples, decoder: Decoder, threads: int
) -> Iterator[list[Pixels | str]]:
    """Images of each chunk, or the reason why there is none, decoded one chunk ahead."""
    pending: deque[list[Future[Pixels | str]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for chunk in chunks:
                pending.append([pool.submit(_decode_image, row, samples, decoder) for row in chunk])
                if len(pending) > 1:
                    yield [future.result() for future in pending.popleft()]
            while pending:
                yield [future.result() for future in pending.popleft()]
        finally:
            for futures in pending:
                for future in futures:
                    future.cancel()


def _decode_image(row: int, samples: Samples, decoder: Decoder) -> Pixels | str:
    file, sha256, face_name = (
        str(column[row]) for column in (samples.files, samples.hashes, samples.faces)
    )
    # Decoded as a query: its position is known already, and it needs no thumbnail.
    reading = decoder.read(file, file, query=True)
    if isinstance(reading, Rejected):
        return reading.error_code
    if not sha256:
        return reading.faces[row % len(reading.faces)].pixels
    pixels = [face.pixels for face in reading.faces if (face.name or "") == face_name]
    return pixels[0] if pixels and reading.capture.sha256 == sha256 else CHANGED_SINCE_INGEST


def _encode_images(images: list[Pixels], encoder: FeatureEncoder) -> NDArray[np.float16]:
    """Features of the images of one chunk.

    Raises:
        BadBundleError: Another shape, or numbers that fp16 cannot represent.
    """
    encoded, width = np.asarray(encoder.encode(images)), encoder.width
    if encoded.shape != (len(images), width):
        raise BadBundleError(
            f"the tower returns {encoded.shape} for {len(images)} images instead of "
            f"{(len(images), width)}, as its contract states"
        )
    with np.errstate(over="ignore"):  # Overflow is rejected below, with a reason.
        features = encoded.astype(np.float16)
    if not np.isfinite(features).all():
        raise BadBundleError(
            "the tower returns features that fp16 cannot represent (not finite, or beyond 65,504); "
            "normalize them before they are cached"
        )
    return features
