"""Process that opens one build of the index, and the owner's handle of that process.

Qdrant Edge holds the interpreter's lock during a call: opening a build takes half a second at
100,000 images. In a separate process no other thread needs that lock. The process
(`python -m pinpoint.stack.index.engine_process`) has one connection, an inherited socket. It
answers frames one by one and flushes often. It ends with its owner.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from pinpoint import logs
from pinpoint.errors import IndexUnavailableError, PinpointError
from pinpoint.file_locks import try_lock
from pinpoint.settings_file import load_settings
from pinpoint.stack.supervisor.processes import kill_with_parent
from pinpoint.store.vectors.edge import EdgeIndex
from pinpoint.store.vectors.rpc import codec
from pinpoint.store.vectors.rpc.handlers import handle_request

FLUSH_S: Final = 5.0
FLUSH_WRITES: Final = 4_096
SHUTDOWN_GRACE_S: Final = 10.0
"""Longest wait for another process to close a build, and for an engine to exit, seconds."""
_POLL_S: Final = 0.5


class EngineProcess:
    """The owner's handle of a process that has one build open.

    A thread starts the process and waits for its exit. The kernel kills the process when that
    thread ends, which happens only when the owner ends.

    Args:
        folder: Folder of the build.
        on_exit: Called once, in that thread, when the process has ended for any reason.

    Raises:
        IndexUnavailableError: The build cannot be opened.
    """

    def __init__(self, folder: Path, on_exit: Callable[[EngineProcess], None]) -> None:
        self._folder = folder
        self._on_exit = on_exit
        self._process: subprocess.Popen[bytes] | None = None
        self._started, self._exited = threading.Event(), threading.Event()
        ours, theirs = socket.socketpair()
        # Closed with this object, when no thread can read from it any more.
        self._link = Connection(ours.detach())
        threading.Thread(
            target=self._run_process, args=(theirs,), name="index-engine", daemon=True
        ).start()
        self._started.wait()
        response, _ = codec.decode(self._receive_frame())
        if "error" in response:
            codec.raise_error(response["error"])

    def _run_process(self, theirs: socket.socket) -> None:
        command = [sys.executable, "-P", "-m", "pinpoint.stack.index.engine_process"]
        command += ["--folder", str(self._folder), "--parent", str(os.getpid())]
        command += ["--link", str(theirs.fileno())]
        try:
            with theirs:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
                )
        except OSError:
            logs.get_logger(__name__).exception("index.engine_not_started")
        self._started.set()
        if self._process is not None:
            self._process.wait()
        self._exited.set()
        self._on_exit(self)

    @property
    def folder(self) -> Path:
        """Folder of the build."""
        return self._folder

    def exchange(self, frame: bytes) -> bytes:
        """Send a frame and return the answer; for one thread at a time.

        Raises:
            IndexUnavailableError: The process has ended.
        """
        try:
            self._link.send_bytes(frame)
        except OSError as error:
            raise self._kill_and_make_error() from error
        return self._receive_frame()

    def _receive_frame(self) -> bytes:
        try:
            return self._link.recv_bytes(codec.MAX_FRAME)
        except (OSError, EOFError) as error:
            raise self._kill_and_make_error() from error

    def _kill_and_make_error(self) -> IndexUnavailableError:
        # A live process is killed too: its next frame could be the answer to this request.
        self.kill()
        return IndexUnavailableError(
            "the engine of the index has ended; the owner restarts it; see the owner's log"
        )

    def status(self) -> int | None:
        """Exit status, negative for a signal; None while it runs or if it never started."""
        return None if self._process is None else self._process.returncode

    def kill(self) -> None:
        """Kill the process; acknowledged writes are in the write-ahead log."""
        if self._process is not None:
            self._process.kill()

    def end(self) -> None:
        """Terminate the process after a flush; kill it if it does not end."""
        if self._process is not None:
            self._process.terminate()
        if not self.await_end():
            self.kill()

    def await_end(self) -> bool:
        """Wait until the process has ended; return whether it has."""
        return self._exited.wait(SHUTDOWN_GRACE_S)


@contextlib.contextmanager
def _lock_build(folder: Path) -> Iterator[None]:
    """Lock a build against other engines, including an orphan of a killed owner.

    Raises:
        IndexUnavailableError: Another engine keeps the build open, or the build does not exist.
    """
    with contextlib.ExitStack() as stack:
        try:
            is_locked = stack.enter_context(
                try_lock(folder / "engine.lock", timeout_s=SHUTDOWN_GRACE_S)
            )
        except OSError as error:
            raise IndexUnavailableError(
                "the index's build cannot be opened; run `pinpoint index rebuild`"
            ) from error
        if not is_locked:
            raise IndexUnavailableError("another process has the index's build open; end it")
        yield


def serve_build(folder: Path, link: Connection) -> None:
    """Open a build and answer until the owner closes the connection."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_lock_build(folder))
            index = EdgeIndex(folder)
        except PinpointError as error:
            link.send_bytes(codec.encode(codec.pack_error(error)))
            raise
        stack.callback(index.close)
        link.send_bytes(codec.encode({}))
        flushing = _PeriodicFlush(index)
        while True:
            try:
                if link.poll(_POLL_S):
                    link.send_bytes(handle_request(index, link.recv_bytes(codec.MAX_FRAME)))
            except (EOFError, OSError):
                return
            flushing.flush_if_due()


class _PeriodicFlush:
    """Flushes after `FLUSH_WRITES` writes or `FLUSH_S` seconds, to limit the cost of a crash."""

    def __init__(self, index: EdgeIndex) -> None:
        self._index = index
        self._checked_at = self._flushed_at = time.monotonic()

    def flush_if_due(self) -> None:
        """Flush if it is due; checks at most twice a second."""
        now = time.monotonic()
        if now - self._checked_at < _POLL_S:
            return
        self._checked_at = now
        waiting = self._index.unflushed
        if waiting >= FLUSH_WRITES or (waiting and now - self._flushed_at >= FLUSH_S):
            try:
                self._index.flush()
                self._flushed_at = now
            except Exception:
                # The next check retries; until then the write-ahead log has the writes.
                logs.get_logger(__name__).exception("index.flush_failed")


def main() -> None:
    """Open the given build and answer at the inherited socket."""
    parser = argparse.ArgumentParser(prog="pinpoint.stack.index.engine_process")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--link", type=int, required=True, help="descriptor of the socket")
    arguments = parser.parse_args()
    kill_with_parent(arguments.parent)
    # Ctrl-C signals the whole process group; only the owner may end this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    logs.configure(load_settings().log)
    try:
        serve_build(arguments.folder, Connection(arguments.link))
    except PinpointError as error:
        logs.get_logger(__name__).error(
            "index.engine_failed", reason=error.reason, detail=error.message
        )
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
