"""What a frozen tower makes of every picture, kept: no epoch decodes or encodes again.

Letters: N rows of the table, F width, B pictures given to the tower together, H and W their pixels.
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

from pinpoint.errors import BadBundle, BadRequest
from pinpoint.ports import Decoder
from pinpoint.records import Pixels, Rejected
from pinpoint.training.feature_files import FeatureFiles, check, claim
from pinpoint.training.samples import CHANGED, Rows, Samples

Encode = Callable[[Sequence[Pixels]], NDArray[Any]]
"""Pictures `[H, W, 3]` uint8 in, features `[B, F]` out, each independent of the others."""
Progress = Callable[[int, int], None]
"""Told rows done and rows in all."""

FORMAT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """A whole cache, open for reading."""

    values: NDArray[np.float16]
    """`[N, F]`, memory-mapped and read-only; zeros in rows without features."""
    refused: Mapping[int, str]
    """Rows without features, and the reason their file was refused for."""

    @property
    def usable(self) -> Rows:
        """Rows that have features, ascending."""
        return np.setdiff1d(np.arange(len(self.values)), np.array([*self.refused], dtype=np.int64))

    @property
    def dropped(self) -> Mapping[str, int]:
        """Rows without features, counted by reason."""
        return dict(Counter(self.refused.values()))


def cache_features(
    folder: Path,
    samples: Samples,
    *,
    decoder: Decoder,
    encode: Encode,
    tower: str,
    width: int,
    threads: int = 1,
    chunk: int = 128,
    on_progress: Progress = lambda done, total: None,
) -> Features:
    """Make the cache, or go on with it; every row is decoded and encoded once.

    What is there already is read once, to check it. The pictures are not looked at again: the
    table's fingerprint holds their ids, sizes and positions. Of a panorama one face is taken;
    which one depends on its row, so that all directions are seen. A row of the catalogue is one
    face, of the very bytes that were ingested; other bytes are refused as `changed_since`.

    Args:
        folder: Of this cache alone; made if it is not there.
        samples: The table.
        decoder: Who reads; give it as many children as there are `threads`.
        encode: The tower with its preprocessing.
        tower: Digest of tower, weights and preprocessing.
        width: F.
        threads: Files decoded at once, while the chunk before is encoded.
        chunk: Pictures encoded and written together; a cache that is gone on with keeps its own.
        on_progress: Called at the start and after each chunk.

    Raises:
        BadRequest: A number is not positive, or the table is empty.
        Conflict: The folder holds another table's or tower's features or other files, or another
            process is writing to it.
        BadBundle: The tower gives another shape, or numbers that fp16 cannot hold.
    """
    if min(width, threads, chunk, len(samples)) < 1:
        raise BadRequest(
            f"features need positive numbers, not width {width}, threads {threads}, chunk {chunk} "
            f"and {len(samples)} pictures"
        )
    kept = claim(folder, _said(samples, tower, width), chunk)
    files = FeatureFiles(folder, len(samples), width, kept)
    with files.writing() as writer:
        count = sum(len(files.rows(number)) for number in writer.done)
        on_progress(count, len(samples))
        todo = [number for number in range(files.chunks) if number not in writer.done]
        parts = (files.rows(number) for number in todo)
        for number, found in zip(todo, _decoded(parts, samples, decoder, threads), strict=True):
            pictures = {k: one for k, one in enumerate(found) if not isinstance(one, str)}
            features = np.zeros((len(found), width), dtype=np.float16)
            if pictures:
                features[list(pictures)] = _encoded([*pictures.values()], encode, width)
            start = files.rows(number).start
            refused = {start + k: one for k, one in enumerate(found) if isinstance(one, str)}
            writer.write(number, features, refused)
            count += len(found)
            on_progress(count, len(samples))
    values, every = files.read()
    return Features(values=values, refused=every)


def open_features(folder: Path, samples: Samples, *, tower: str, width: int) -> Features:
    """A whole cache; nothing is decoded.

    Raises:
        Conflict: It is not there or not whole, or belongs to another table or tower.
    """
    chunk = check(folder, _said(samples, tower, width))
    values, refused = FeatureFiles(folder, len(samples), width, chunk).read()
    return Features(values=values, refused=refused)


def _said(samples: Samples, tower: str, width: int) -> dict[str, Any]:
    """What names a cache."""
    return {
        "format": FORMAT,
        "table": samples.fingerprint(),
        "tower": tower,
        "count": len(samples),
        "width": width,
    }


def _decoded(
    parts: Iterator[range], samples: Samples, decoder: Decoder, threads: int
) -> Iterator[list[Pixels | str]]:
    """Pictures of each part, or the reason there is none, decoded one part ahead."""
    ahead: deque[list[Future[Pixels | str]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for part in parts:
                ahead.append([pool.submit(_picture, row, samples, decoder) for row in part])
                if len(ahead) > 1:
                    yield [future.result() for future in ahead.popleft()]
            while ahead:
                yield [future.result() for future in ahead.popleft()]
        finally:
            for futures in ahead:
                for future in futures:
                    future.cancel()


def _picture(row: int, samples: Samples, decoder: Decoder) -> Pixels | str:
    file, known, wanted = (
        str(column[row]) for column in (samples.files, samples.hashes, samples.faces)
    )
    # As a photo to locate: where it was taken is known, and nobody needs a thumbnail.
    reading = decoder.read(file, file, query=True)
    if isinstance(reading, Rejected):
        return reading.reason
    if not known:
        return reading.faces[row % len(reading.faces)].pixels
    found = [face.pixels for face in reading.faces if (face.name or "") == wanted]
    return found[0] if found and reading.capture.sha256 == known else CHANGED


def _encoded(pictures: list[Pixels], encode: Encode, width: int) -> NDArray[np.float16]:
    """Features of the pictures of one chunk.

    Raises:
        BadBundle: Another shape, or numbers that fp16 cannot hold.
    """
    given = np.asarray(encode(pictures))
    if given.shape != (len(pictures), width):
        raise BadBundle(
            f"the tower gives {given.shape} for {len(pictures)} pictures, and its contract says "
            f"{(len(pictures), width)}"
        )
    with np.errstate(over="ignore"):  # what overflows is refused below, with a reason
        features = given.astype(np.float16)
    if not np.isfinite(features).all():
        raise BadBundle(
            "the tower gives features that fp16 cannot hold (not finite, or beyond 65,504); "
            "normalise them before they are cached"
        )
    return features
