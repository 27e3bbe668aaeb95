"""Reads the C2PA claims of query photos in limited children."""

from __future__ import annotations

import importlib.util
import queue
from typing import Final

import structlog

from pinpoint.errors import UnavailableError
from pinpoint.media.c2pa.manifest_claim import decode_claim
from pinpoint.media.checks import RejectedFileError
from pinpoint.media.decoding.child_process import ChildProcess
from pinpoint.media.decoding.pipe import Header, PipeBrokenError, TimedPipes
from pinpoint.media.sniff import HEAD_BYTES, sniff_format
from pinpoint.records import C2paClaim
from pinpoint.settings import MediaSettings

C2PA_CHILD_MODULE: Final = "pinpoint.media.c2pa.child"
C2PA_TIMEOUT_S: Final = 3.0
"""Time for one manifest; a signed 100 MB photo takes 0.8 s."""
NOT_INSTALLED: Final = "the extra pinpoint[c2pa] is not installed"

_MARKS: Final = (b"c2pa", b"provenance")
"""Bytes of a manifest store (its box is so labeled) and of XMP with the URL of a remote one."""

_log = structlog.get_logger(__name__)


class C2paReader:
    """A pool of C2PA children; thread-safe, each call uses one child.

    Args:
        settings: Limits, sandbox and trust list.
        children: Number of manifests read concurrently. Children start on first use, so that an
            installation whose photos have no manifest has none.
    """

    def __init__(self, settings: MediaSettings, children: int = 1) -> None:
        settings = settings.model_copy(
            update={"timeout_s": min(C2PA_TIMEOUT_S, settings.timeout_s)}
        )
        trust_list = settings.c2pa_trust_list
        options = {"c2pa_trust_list": None if trust_list is None else str(trust_list)}
        self._settings = settings
        self._size = children
        self._free_children: queue.LifoQueue[ChildProcess] = queue.LifoQueue()
        for _ in range(children):
            self._free_children.put(ChildProcess(settings, C2PA_CHILD_MODULE, options))

    def read(self, data: bytes) -> C2paClaim:
        """The claim of an image file.

        A manifest that ends its child or takes too long is `not_checked`, with the reason: the
        answer for a photo does not depend on its manifest.
        """
        if not is_installed():
            return C2paClaim(state="not_checked", state_reason=NOT_INSTALLED)
        if not any(mark in data for mark in _MARKS):
            return C2paClaim(state="absent")
        kind = sniff_format(data[:HEAD_BYTES])
        if kind is None:
            return C2paClaim(state="not_checked", state_reason="the format is not read")
        child = self._free_children.get()
        try:
            request: Header = {
                "size": len(data),
                "format": kind,
                "cpu_s": self._settings.timeout_s + 1.0,
            }
            return child.exchange(request, data, _read_answer)
        except (RejectedFileError, UnavailableError) as error:
            _log.warning("c2pa_not_checked", reason=str(error))
            return C2paClaim(state="not_checked", state_reason=str(error)[:200])
        finally:
            self._free_children.put(child)

    def close(self) -> None:
        """End the children after their current files."""
        for child in [self._free_children.get() for _ in range(self._size)]:
            child.kill()
            self._free_children.put(child)


def is_installed() -> bool:
    """Whether the extra `c2pa` is installed."""
    return importlib.util.find_spec("c2pa") is not None


def _read_answer(header: Header, _pipes: TimedPipes, _deadline: float) -> C2paClaim:
    """Check a child's answer; the child is not trusted.

    Raises:
        RejectedFileError: The child lacked memory.
        PipeBrokenError: The answer is not valid.
    """
    if header.get("reason") == "out_of_memory":
        raise RejectedFileError("out_of_memory", "over the memory limit")
    try:
        return decode_claim(header.get("claim"))
    except ValueError as error:
        raise PipeBrokenError(f"nonsense from the child: {error}") from error
