"""Sandbox of the decoding child: the rights that it drops before the first untrusted byte.

`confine` runs once, after all imports. Each measure reports its state. If this system lacks a
measure, the others are still applied. `docs/explanation/hostile-files.md` describes the purpose of
each one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, get_args

from pinpoint.media.decoding import landlock, seccomp

SandboxState = Literal["active", "unavailable", "not_applicable"]

_STATES: Final[Mapping[str, SandboxState]] = {state: state for state in get_args(SandboxState)}

CHILD_UID: Final = 65_533
"""User and group of children started as root.

No distribution and no systemd assigns this number (systemd reserves 65,520 to 65,533, Debian 65,000
to 65,533), so only decoding children have this user; `nobody` owns processes and files of other
services. It is below 65,536, because user namespaces often map no higher ids.
"""
MAX_TASKS: Final = 4_096
"""Maximum number of threads of all children of `CHILD_UID` on a machine: about 450 children that
decode HEIC concurrently."""

_CAP_KILL, _CAP_SETGID, _CAP_SETUID = 5, 6, 7
_NEEDED_TO_SWITCH: Final = {
    "CAP_SETUID": _CAP_SETUID,
    "CAP_SETGID": _CAP_SETGID,
    "CAP_KILL": _CAP_KILL,  # required by the parent to end its child
}
_PR_SET_NO_NEW_PRIVS: Final = 38
_CAPABILITY_VERSION_3: Final = 0x20080522
_LINUX_ONLY: Final = "only Linux has it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One part of the sandbox.

    Args:
        name: `limits`, `user`, `capabilities`, `no_new_privs`, `landlock` or `seccomp`.
        state: `not_applicable` if there is nothing to drop.
        detail: The effect, or why the measure is not active.
    """

    name: str
    state: SandboxState
    detail: str

    def to_wire(self) -> dict[str, str]:
        """The measure as a value for the child's message."""
        return asdict(self)

    @classmethod
    def from_wire(cls, value: Mapping[str, Any]) -> Measure:
        """Parse a measure from the child's message; raises `ValueError` if it is invalid."""
        name, detail = value.get("name"), value.get("detail")
        state: SandboxState | None = _STATES.get(str(value.get("state")))
        if not isinstance(name, str) or not isinstance(detail, str) or state is None:
            raise ValueError("not a measure of the sandbox")
        return cls(name=name, state=state, detail=detail)


def missing_measures(measures: Iterable[Measure]) -> list[str]:
    """`name (reason)` of each measure that this system lacks."""
    return [
        f"{measure.name} ({measure.detail})"
        for measure in measures
        if measure.state == "unavailable"
    ]


def summarize_measures(measures: Iterable[Measure]) -> str:
    """One line for users: the active measures, then the unavailable ones with reasons."""
    all_measures = list(measures)
    active = [
        measure.detail if measure.name == "user" else measure.name
        for measure in all_measures
        if measure.state == "active"
    ]
    missing = missing_measures(all_measures)
    lacking = f"; not available: {', '.join(missing)}" if missing else ""
    return ", ".join(active) + lacking


def confine(memory_bytes: int, after_switch: Callable[[], None]) -> tuple[Measure, ...]:
    """Permanently restrict memory, files, users, privileges, then system calls.

    Everything that is read from files must be loaded, and no second thread may run.

    Args:
        memory_bytes: Remaining address space.
        after_switch: Called after the change of the user, because the kernel then resets the
            signal that it sends when the parent ends.
    """
    os.chdir("/")
    _forget_modules()
    measures = [
        _try_measure("user", _switch_user),
        _try_measure("capabilities", _drop_capabilities),
        _try_measure("no_new_privs", _forbid_privileges),
        _try_measure("landlock", landlock.restrict_self),
    ]
    after_switch()
    # Landlock needs a descriptor, so the limits follow it; seccomp forbids setting limits.
    switched = measures[0].state == "active"
    measures.insert(0, _try_measure("limits", lambda: _set_limits(memory_bytes, switched)))
    measures.append(_try_measure("seccomp", seccomp.load_filter))
    return tuple(measures)


class _NotApplicableError(Exception):
    """Raised if there is nothing to drop."""


def _try_measure(name: str, take: Callable[[], str]) -> Measure:
    try:
        if sys.platform != "linux" and name != "limits":
            raise OSError(errno.ENOSYS, _LINUX_ONLY)
        return Measure(name=name, state="active", detail=take())
    except _NotApplicableError as error:
        return Measure(name=name, state="not_applicable", detail=str(error))
    except OSError as error:
        return Measure(name=name, state="unavailable", detail=error.strerror or "refused")


def _forget_modules() -> None:
    """Make later imports fail immediately instead of searching for files."""
    sys.meta_path[:] = [
        finder for finder in sys.meta_path if getattr(finder, "__name__", "") in _BUILT_IN
    ]
    sys.path_importer_cache.clear()


_BUILT_IN: Final = frozenset({"BuiltinImporter", "FrozenImporter"})


def _set_limits(memory_bytes: int, switched: bool) -> str:
    """Set limits that this process cannot raise again.

    Open descriptors stay usable with a limit of 0, but new ones (files, sockets, pipes) are
    refused. The task limit counts all processes of a user, so it is set only for `CHILD_UID`.
    """
    limits = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_NOFILE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    if switched:
        limits[resource.RLIMIT_NPROC] = MAX_TASKS
    for kind, most in limits.items():
        hard = resource.getrlimit(kind)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))
    tasks = f", tasks {MAX_TASKS}" * switched
    return f"address space {memory_bytes // 1_000_000} MB, new files 0, written bytes 0{tasks}"


def _switch_user() -> str:
    """Switch from root to `CHILD_UID`, without supplementary groups."""
    if os.geteuid() != 0:
        raise _NotApplicableError(f"not started as root, uid {os.geteuid()}")
    capabilities = _effective_capabilities()
    lacking = [name for name, bit in _NEEDED_TO_SWITCH.items() if not capabilities >> bit & 1]
    if lacking:
        raise OSError(errno.EPERM, f"root without {', '.join(lacking)}")
    try:
        os.setgroups([])
        os.setresgid(CHILD_UID, CHILD_UID, CHILD_UID)
        os.setresuid(CHILD_UID, CHILD_UID, CHILD_UID)
    except OSError as error:
        why = f"uid {CHILD_UID} is not to be had in this user namespace"
        raise OSError(error.errno, why) from error
    return f"uid {CHILD_UID}"


def _effective_capabilities() -> int:
    with open("/proc/self/status", encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line.startswith("CapEff:"):
                return int(line.split()[1], 16)
    raise OSError(errno.ENOENT, "/proc does not tell the capabilities")


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def _drop_capabilities() -> str:
    """Drop all capabilities of any user."""
    header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(ctypes.byref(header), nothing) != 0:
        raise OSError(ctypes.get_errno(), "the kernel does not drop them")
    return "none left"


def _forbid_privileges() -> str:
    """Prevent executed programs from gaining privileges; required by Landlock and seccomp."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "the kernel does not know it")
    return "set"
