"""The process that owns the embedded index: `python -m pinpoint.stack.index.owner`.

It has the socket, the lock of the folder, the record of written ids and the rebuild. A separate
engine process opens the build; the owner restarts it when it ends. While the index loads, the owner
answers with `ready` false. It closes cleanly on SIGTERM.
"""

from __future__ import annotations

import argparse
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pinpoint import logs
from pinpoint.errors import PinpointError, StackError
from pinpoint.file_locks import try_lock
from pinpoint.settings_file import load_settings
from pinpoint.stack.index.build import DEFAULT_POINTS
from pinpoint.stack.index.swap import RebuildableIndex
from pinpoint.stack.paths import StackPaths
from pinpoint.store.vectors.rpc.server import IndexServer

_RELOAD_INTERVAL_S: Final = 5.0
_LOADS_BEFORE_REBUILD: Final = 6
"""A build that cannot be opened for half a minute is rebuilt from PostgreSQL."""
_STOP_SIGNALS: Final = {signal.SIGTERM, signal.SIGINT}


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock the folder for this process; the lock file contains its process id.

    Raises:
        StackError: Another process holds the lock.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock_file = folder / "owner.lock"
    with try_lock(lock_file) as is_locked:
        if not is_locked:
            holder = lock_file.read_text().strip() or "unknown"
            raise StackError(
                f"the index in {folder} is owned by process {holder}; stop it first "
                "(`pinpoint down`)"
            )
        lock_file.write_text(f"{os.getpid()}\n")
        yield


def _load_until_open(index: RebuildableIndex, stop: threading.Event) -> None:
    num_failed = 0
    while not stop.wait(_RELOAD_INTERVAL_S):
        num_failed = num_failed + 1 if index.load_again() else 0
        if num_failed and num_failed % _LOADS_BEFORE_REBUILD == 0:
            logs.get_logger(__name__).warning("index.rebuild_started", failed_loads=num_failed)
            index.rebuild()


def serve_index(folder: Path, socket: Path, points: str) -> None:
    """Serve the index in `folder` at `socket` until SIGTERM or SIGINT.

    Raises:
        StackError: Another process owns the folder or the socket.
    """
    signal_pipe = _open_signal_pipe()
    log = logs.get_logger(__name__)
    stop = threading.Event()
    with lock_folder(folder):
        index = RebuildableIndex(folder, points)
        server = IndexServer(socket, index)
        server.start()
        index.load()
        threading.Thread(target=_load_until_open, args=(index, stop), daemon=True).start()
        info = index.info()
        log.info("index.serving", socket=str(socket), build=info.build, points=info.points)
        (received,) = os.read(signal_pipe, 1)
        log.info("index.closing", signal=signal.Signals(received).name)
        stop.set()
        server.close()
        index.close()


def _open_signal_pipe() -> int:
    """Read end of a pipe that receives one byte for each stop signal, in any thread.

    `sigwait` is not enough: numpy starts threads at import, before a signal mask could be set, and
    a signal that arrives before the wait would end the process through one of them.
    """
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    signal.set_wakeup_fd(write_end)
    for stop_signal in _STOP_SIGNALS:
        signal.signal(stop_signal, lambda number, frame: None)
    return read_end


def main() -> None:
    """Read settings and arguments, then serve."""
    settings = load_settings()
    logs.configure(settings.log)
    paths = StackPaths(settings.services.home)
    parser = argparse.ArgumentParser(prog="pinpoint.stack.index.owner")
    parser.add_argument("--folder", type=Path, default=paths.index_dir)
    parser.add_argument("--socket", type=Path, default=paths.index_socket)
    parser.add_argument("--points", default=DEFAULT_POINTS, help="module:function of PointSource")
    arguments = parser.parse_args()
    try:
        serve_index(arguments.folder, arguments.socket, arguments.points)
    except PinpointError as error:
        logs.get_logger(__name__).error(
            "index.owner_failed", reason=error.reason, detail=error.message
        )
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
