"""The confined child as an ordinary user starts it, for test runs of root.

Root loads what lies in folders that others may not read, becomes that user, and forks: the parent
of the confined process is then an ordinary process of the same user, as a worker is.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys

import pillow_heif  # noqa: F401 - read while this is root

from media.probes import serve
from pinpoint.media.decoding.child import start_confined
from pinpoint.media.decoding.child_start import write_ready
from pinpoint.media.decoding.warmup import load_everything

USER = 54_321
_PR_SET_DUMPABLE = 4


def become_user() -> None:
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    # As a process has it that was executed by this user: /proc and ptrace are open to the user.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)


def wait_for(pid: int) -> None:
    """End as the child ended."""
    for fd in (0, 1, 2):
        os.close(fd)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    limits = json.loads(sys.argv[1])
    load_everything()
    become_user()
    limits["parent"] = os.getpid()
    pid = os.fork()
    if pid:
        wait_for(pid)
    reading, writing, measures = start_confined(limits)
    write_ready(writing, measures)
    serve(reading, writing)
