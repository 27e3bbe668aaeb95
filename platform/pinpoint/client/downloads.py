"""Downloads of whole files: exports of the gallery."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pinpoint.atomic_files import open_atomic
from pinpoint.client.transport import HttpTransport, Json, to_form
from pinpoint.errors import BadRequestError, UnavailableError, describe_cause
from pinpoint.http_headers import ROWS_HEADER

EXPORT_TIMEOUT_S: Final = 3_600.0
"""Wait for the first byte: FlatGeobuf and GeoPackage are written before they are sent."""

ByteProgress = Callable[[int, int | None], None]
"""Called with the bytes so far, and with all bytes if the server knows their number."""


class Downloads:
    """The routes whose answers are files."""

    def __init__(self, transport: HttpTransport) -> None:
        self._transport = transport

    def export(
        self,
        path: str | Path,
        *,
        suffix: str | None = None,
        on_progress: ByteProgress | None = None,
        **filters: Any,
    ) -> Json:
        """Export the images that match to a file, which is replaced only when it is complete.

        Args:
            path: The file; its ending selects the format.
            suffix: Format: `parquet`, `fgb`, `gpkg`, `geojsons`, `csv`; default: the ending.
            on_progress: Called after each received part.
            filters: Those of `images`, without `limit` and `cursor`; in addition
                `geoparquet_version` (`1.1`, `2.0`), `embeddings` (a channel) and `embedding_type`.

        Returns:
            `path`, `format`, `rows`, `bytes` and `seconds`.

        Raises:
            UnavailableError: The export ended early; the file is unchanged.
        """
        target = Path(path)
        chosen = (suffix or target.suffix.removeprefix(".")).lower()
        start_s, num_bytes = time.monotonic(), 0
        try:
            with (
                open_atomic(target, durable=True) as file,
                self._transport.stream(
                    f"/v1/exports/images.{chosen}",
                    query=to_form(filters),
                    timeout_s=EXPORT_TIMEOUT_S,
                ) as response,
            ):
                size = response.headers.get("Content-Length")
                num_rows = int(response.headers[ROWS_HEADER])
                for part in response.iter_raw():
                    file.write(part)
                    num_bytes += len(part)
                    if on_progress is not None:
                        on_progress(num_bytes, None if size is None else int(size))
        except OSError as error:
            raise BadRequestError(
                f"{target} cannot be written: {describe_cause(error)}", reason="unwritable"
            ) from error
        except UnavailableError as error:
            error.message = f"{error.message}; nothing was written to {target}"
            raise
        return {
            "path": str(target),
            "format": chosen,
            "rows": num_rows,
            "bytes": num_bytes,
            "seconds": round(time.monotonic() - start_s, 3),
        }
