"""The decoding child without Landlock; as root, also without the capability to end processes.

The kernel removes them as an old kernel or a container does: a filter answers the calls of Landlock
with ENOSYS, and the set of capabilities is smaller.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

from pinpoint.media.decoding import child
from pinpoint.media.decoding.seccomp import install_program, running_architecture

CAP_SETGID, CAP_SETUID = 6, 7
_LIBC = ctypes.CDLL(None, use_errno=True)


def without_landlock() -> None:
    architecture = running_architecture()
    number = architecture.numbers["landlock_create_ruleset"]
    program = [
        (0x20, 0, 0, 0),
        (0x15, 0, 1, number),
        (0x06, 0, 0, 0x00050000 | errno.ENOSYS),
        (0x06, 0, 0, 0x7FFF0000),
    ]
    assert _LIBC.prctl(38, 1, 0, 0, 0) == 0
    install_program(architecture, program)


def without_kill() -> None:
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    kept = 1 << CAP_SETGID | 1 << CAP_SETUID
    assert _LIBC.capset(header, (ctypes.c_uint32 * 6)(kept, kept, 0, 0, 0, 0)) == 0


if __name__ == "__main__":
    without_landlock()
    if os.geteuid() == 0:
        without_kill()
    sys.exit(child.main(sys.argv))
