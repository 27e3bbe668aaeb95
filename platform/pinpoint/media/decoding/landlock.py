"""Landlock for the decoder: denies files, TCP ports, foreign signals and abstract sockets.

The rule set handles every right of the running kernel and grants none. Open descriptors stay
usable.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import Final

from pinpoint.media.decoding.syscalls import SHARED_NUMBERS

_GET_VERSION: Final = 1
_FILE_RIGHTS_BY_ABI: Final = ((1, 13), (2, 14), (3, 15), (5, 16))
"""`(ABI, number of file rights)`: 13 of Linux 5.13, REFER 5.19, TRUNCATE 6.2, IOCTL_DEV 6.10."""
_NET_ABI: Final = 4
"""Linux 6.7: binding and connecting TCP sockets."""
_SCOPE_ABI: Final = 6
"""Linux 6.12: abstract Unix sockets and signals of processes outside."""
_WHY: Final = {
    errno.ENOSYS: "the kernel has no Landlock (Linux 5.13 or later)",
    errno.EOPNOTSUPP: "Landlock is switched off (the kernel's `lsm=` option)",
    errno.EPERM: "the container's seccomp profile forbids Landlock",
}


def pack_ruleset(abi: int) -> bytes:
    """`struct landlock_ruleset_attr` of one ABI version, with every right handled."""
    rights = max(count for version, count in _FILE_RIGHTS_BY_ABI if version <= abi)
    fields = [(1 << rights) - 1]
    if abi >= _NET_ABI:
        fields.append(0b11)
    if abi >= _SCOPE_ABI:
        fields.append(0b11)
    return struct.pack(f"={len(fields)}Q", *fields)


def restrict_self() -> str:
    """Permanently drop all rights of Landlock in this thread and the threads that it starts.

    `no_new_privs` must be set, and no other thread may run.

    Returns:
        The effect, as text.

    Raises:
        OSError: The kernel has no Landlock; `strerror` has the reason.
    """
    abi = _call_kernel("landlock_create_ruleset", None, 0, _GET_VERSION)
    attributes = pack_ruleset(abi)
    ruleset = _call_kernel("landlock_create_ruleset", attributes, len(attributes), 0)
    try:
        _call_kernel("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
    denied = "files" + ", TCP" * (abi >= _NET_ABI) + ", signals" * (abi >= _SCOPE_ABI)
    return f"ABI {abi}: {denied}"


def _call_kernel(name: str, *arguments: bytes | int | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    packed = [
        ctypes.c_ulong(value) if isinstance(value, int) else ctypes.c_char_p(value)
        for value in arguments
    ]
    result = int(libc.syscall(ctypes.c_long(SHARED_NUMBERS[name]), *packed))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, _WHY.get(code, f"{name}: {os.strerror(code)}"))
    return result
