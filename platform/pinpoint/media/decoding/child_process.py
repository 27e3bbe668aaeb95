"""One decoding child, from the parent's side: started on demand, killed on any fault."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from pinpoint.errors import UnavailableError
from pinpoint.media.checks import RejectedFileError
from pinpoint.media.decoding.child_environment import build_child_environment
from pinpoint.media.decoding.pipe import Header, PipeBrokenError, PipeTimeoutError, TimedPipes
from pinpoint.media.decoding.sandbox import Measure, missing_measures
from pinpoint.settings import MediaSettings

CHILD_MODULE: Final = "pinpoint.media.decoding.child"
_START_S: Final = 30.0
_FILES_PER_CHILD: Final = 2_000
"""Number of files after which a child is replaced; this bounds leaks of libraries."""
_PIPE_BYTES: Final = 1 << 20
_F_SETPIPE_SZ: Final = 1031

T = TypeVar("T")


class ChildProcess:
    """A child that decodes one file at a time; not thread-safe, used by one thread at a time.

    Args:
        settings: Limits, and whether the sandbox is required.
        module: Module that the child runs. Tests run modules that attack from inside.
        options: What this module needs besides the limits, as JSON values.
    """

    def __init__(
        self,
        settings: MediaSettings,
        module: str = CHILD_MODULE,
        options: Mapping[str, object] | None = None,
    ) -> None:
        self._settings, self._module, self._options = settings, module, options or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._pipes: TimedPipes | None = None
        self._owner = 0
        self._files = 0
        self._measures: tuple[Measure, ...] = ()

    @property
    def pid(self) -> int | None:
        """Process id of the running child, or None."""
        return self._process.pid if self._process else None

    def start(self) -> tuple[Measure, ...]:
        """Start the child unless it runs; returns the measures of its sandbox.

        Raises:
            UnavailableError: No child can be started, or the sandbox is required and incomplete.
        """
        self._ensure_started()
        return self._measures

    def exchange(
        self, header: Header, body: bytes, read_answer: Callable[[Header, TimedPipes, float], T]
    ) -> T:
        """Send one file and read the answer.

        Args:
            header: The request.
            body: The file.
            read_answer: Checks the header of the answer and reads its body. It raises
                `PipeBrokenError` if the answer is invalid.

        Raises:
            RejectedFileError: `timeout`, `out_of_memory` or `decoder_crashed`; the child has ended
                then.
            UnavailableError: No child can be started.
        """
        pipes = self._ensure_started()
        deadline = time.monotonic() + self._settings.timeout_s
        try:
            pipes.send(header, body, deadline)
            result = read_answer(pipes.header(deadline), pipes, deadline)
        except RejectedFileError as refused:
            # The child refused the file; it may be damaged only after a lack of memory.
            self._count_file(replace=refused.reason == "out_of_memory")
            raise
        except PipeTimeoutError as error:
            self.kill()
            limit = f"{self._settings.timeout_s:g} s (PINPOINT_MEDIA_TIMEOUT_S)"
            raise RejectedFileError("timeout", f"not read within {limit}") from error
        except PipeBrokenError as error:
            raise _classify_exit(self._end_child(patience_s=1.0), error) from error
        except BaseException:
            self.kill()
            raise
        self._count_file()
        return result

    def _count_file(self, *, replace: bool = False) -> None:
        self._files += 1
        if replace or self._files >= _FILES_PER_CHILD:
            self.kill()

    def kill(self) -> None:
        """Kill the child immediately; the next file starts another."""
        self._end_child()

    def _ensure_started(self) -> TimedPipes:
        """Pipes to a child that is ready for work."""
        if self._owner != os.getpid():
            # After a fork, the child belongs to the other process.
            self._process = self._pipes = None
        if self._process is not None and self._pipes is not None:
            if self._process.poll() is None and self._pipes.quiet():
                return self._pipes
            self._end_child()
        return self._start_child()

    def _start_child(self) -> TimedPipes:
        limits = {
            "parent": os.getpid(),
            "memory_mb": self._settings.memory_mb,
            "max_metadata_bytes": self._settings.max_metadata_bytes,
            **self._options,
        }
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", self._module, json.dumps(limits)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=build_child_environment(),
            # A new session: no terminal, and no signals of the parent's process group.
            start_new_session=True,
        )
        if process.stdin is None or process.stdout is None:
            raise UnavailableError("the decoding child has no pipes", reason="decoder_unavailable")
        self._process, self._owner, self._files = process, os.getpid(), 0
        for pipe in (process.stdin, process.stdout):
            _enlarge_pipe(pipe.fileno())
        self._pipes = TimedPipes(process.stdout.fileno(), process.stdin.fileno())
        try:
            ready = self._pipes.header(time.monotonic() + _START_S)
            self._measures = _read_measures(ready.get("sandbox"))
        except (PipeBrokenError, PipeTimeoutError) as error:
            process.kill()
            stderr_text = process.stderr.read().decode("utf-8", "replace") if process.stderr else ""
            self._end_child()
            last_line = stderr_text.strip().splitlines()[-1:] or ["it says nothing"]
            raise UnavailableError(
                f"the decoding child does not start: {last_line[0][:300]}",
                reason="decoder_unavailable",
            ) from error
        missing = missing_measures(self._measures)
        if missing and self._settings.sandbox == "required":
            self._end_child()
            raise UnavailableError(
                f"the decoder's sandbox is incomplete: {'; '.join(missing)}. Use a system that has "
                "it (docs/explanation/hostile-files.md), or accept this with "
                "PINPOINT_MEDIA_SANDBOX=auto",
                reason="decoder_unavailable",
            )
        return self._pipes

    def _end_child(self, patience_s: float = 0.0) -> int | None:
        """Reap the child and close its pipes.

        Returns:
            The exit status; None if the child was killed after `patience_s` seconds.
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
    """Measures of the sandbox on this machine, as reported by a child started for this call.

    Takes about 0.2 s, the time to start a child.

    Raises:
        UnavailableError: No child can be started, or the sandbox is required and incomplete.
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
        raise PipeBrokenError(f"an unreadable report of the sandbox: {error}") from error


def _classify_exit(status: int | None, error: PipeBrokenError) -> RejectedFileError:
    """Classify why a child ended while decoding a file."""
    if status == -signal.SIGXCPU:
        return RejectedFileError("timeout", "the file used up its CPU time")
    if status == -signal.SIGKILL:
        return RejectedFileError(
            "out_of_memory", "the decoding child was killed, most likely for its memory"
        )
    if status == -signal.SIGSYS:
        return RejectedFileError(
            "decoder_crashed", "the file made the decoder try what its sandbox forbids"
        )
    if status is None:
        return RejectedFileError("decoder_crashed", f"the decoding child lost its way: {error}")
    how = f"signal {-status}" if status < 0 else f"status {status}"
    return RejectedFileError("decoder_crashed", f"the decoding child ended with {how}: {error}")


def _enlarge_pipe(fd: int) -> None:
    """Enlarge a pipe for fewer context switches, if the system permits it."""
    if sys.platform == "linux":
        import fcntl

        try:
            fcntl.fcntl(fd, _F_SETPIPE_SZ, _PIPE_BYTES)
        except PermissionError:
            return
