"""Sends an export: slots, time limits, slow clients, and the audit log.

An export takes longer than the time budget of a request, and has a budget of its own. The number of
concurrent exports is limited instead of the lane's slots, which the start of an answer releases.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import anyio
from anyio import to_thread
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from pinpoint import deadline, logs
from pinpoint.api.admission import make_overloaded
from pinpoint.errors import PinpointError
from pinpoint.http_headers import ROWS_HEADER
from pinpoint.records import ExportRows

PIECE_BYTES: Final = 256 << 10
"""Bytes that a client must accept within `SLOW_CLIENT_S`."""
SLOW_CLIENT_S: Final = 30.0
_CLOSE_S: Final = 10.0

_log = logs.get_logger(__name__)


class ExportSlots:
    """Limits the number of concurrent exports. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_running: Counter[UUID] = Counter()

    @contextmanager
    def occupy(self, organization_id: UUID, max_running: int) -> Iterator[None]:
        """Hold a slot; one organization has at most half of the slots.

        Raises:
            UnavailableError: No slot is free (`overloaded`).
        """
        with self._lock:
            num_all, num_same = self._num_running.total(), self._num_running[organization_id]
            if num_all >= max_running or num_same >= max(1, max_running // 2):
                raise make_overloaded("other exports are running (PINPOINT_EXPORT_MAX_RUNNING)")
            self._num_running[organization_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._num_running[organization_id] -= 1


class ExportStream:
    """One export from its first statement to its row in the audit log.

    Args:
        slot: Held from the first statement to the end.
        open_rows: Opens the rows; the transaction ends with the context.
        write_parts: Turns rows into the parts of the file, and may register what to close.
        log_rows: Writes the audit log, given the number of rows that were read.
    """

    def __init__(
        self,
        slot: AbstractContextManager[None],
        open_rows: Callable[[], AbstractContextManager[ExportRows]],
        write_parts: Callable[[ExportRows, ExitStack], tuple[Generator[bytes], int | None]],
        log_rows: Callable[[int], None],
    ) -> None:
        self._slot, self._open_rows = slot, open_rows
        self._write_parts, self._log_rows = write_parts, log_rows
        self._stack = ExitStack()
        self._parts: Iterator[bytes] = iter(())
        self._is_canceled = threading.Event()
        self._is_open = False
        self._num_read = 0
        self.num_rows = 0
        """Number of all rows."""
        self.size_bytes: int | None = None
        """Size of the file; None if it is not known before its end."""

    def open(self) -> None:
        """Start the export; a format that is sent as a whole file is written here.

        Raises:
            PinpointError: The export cannot start.
        """
        self._stack.enter_context(self._slot)
        self._stack.callback(self._log_read_rows)
        rows = self._stack.enter_context(self._open_rows())
        self._is_open, self.num_rows = True, rows.num_rows
        counted = replace(rows, batches=self._count_batches(rows))
        parts, self.size_bytes = self._write_parts(counted, self._stack)
        self._parts = self._stack.enter_context(closing(parts))

    def next_part(self) -> bytes | None:
        """Return the next part of the file; None at its end."""
        return next(self._parts, None)

    @property
    def is_canceled(self) -> bool:
        """Whether the client has left."""
        return self._is_canceled.is_set()

    def cancel(self) -> None:
        """Let the reading end at the next batch."""
        self._is_canceled.set()

    def close(self) -> None:
        """End the transaction, delete temporary files, release the slot and write the audit log.

        A second call does nothing.
        """
        with deadline.apply_deadline(deadline.Deadline(_CLOSE_S)):
            self._stack.close()

    def _log_read_rows(self) -> None:
        if self._is_open:
            self._log_rows(self._num_read)

    def _count_batches(self, rows: ExportRows) -> Iterator[Any]:
        for batch in rows.batches:
            if self._is_canceled.is_set():
                raise ClientDisconnect
            self._num_read += batch.num_rows
            yield batch


class ExportResponse(Response):
    """The answer of an export, in pieces, as fast as the client reads.

    A failure after the first piece closes the connection, so that no client takes a part of the
    file for the whole.
    """

    def __init__(
        self, export: ExportStream, timeout_s: float, media_type: str, file_name: str
    ) -> None:
        self._export, self._timeout_s = export, timeout_s
        self.media_type = media_type
        self.status_code = 200
        self.background = None
        self.body = b""
        self.init_headers({"Content-Disposition": f'attachment; filename="{file_name}"'})
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open, send and close the export."""
        budget = deadline.current_deadline()
        watcher = asyncio.create_task(self._watch_client(receive))
        with (
            nullcontext() if budget is None else budget.pause(),
            deadline.apply_deadline(deadline.Deadline(self._timeout_s)),
        ):
            try:
                await to_thread.run_sync(self._export.open)
                await self._send_export(send)
            finally:
                watcher.cancel()
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(self._export.close)

    async def _watch_client(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            continue
        self._export.cancel()

    async def _send_export(self, send: Send) -> None:
        self.headers[ROWS_HEADER] = str(self._export.num_rows)
        if self._export.size_bytes is not None:
            self.headers["Content-Length"] = str(self._export.size_bytes)
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            while (part := await to_thread.run_sync(self._export.next_part)) is not None:
                for start in range(0, len(part), PIECE_BYTES):
                    await self._send_piece(part[start : start + PIECE_BYTES], send)
        except (PinpointError, TimeoutError) as error:
            reason = "slow_client" if isinstance(error, TimeoutError) else error.reason
            _log.warning("export ended early; connection closed", reason=reason, cause=repr(error))
            raise ClientDisconnect from error
        # A client that has the whole file may start the next export, and finds its audit row.
        await to_thread.run_sync(self._export.close)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_piece(self, piece: bytes, send: Send) -> None:
        if self._export.is_canceled:
            raise ClientDisconnect
        async with asyncio.timeout(SLOW_CLIENT_S):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
