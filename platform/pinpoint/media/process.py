"""One decoding child as its parent sees it: started when needed, ended without mercy."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import pinpoint
from pinpoint.errors import Unavailable
from pinpoint.media.checks import Refused
from pinpoint.media.sandbox import Measure, missing_measures
from pinpoint.media.wire import BrokenWire, Header, LateWire, TimedPipes
from pinpoint.settings import MediaSettings

CHILD_MODULE: Final = "pinpoint.media.child"
_START_S: Final = 30.0
_FILES_PER_CHILD: Final = 2_000
"""After so many files a child is replaced: what libraries leak stays bounded."""
_PIPE_BYTES: Final = 1 << 20
_F_SETPIPE_SZ: Final = 1031
_MALLOC: Final = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(64 << 20)}
"""The C library keeps up to 64 MB between files. Its own rule gave buffers back after each file or
kept them, by chance of the heap's layout: 640 x 480 JPEGs took 10.4 or 6.9 ms of CPU time."""

T = TypeVar("T")


class ChildProcess:
    """A child that reads one file at a time; not thread-safe, the pool lends it to one thread.

    Args:
        settings: Limits, and whether the sandbox is required.
        module: What the child runs. Tests run modules that attack from inside.
    """

    def __init__(self, settings: MediaSettings, module: str = CHILD_MODULE) -> None:
        self._settings, self._module = settings, module
        self._process: subprocess.Popen[bytes] | None = None
        self._pipes: TimedPipes | None = None
        self._owner = 0
        self._files = 0
        self._measures: tuple[Measure, ...] = ()

    @property
    def pid(self) -> int | None:
        """Process id while a child runs."""
        return self._process.pid if self._process else None

    def start(self) -> tuple[Measure, ...]:
        """Start the child unless it runs; what holds of its sandbox.

        Raises:
            Unavailable: No child can be started, or the sandbox is required and incomplete.
        """
        self._ready()
        return self._measures

    def exchange(
        self, header: Header, body: bytes, take: Callable[[Header, TimedPipes, float], T]
    ) -> T:
        """Send one file and take the answer.

        Args:
            header: The request.
            body: The file.
            take: Checks the answering header and reads what follows it; `BrokenWire` from it
                means that the child cannot be believed.

        Raises:
            Refused: `timeout`, `out_of_memory` or `decoder_crashed`; the child is gone then.
            Unavailable: No child can be started.
        """
        pipes = self._ready()
        deadline = time.monotonic() + self._settings.timeout_s
        try:
            pipes.send(header, body, deadline)
            result = take(pipes.header(deadline), pipes, deadline)
        except Refused as refused:
            # The child found a fault in the file; only memory may have left it damaged.
            self._count(replace=refused.reason == "out_of_memory")
            raise
        except LateWire as error:
            self.kill()
            limit = f"{self._settings.timeout_s:g} s (PINPOINT_MEDIA_TIMEOUT_S)"
            raise Refused("timeout", f"not read within {limit}") from error
        except BrokenWire as error:
            raise _verdict(self._end(patience_s=1.0), error) from error
        except BaseException:
            self.kill()
            raise
        self._count()
        return result

    def _count(self, *, replace: bool = False) -> None:
        self._files += 1
        if replace or self._files >= _FILES_PER_CHILD:
            self.kill()

    def kill(self) -> None:
        """End the child at once; the next file starts another."""
        self._end()

    def _ready(self) -> TimedPipes:
        """Pipes to a child that waits for work."""
        if self._owner != os.getpid():
            # A fork took our pipes along: the child belongs to the other process.
            self._process = self._pipes = None
        if self._process is not None and self._pipes is not None:
            if self._process.poll() is None and self._pipes.quiet():
                return self._pipes
            self._end()
        return self._start()

    def _start(self) -> TimedPipes:
        limits = {
            "parent": os.getpid(),
            "memory_mb": self._settings.memory_mb,
            "max_metadata_bytes": self._settings.max_metadata_bytes,
        }
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", self._module, json.dumps(limits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=_environment(),
            # Its own session: no terminal to write to, no signals of our process group.
            start_new_session=True,
        )
        if process.stdin is None or process.stdout is None:
            raise Unavailable("the decoding child has no pipes", reason="decoder_unavailable")
        self._process, self._owner, self._files = process, os.getpid(), 0
        for pipe in (process.stdin, process.stdout):
            _widen(pipe.fileno())
        self._pipes = TimedPipes(process.stdout.fileno(), process.stdin.fileno())
        try:
            ready = self._pipes.header(time.monotonic() + _START_S)
            self._measures = _read_measures(ready.get("sandbox"))
        except (BrokenWire, LateWire) as error:
            process.kill()
            said = process.stderr.read().decode("utf-8", "replace") if process.stderr else ""
            self._end()
            last = said.strip().splitlines()[-1:] or ["it says nothing"]
            raise Unavailable(
                f"the decoding child does not start: {last[0][:300]}", reason="decoder_unavailable"
            ) from error
        missing = missing_measures(self._measures)
        if missing and self._settings.sandbox == "required":
            self._end()
            raise Unavailable(
                f"the decoder's sandbox is incomplete: {'; '.join(missing)}. Use a system that has "
                "it (docs/hostile-files.md), or accept this with PINPOINT_MEDIA_SANDBOX=auto",
                reason="decoder_unavailable",
            )
        return self._pipes

    def _end(self, patience_s: float = 0.0) -> int | None:
        """Reap the child and close its pipes.

        Returns:
            Its own exit status; None where it had to be killed after `patience_s`.
        """
        process, self._process, self._pipes = self._process, None, None
        if process is None or self._owner != os.getpid():
            return None
        status: int | None
        try:
            status = process.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = None
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        return status


def describe_sandbox(settings: MediaSettings) -> tuple[Measure, ...]:
    """What holds of the sandbox on this machine, as a child started for this reports it.

    Takes as long as a child's start, about 0.2 s.

    Raises:
        Unavailable: No child can be started, or the sandbox is required and incomplete.
    """
    child = ChildProcess(settings)
    try:
        return child.start()
    finally:
        child.kill()


def _read_measures(value: object) -> tuple[Measure, ...]:
    try:
        items = value if isinstance(value, list) else []
        return tuple(Measure.from_wire(item) for item in items)
    except (ValueError, AttributeError) as error:
        raise BrokenWire(f"an unreadable report of the sandbox: {error}") from error


def _verdict(status: int | None, error: BrokenWire) -> Refused:
    """Why a child went away in the middle of a file."""
    if status == -signal.SIGXCPU:
        return Refused("timeout", "the file used up its CPU time")
    if status == -signal.SIGKILL:
        return Refused("out_of_memory", "the decoding child was killed, most likely for its memory")
    if status == -signal.SIGSYS:
        return Refused("decoder_crashed", "the file made the decoder try what its sandbox forbids")
    if status is None:
        return Refused("decoder_crashed", f"the decoding child lost its way: {error}")
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return Refused("decoder_crashed", f"the decoding child ended with {how}: {error}")


def _environment() -> dict[str, str]:
    """What the child may know of ours: where Python finds it, and nothing secret."""
    root = str(Path(pinpoint.__file__).resolve().parents[1])
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    inherited = os.environ.get("PYTHONPATH")
    one_thread = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "MALLOC_ARENA_MAX"), "1"
    )
    path = os.pathsep.join(part for part in (root, inherited) if part)
    return kept | one_thread | _MALLOC | {"PYTHONPATH": path, "LC_ALL": "C.UTF-8"}


def _widen(fd: int) -> None:
    """Larger pipes mean fewer switches; a system that forbids it keeps its small ones."""
    if sys.platform == "linux":
        import fcntl

        try:
            fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIPE_BYTES)
        except PermissionError:
            return
