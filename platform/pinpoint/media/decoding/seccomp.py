"""The decoder's seccomp filter: an allow-list of system calls as a classic BPF program.

Four outcomes, by the needs of a benign decoder:
- allowed: memory, threads, clocks, and reading and writing open descriptors;
- `EPERM`, `EACCES`: optional calls of libraries (open a file, a socket, a process);
- `ENOSYS`: calls newer than the tables, and `clone3`, because a filter cannot read its flags; the C
  library then uses an older call;
- the process is killed (SIGSYS): calls that only an exploit needs (exec, ptrace, mount …).
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterable, Sequence
from typing import Final

from pinpoint.media.decoding.syscalls import ARCHITECTURES, NEWEST_KNOWN, Architecture

_ALLOWED: Final = (
    *("read", "readv", "pread64", "write", "writev", "close", "lseek"),
    *("munmap", "mremap", "madvise", "brk", "membarrier"),
    *("futex", "set_robust_list", "get_robust_list", "set_tid_address", "rseq", "sched_yield"),
    *("sched_getaffinity", "getcpu", "exit", "exit_group", "restart_syscall"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack"),
    *("clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time"),
    *("times", "getrusage", "getrandom", "sysinfo", "uname"),
    *("getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid"),
)
_KILLED: Final = (
    *("execve", "execveat", "ptrace", "process_vm_readv", "process_vm_writev", "kcmp"),
    *("pidfd_open", "pidfd_getfd", "pidfd_send_signal"),
    *("mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "mount_setattr"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "open_by_handle_at", "unshare", "setns"),
    *("bpf", "perf_event_open", "userfaultfd", "seccomp", "personality", "modify_ldt"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register"),
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load"),
    *("add_key", "request_key", "keyctl", "iopl", "ioperm"),
    *("reboot", "swapon", "swapoff", "acct", "quotactl", "syslog"),
)
_NO_FILES: Final = ("open", "openat", "openat2", "creat")

_THREAD_FLAGS: Final = 0x3D0F00
"""The flags that `pthread_create` passes to clone: a thread of this process, never a process."""
_DETACHED: Final = 0x400000
"""CLONE_DETACHED, which musl adds and the kernel ignores."""
_PROT_EXEC: Final = 4
_PR_SET_NAME: Final = 15

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
_IF_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_IF_ABOVE: Final = 0x25  # BPF_JMP | BPF_JGT | BPF_K
_IF_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K

_ALLOW: Final = 0x7FFF0000
_KILL_PROCESS: Final = 0x80000000
_ERRNO: Final = 0x00050000
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16

_SET_MODE_FILTER: Final = 1
_ALL_THREADS_AND_NO_SLOWDOWN: Final = 1 | 4
"""SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW.

Kernels before 5.16 disable speculation for filtered processes without this flag, which slows
decoding. runc sets the flag by default too; the child has one file and no secrets."""

Instruction = tuple[int, int, int, int]
"""`(code, jump if true, jump if false, k)` of `struct sock_filter`."""


def build_seccomp_filter(architecture: Architecture, pid: int) -> tuple[Instruction, ...]:
    """Build the program of the filter.

    Args:
        architecture: Calls of any other architecture kill the process.
        pid: Process id of the child, which may signal (abort) only itself.
    """
    numbers = architecture.numbers
    program: list[Instruction] = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_IF_EQUAL, 1, 0, architecture.audit_arch),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_AT),
    ]
    if architecture.foreign_from is not None:
        program += [
            (_IF_AT_LEAST, 0, 1, architecture.foreign_from),
            (_RETURN, 0, 0, _KILL_PROCESS),
        ]
    program += [(_IF_ABOVE, 0, 1, NEWEST_KNOWN), (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)]
    for names, action in (
        (_ALLOWED, _ALLOW),
        (_KILLED, _KILL_PROCESS),
        (_NO_FILES, _ERRNO | errno.EACCES),
        (("clone3",), _ERRNO | errno.ENOSYS),
    ):
        for name in names:
            if name in numbers:
                program += [(_IF_EQUAL, 0, 1, numbers[name]), (_RETURN, 0, 0, action)]
    program += _argument_checks(architecture, pid)
    program.append((_RETURN, 0, 0, _ERRNO | errno.EPERM))
    return tuple(program)


def _argument_checks(architecture: Architecture, pid: int) -> Iterable[Instruction]:
    """Rules for calls that are allowed only with certain arguments."""
    cpu = _allow_if(1, 0)
    checks: dict[str, list[Instruction]] = {
        "clone": _allow_if(0, _THREAD_FLAGS, mask=0xFFFFFFFF ^ _DETACHED),
        "mmap": _allow_if(2, 0, mask=_PROT_EXEC),
        "mprotect": _allow_if(2, 0, mask=_PROT_EXEC),
        "prctl": _allow_if(0, _PR_SET_NAME),
        "tgkill": _allow_if(0, pid),
        # CPU time limit of this process, which grows by the allowance of each file.
        "prlimit64": [(_LOAD, 0, 0, _ARGUMENTS_AT), (_IF_EQUAL, 0, len(cpu), 0), *cpu],
        "getrlimit": _allow_if(0, 0),
        "setrlimit": _allow_if(0, 0),
    }
    for name, block in checks.items():
        refusal = (_RETURN, 0, 0, _ERRNO | errno.EPERM)
        yield (_IF_EQUAL, 0, len(block) + 1, architecture.numbers[name])
        yield from block
        yield refusal


def _allow_if(argument: int, value: int, mask: int | None = None) -> list[Instruction]:
    """Allow if the masked lower half of an argument has this value; otherwise continue."""
    load = (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument)
    masked = [] if mask is None else [(_AND, 0, 0, mask)]
    return [load, *masked, (_IF_EQUAL, 0, 1, value), (_RETURN, 0, 0, _ALLOW)]


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def load_filter() -> str:
    """Permanently confine this process and all its threads to the allow-list.

    `no_new_privs` must be set.

    Returns:
        The effect, as text.

    Raises:
        OSError: The kernel or the architecture has no such filters; `strerror` has the reason.
    """
    architecture = running_architecture()
    install_program(architecture, build_seccomp_filter(architecture, os.getpid()))
    return f"allow-list of {architecture.name} system calls"


def running_architecture() -> Architecture:
    """The architecture of this process; raises `OSError` if it has no table."""
    name = os.uname().machine
    architecture = ARCHITECTURES.get(name)
    if architecture is None or sys.maxsize < 2**32 or sys.byteorder != "little":
        raise OSError(errno.ENOSYS, f"no table of system calls for this {name} process")
    return architecture


def install_program(architecture: Architecture, program: Sequence[Instruction]) -> None:
    """Install `program` as the filter of all system calls of this process.

    Raises:
        OSError: The kernel rejects it.
    """
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    described = _Program(len(program), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(
        ctypes.c_long(architecture.numbers["seccomp"]),
        ctypes.c_ulong(_SET_MODE_FILTER),
        ctypes.c_ulong(_ALL_THREADS_AND_NO_SLOWDOWN),
        ctypes.byref(described),
    )
    if result != 0:
        # A positive result is the id of a thread that could not be confined.
        number = ctypes.get_errno() if result < 0 else errno.EAGAIN
        raise OSError(number, "the kernel does not take seccomp filters")
