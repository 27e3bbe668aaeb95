"""Files that are replaced only when their download is complete."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import httpx

from pinpoint_client.calls.call import ByteProgress
from pinpoint_client.errors import BadRequestError, UnavailableError
from pinpoint_client.problems import describe_cause

EXPORT_TIMEOUT_S: Final = 3_600.0
"""Wait for the first byte: FlatGeobuf and GeoPackage are written before they are sent."""
ROWS_HEADER: Final = "X-Pinpoint-Rows"
"""Number of rows of an export."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """A written export."""

    path: Path
    format: str
    rows: int
    bytes: int
    seconds: float


class FileDownload:
    """One download into a file.

    Args:
        path: The file; its ending selects the format.
        suffix: Format; default: the ending.
        on_progress: Called after each received part.
    """

    def __init__(
        self, path: str | Path, suffix: str | None, on_progress: ByteProgress | None
    ) -> None:
        self._target = Path(path)
        self._on_progress = on_progress
        self._start_s = time.monotonic()
        self._num_bytes = self._num_rows = 0
        self._file: IO[bytes] | None = None
        self._size: int | None = None
        self.format = (suffix or self._target.suffix.removeprefix(".")).lower()
        """Format of the export."""

    @contextmanager
    def open(self) -> Iterator[None]:
        """Write to a temporary file, which replaces the target after the block.

        Raises:
            BadRequestError: The file cannot be written.
            UnavailableError: The download ended early; the target is unchanged.
        """
        partial = self._target.with_name(f".{self._target.name}.{secrets.token_hex(8)}.part")
        try:
            with partial.open("xb") as self._file:
                yield
                self._file.flush()
                os.fsync(self._file.fileno())
            partial.replace(self._target)
        except OSError as error:
            raise BadRequestError(
                f"{self._target} cannot be written: {describe_cause(error)}", reason="unwritable"
            ) from error
        except UnavailableError as error:
            error.message = f"{error.message}; nothing was written to {self._target}"
            raise
        finally:
            with suppress(OSError):  # After a success it is gone; the folder may be gone, too.
                partial.unlink()

    def start(self, response: httpx.Response) -> None:
        """Take the size and the number of rows from the head of the answer."""
        size = response.headers.get("Content-Length")
        self._size = None if size is None else int(size)
        self._num_rows = int(response.headers[ROWS_HEADER])

    def write(self, part: bytes) -> None:
        """Write a received part."""
        if self._file is not None:
            self._file.write(part)
        self._num_bytes += len(part)
        if self._on_progress is not None:
            self._on_progress(self._num_bytes, self._size)

    def finish(self) -> ExportedFile:
        """Describe the written file."""
        return ExportedFile(
            path=self._target,
            format=self.format,
            rows=self._num_rows,
            bytes=self._num_bytes,
            seconds=round(time.monotonic() - self._start_s, 3),
        )
