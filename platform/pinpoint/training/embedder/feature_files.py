"""Files of a feature cache: its identity, its complete chunks and its numbers.

features.json   header: table, tower, number and width of the rows, rows in a chunk
features.f16    `[N, F]` fp16 in the table's order, zeros where an image cannot be used
features.done   one line for each chunk on disk, with its checksum

A chunk is valid if its line is complete and its bytes match the checksum.
"""

from __future__ import annotations

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

from pinpoint.atomic_files import PARTIAL_SUFFIX, write_atomic
from pinpoint.errors import ConflictError, describe_cause
from pinpoint.file_locks import try_lock

HEADER: Final = "features.json"
VALUES: Final = "features.f16"
DONE: Final = "features.done"
_FP16_BYTES: Final = 2

Rejections = Mapping[int, str]
"""Reason by row of the table."""


def write_or_check_manifest(folder: Path, identity: Mapping[str, Any], chunk: int) -> int:
    """Create the cache's header in the folder, or check the existing header.

    Args:
        folder: Folder of one cache.
        identity: Values that identify the cache.
        chunk: Rows in a chunk of a new cache.

    Returns:
        Rows in a chunk of the cache in the folder.

    Raises:
        ConflictError: The folder holds another cache, or other files; the message names the
            difference.
    """
    if (folder / HEADER).is_file():
        return check_manifest(folder, identity)
    if folder.exists() and any(entry.suffix != PARTIAL_SUFFIX for entry in folder.iterdir()):
        raise ConflictError(f"{folder} holds other files; choose another folder for features")
    folder.mkdir(parents=True, exist_ok=True)
    # Durable, as the features: without a header they cannot be used.
    text = json.dumps({**identity, "chunk": chunk}, indent=1) + "\n"
    write_atomic(folder / HEADER, text, durable=True)
    return chunk


def check_manifest(folder: Path, identity: Mapping[str, Any]) -> int:
    """Check that a folder holds this cache.

    Returns:
        Rows in a chunk.

    Raises:
        ConflictError: It holds another cache or none; the message names the difference.
    """
    try:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        chunk = int(header["chunk"])
        if chunk < 1:
            raise ValueError(f"a chunk of {chunk} rows")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConflictError(
            f"{folder} holds no features that can be read: {describe_cause(error)}"
        ) from error
    differences = [
        f"{key} is {header.get(key)!r} and not {value!r}"
        for key, value in identity.items()
        if header.get(key) != value
    ]
    if differences:
        raise ConflictError(
            f"{folder} holds features of something else: {'; '.join(differences)}; choose another "
            "folder, or delete this one"
        )
    return chunk


class FeatureFiles:
    """Numbers and journal of one cache; letters: N rows of the table, F width.

    Args:
        folder: Folder that `write_or_check_manifest` accepted.
        count: N.
        width: F.
        chunk: Rows in a chunk.
    """

    def __init__(self, folder: Path, count: int, width: int, chunk: int) -> None:
        self._folder, self._count, self._width, self._chunk = folder, count, width, chunk

    @property
    def chunks(self) -> int:
        """Number of chunks of a complete cache."""
        return -(-self._count // self._chunk)

    def rows(self, number: int) -> range:
        """Rows of one chunk."""
        return range(number * self._chunk, min((number + 1) * self._chunk, self._count))

    def read(self) -> tuple[NDArray[np.float16], Rejections]:
        """The numbers, memory-mapped and read-only, and the rows without features.

        Raises:
            ConflictError: Chunks are missing.
        """
        path = self._folder / VALUES
        journal = self._read_journal() if (self._folder / DONE).is_file() else {}
        has_size = path.is_file() and path.stat().st_size == self._count * self._width * _FP16_BYTES
        if len(journal) < self.chunks or not has_size:
            raise ConflictError(
                f"the features in {self._folder} are incomplete: {len(journal)} of {self.chunks} "
                f"chunks{'' if has_size else ', and a file of wrong size'}; cache them first"
            )
        shape = (self._count, self._width)
        values = np.memmap(path, dtype=np.float16, mode="r", shape=shape)
        return values, {
            row: reason for _, rejected in journal.values() for row, reason in rejected.items()
        }

    @contextmanager
    def writing(self) -> Iterator[FeatureWriter]:
        """Open for writing, by one process at a time; incomplete chunks are discarded.

        Raises:
            ConflictError: Another process is writing.
        """
        done_path, values_path = self._folder / DONE, self._folder / VALUES
        values_path.touch()
        with (
            try_lock(done_path) as is_locked,
            done_path.open("ab") as journal,
            values_path.open("r+b") as values,
        ):
            if not is_locked:
                raise ConflictError(f"another process is writing features to {self._folder}")
            writer = FeatureWriter(self, journal, values, self._width)
            lines = {
                number: line
                for number, line in self._read_journal().items()
                if writer.is_intact(number, line[0])
            }
            # Emptied before the file grows: a reader must not read zeros as features.
            journal.truncate(0)
            for number, (checksum, rejected) in lines.items():
                writer.record_chunk(number, checksum, rejected)
            values.truncate(self._count * self._width * _FP16_BYTES)
            yield writer

    def _read_journal(self) -> dict[int, tuple[int, Rejections]]:
        """Checksum and rejections by chunk, up to the first unreadable line."""
        lines: dict[int, tuple[int, Rejections]] = {}
        for line in (self._folder / DONE).read_bytes().splitlines(keepends=True):
            entry = _parse_journal_line(line)
            if entry is None:
                break
            lines[entry[0]] = entry[1:]
        return {number: line for number, line in lines.items() if 0 <= number < self.chunks}


class FeatureWriter:
    """Writer of the cache's only writing process; see `FeatureFiles.writing`."""

    def __init__(
        self, files: FeatureFiles, journal: BufferedWriter, values: BufferedRandom, width: int
    ) -> None:
        self.done: set[int] = set()
        """Complete chunks."""
        self._files, self._journal, self._values = files, journal, values.fileno()
        self._row_bytes = width * _FP16_BYTES

    def write(self, number: int, features: NDArray[np.float16], rejected: Rejections) -> None:
        """Write a chunk to disk, and record it only afterwards.

        Args:
            number: Number of the chunk.
            features: `[rows, F]`.
            rejected: Rows of the table without features.
        """
        data = features.tobytes()
        _write_all(self._values, data, self._files.rows(number).start * self._row_bytes)
        os.fdatasync(self._values)
        self.record_chunk(number, zlib.crc32(data), rejected)
        os.fdatasync(self._journal.fileno())

    def record_chunk(self, number: int, checksum: int, rejected: Rejections) -> None:
        """Record in the journal that a chunk is complete."""
        line = {"chunk": number, "crc32": checksum, "rejected": dict(rejected)}
        self._journal.write(json.dumps(line).encode() + b"\n")
        self._journal.flush()
        self.done.add(number)

    def is_intact(self, number: int, checksum: int) -> bool:
        """Whether a chunk's bytes match its checksum."""
        rows = self._files.rows(number)
        data = os.pread(self._values, len(rows) * self._row_bytes, rows.start * self._row_bytes)
        return zlib.crc32(data) == checksum


def _write_all(file: int, data: bytes, offset: int) -> None:
    """Write all bytes; `os.pwrite` may write only some of them."""
    remaining = memoryview(data)
    while remaining:
        written = os.pwrite(file, remaining, offset)
        remaining, offset = remaining[written:], offset + written


def _parse_journal_line(line: bytes) -> tuple[int, int, Rejections] | None:
    """Chunk, checksum and rejections; None if the line is incomplete."""
    try:
        fields = json.loads(line)
        rejected = {int(row): str(reason) for row, reason in fields["rejected"].items()}
        return int(fields["chunk"]), int(fields["crc32"]), rejected
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
