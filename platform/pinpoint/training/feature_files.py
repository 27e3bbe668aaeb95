"""A cache of features on disk: whose it is, which chunks of it are whole, their numbers.

features.json   header: table, tower, number and width of the rows, rows in a chunk
features.f16    `[N, F]` fp16 in the table's order, zeros where a picture cannot be used
features.done   one line for each chunk that is on disk, with its checksum

A chunk counts once its line is whole and its bytes fit the checksum.
"""

from __future__ import annotations

import fcntl
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedRandom, BufferedWriter
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pinpoint.errors import Conflict

HEADER: Final = "features.json"
VALUES: Final = "features.f16"
DONE: Final = "features.done"
_PART: Final = f"{HEADER}.part"
_BYTES: Final = 2
"""Of one fp16 number."""

Refusals = Mapping[int, str]
"""Reason by row of the table."""


def claim(folder: Path, said: Mapping[str, Any], chunk: int) -> int:
    """Make the folder this cache's, or see that it is.

    Args:
        folder: Of one cache.
        said: What names the cache.
        chunk: Rows in a chunk, where it is new.

    Returns:
        Rows in a chunk of the cache that is there now.

    Raises:
        Conflict: The folder holds another cache, or other files; the message says which.
    """
    if (folder / HEADER).is_file():
        return check(folder, said)
    if folder.exists() and any(entry.name != _PART for entry in folder.iterdir()):
        raise Conflict(f"{folder} holds other files; choose another folder for features")
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / _PART
    part.write_text(json.dumps({**said, "chunk": chunk}, indent=1) + "\n", encoding="utf-8")
    os.replace(part, folder / HEADER)
    return chunk


def check(folder: Path, said: Mapping[str, Any]) -> int:
    """See that a folder holds this cache.

    Returns:
        Rows in a chunk.

    Raises:
        Conflict: It holds another one or none; the message names what differs.
    """
    try:
        there = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        chunk = int(there["chunk"])
        if chunk < 1:
            raise ValueError(f"a chunk of {chunk} rows")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Conflict(f"{folder} holds no features that can be read: {error}") from error
    unlike = [
        f"{key} is {there.get(key)!r} and not {wanted!r}"
        for key, wanted in said.items()
        if there.get(key) != wanted
    ]
    if unlike:
        raise Conflict(
            f"{folder} holds features of something else: {'; '.join(unlike)}; choose another "
            "folder, or delete this one"
        )
    return chunk


class FeatureFiles:
    """Numbers and journal of one cache; letters: N rows of the table, F width.

    Args:
        folder: Claimed.
        count: N.
        width: F.
        chunk: Rows in a chunk.
    """

    def __init__(self, folder: Path, count: int, width: int, chunk: int) -> None:
        self._folder, self._count, self._width, self._chunk = folder, count, width, chunk

    @property
    def chunks(self) -> int:
        """Chunks of a whole cache."""
        return -(-self._count // self._chunk)

    def rows(self, number: int) -> range:
        """Rows of one chunk."""
        return range(number * self._chunk, min((number + 1) * self._chunk, self._count))

    def read(self) -> tuple[NDArray[np.float16], Refusals]:
        """The numbers, memory-mapped and read-only, and the rows without any.

        Raises:
            Conflict: Chunks are missing.
        """
        path = self._folder / VALUES
        done = self._journal() if (self._folder / DONE).is_file() else {}
        whole = path.is_file() and path.stat().st_size == self._count * self._width * _BYTES
        if len(done) < self.chunks or not whole:
            raise Conflict(
                f"the features in {self._folder} are not whole: {len(done)} of {self.chunks} "
                f"chunks{'' if whole else ', and a file of another length'}; make them first"
            )
        shape = (self._count, self._width)
        values = np.memmap(path, dtype=np.float16, mode="r", shape=shape)
        return values, {row: why for _, refused in done.values() for row, why in refused.items()}

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """Open for writing, by one process at a time; what is not whole is forgotten.

        Raises:
            Conflict: Another process is writing.
        """
        done_path, values_path = self._folder / DONE, self._folder / VALUES
        values_path.touch()
        with done_path.open("ab") as journal, values_path.open("r+b") as values:
            try:
                fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict(f"another process is writing features to {self._folder}") from error
            writer = Writer(self, journal, values, self._width)
            lines = {k: v for k, v in self._journal().items() if writer.sound(k, v[0])}
            # Forgotten before the file gets its length: a reader must not take zeros for numbers.
            journal.truncate(0)
            for number, (checksum, refused) in lines.items():
                writer.note(number, checksum, refused)
            values.truncate(self._count * self._width * _BYTES)
            yield writer

    def _journal(self) -> dict[int, tuple[int, Refusals]]:
        """Checksum and refusals by chunk, as far as the lines can be read."""
        done: dict[int, tuple[int, Refusals]] = {}
        for line in (self._folder / DONE).read_bytes().splitlines(keepends=True):
            entry = _entry(line)
            if entry is None:
                break
            done[entry[0]] = entry[1:]
        return {k: v for k, v in done.items() if 0 <= k < self.chunks}


class Writer:
    """The one process that writes; see `FeatureFiles.writing`."""

    def __init__(
        self, files: FeatureFiles, journal: BufferedWriter, values: BufferedRandom, width: int
    ) -> None:
        self.done: set[int] = set()
        """Chunks that are whole."""
        self._files, self._journal, self._values = files, journal, values.fileno()
        self._row_bytes = width * _BYTES

    def write(self, number: int, features: NDArray[np.float16], refused: Refusals) -> None:
        """Put a chunk on disk, and only then say that it is there.

        Args:
            number: Of the chunk.
            features: `[rows, F]`.
            refused: Rows of the table without features.
        """
        data = features.tobytes()
        _write_all(self._values, data, self._files.rows(number).start * self._row_bytes)
        os.fdatasync(self._values)
        self.note(number, zlib.crc32(data), refused)
        os.fdatasync(self._journal.fileno())

    def note(self, number: int, checksum: int, refused: Refusals) -> None:
        """Write down that a chunk is whole."""
        line = {"chunk": number, "crc32": checksum, "refused": dict(refused)}
        self._journal.write(json.dumps(line).encode() + b"\n")
        self._journal.flush()
        self.done.add(number)

    def sound(self, number: int, checksum: int) -> bool:
        """Whether a chunk's bytes are those that were written."""
        rows = self._files.rows(number)
        data = os.pread(self._values, len(rows) * self._row_bytes, rows.start * self._row_bytes)
        return zlib.crc32(data) == checksum


def _write_all(file: int, data: bytes, offset: int) -> None:
    """`os.pwrite` may write a part only."""
    left = memoryview(data)
    while left:
        written = os.pwrite(file, left, offset)
        left, offset = left[written:], offset + written


def _entry(line: bytes) -> tuple[int, int, Refusals] | None:
    """Chunk, checksum and refusals; None where a write was broken off."""
    try:
        said = json.loads(line)
        refused = {int(row): str(reason) for row, reason in said["refused"].items()}
        return int(said["chunk"]), int(said["crc32"]), refused
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
