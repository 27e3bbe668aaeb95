"""Media types that schemathesis does not know; its process imports this module."""

from __future__ import annotations

from typing import Any

import schemathesis


@schemathesis.serializer("application/jsonl")
def serialize_lines(_context: Any, value: Any) -> bytes:
    """The text of the lines."""
    return str(value).encode("utf-8", errors="surrogatepass")
