"""A file object that keeps written bytes until they are taken, for writers that need a file."""

from __future__ import annotations

import io
from typing import Any


class ByteSink(io.RawIOBase):
    """Receives the bytes of a writer; `take` returns those since the last call."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        """Whether bytes can be written: always."""
        return True

    def write(self, data: Any, /) -> int:
        """Keep a copy of bytes."""
        part = bytes(data)
        self._parts.append(part)
        return len(part)

    def take(self) -> bytes:
        """Return the bytes that were written since the last call."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken
