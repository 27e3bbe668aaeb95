"""Resolution of names within a time limit.

The resolver of the system takes no time limit from its caller, so each call has a thread of its
own. A thread whose answer comes too late ends by itself, and the number of threads is limited.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final

RESOLVE_TIMEOUT_S: Final = 10.0
"""Longest wait for the addresses of a name, seconds."""
_MAX_THREADS: Final = 32

Resolve = Callable[[str, int], Sequence[str]]
"""Maps a name and a port to addresses; raises `OSError` if the name is unknown."""

_free_threads = threading.BoundedSemaphore(_MAX_THREADS)


def resolve_name(host: str, port: int) -> list[str]:
    """Addresses of a name from the resolver of the system, in its order."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def resolve_in_time(resolve: Resolve, host: str, port: int, timeout_s: float) -> Sequence[str]:
    """Addresses of a name, or an error when the time is over.

    Args:
        resolve: Resolves names; it may block.
        host: The name.
        port: The port.
        timeout_s: Longest wait for a free thread, and then for the answer, seconds.

    Raises:
        TimeoutError: No answer came in time; the resolver continues in its thread.
        OSError: As `resolve`.
    """
    if not _free_threads.acquire(timeout=timeout_s):
        raise TimeoutError("too many names are being resolved")
    answer: Future[Sequence[str]] = Future()

    def run() -> None:
        try:
            answer.set_result(resolve(host, port))
        except Exception as error:
            answer.set_exception(error)
        finally:
            _free_threads.release()

    threading.Thread(target=run, name=f"resolve {host[:64]}", daemon=True).start()
    return answer.result(timeout_s)
