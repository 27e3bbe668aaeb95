"""Start of a child that reads untrusted files: its pipes, its sandbox and its limits.

The decoding child and the C2PA child start in the same way and differ in what they load.
"""

from __future__ import annotations

import math
import os
import resource
import signal
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any, BinaryIO, Final

from pinpoint.media.decoding.pipe import write_all
from pinpoint.media.decoding.sandbox import Measure, confine
from pinpoint.parent_death import prepare_death_signal

_MAX_DESCRIPTORS: Final = 65_536
"""Descriptors that are closed at the start; the limit of the system may be a billion."""


def confine_child(
    limits: Mapping[str, Any], load_modules: Callable[[], None]
) -> tuple[BinaryIO, BinaryIO, tuple[Measure, ...]]:
    """Load everything that is read from files, then drop all rights except two pipes.

    Args:
        limits: `parent` (process id) and `memory_mb`.
        load_modules: Imports and configures what the child needs later.

    Returns:
        The pipe to read, the pipe to write, and the measures of the sandbox.
    """
    parent = int(limits["parent"])
    _exit_with_parent(parent)
    load_modules()
    stream_in, stream_out = _take_pipes()
    measures = confine(int(limits["memory_mb"]) * 1_000_000, lambda: _exit_with_parent(parent))
    return stream_in, stream_out, measures


def write_ready(stream: BinaryIO, measures: Iterable[Measure]) -> None:
    """Write the first message: the measures of the sandbox."""
    write_all(stream, {"ready": True, "sandbox": [measure.to_wire() for measure in measures]}, ())


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Take over stdin and stdout and close all other descriptors; discard prints of libraries."""
    stream_in = os.fdopen(os.dup(0), "rb", buffering=1 << 20)
    stream_out = os.fdopen(os.dup(1), "wb", buffering=1 << 20)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(nowhere, fd)
    first, last = sorted((stream_in.fileno(), stream_out.fileno()))
    for low, high in ((3, first), (first + 1, last), (last + 1, _MAX_DESCRIPTORS)):
        os.closerange(low, high)
    return stream_in, stream_out


def set_cpu_limit(seconds: float) -> None:
    """Limit the CPU time of the next file; the time used by earlier files is added."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    until = math.ceil(usage.ru_utime + usage.ru_stime + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (until, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _exit_with_parent(parent: int) -> None:
    """Exit when the parent exits.

    The kernel sends the signal when the *thread* that started this process ends, so the handler
    checks that the parent process has ended. A waiting child also gets the end of its pipe.
    """

    def exit_if_orphaned(_signal: int, _frame: FrameType | None) -> None:
        if os.getppid() != parent:
            os._exit(0)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, exit_if_orphaned)
    prepare_death_signal(signal.SIGTERM)()
    if os.getppid() != parent:
        os._exit(0)
