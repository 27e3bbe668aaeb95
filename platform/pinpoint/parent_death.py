"""Ends a process together with its parent (`PR_SET_PDEATHSIG` of Linux)."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def prepare_death_signal(number: signal.Signals) -> Callable[[], None]:
    """Make a function that asks the kernel for signal `number` when this process's parent ends.

    The kernel counts the end of the *thread* that started the process. The library is loaded here,
    so that the function can run between fork and exec (`preexec_fn`). Other systems than Linux have
    no such signal; the function then does nothing.
    """
    if sys.platform != "linux":
        return lambda: None
    prctl = ctypes.CDLL(None).prctl

    def set_death_signal() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)

    return set_death_signal
