"""The seccomp program itself, for both architectures, run by an interpreter of classic BPF."""

from __future__ import annotations

import errno
import re
import struct
from pathlib import Path

import pytest

from pinpoint.media.decoding.landlock import pack_ruleset
from pinpoint.media.decoding.seccomp import build_seccomp_filter
from pinpoint.media.decoding.syscalls import ARCHITECTURES, NEWEST_KNOWN, Architecture

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
PID = 4_321
THREAD = 0x3D0F00
HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", r"__NR_(\w+)\s+(\d+)"),
    "aarch64": ("/usr/include/asm-generic/unistd.h", r"__NR(?:3264)?_(\w+)\s+(\d+)"),
}

architectures = pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES)


def decide(
    architecture: Architecture, number: int, *arguments: int, audit_arch: int | None = None
) -> int:
    """Answer of the program to one system call."""
    values = [*arguments, *[0] * (6 - len(arguments))]
    arch = architecture.audit_arch if audit_arch is None else audit_arch
    data = struct.pack("<IIQ6Q", number, arch, 0, *values)
    program, at, value = build_seccomp_filter(architecture, PID), 0, 0
    while True:
        code, if_true, if_false, k = program[at]
        at += 1
        if code == 0x06:
            return k
        if code == 0x20:
            (value,) = struct.unpack_from("<I", data, k)
        elif code == 0x54:
            value &= k
        else:
            condition = {0x15: value == k, 0x25: value > k, 0x35: value >= k}[code]
            at += if_true if condition else if_false


def decide_by_name(architecture: Architecture, name: str, *arguments: int) -> int:
    return decide(architecture, architecture.numbers[name], *arguments)


@architectures
def test_seccomp_filter_allowed_calls_exclude_escapes(architecture: Architecture) -> None:
    allowed = {n for n in range(NEWEST_KNOWN + 50) if decide(architecture, n, 1, 1, 4) == ALLOW}
    names = {name for name, number in architecture.numbers.items() if number in allowed}
    assert len(names) == len(allowed), "a number without a name is allowed"
    assert {"read", "write", "futex", "brk", "exit_group", "rt_sigreturn", "getrandom"} <= names
    forbidden = ("open", "socket", "exec", "fork", "clone", "mount", "ptrace", "kill", "prctl")
    assert [name for name in names if any(word in name for word in forbidden)] == []
    assert names & {"mmap", "mprotect", "prlimit64", "setrlimit", "memfd_create", "dup"} == set()


@architectures
def test_seccomp_filter_exploit_calls_kill_process(architecture: Architecture) -> None:
    for name in ("execve", "execveat", "ptrace", "process_vm_writev", "io_uring_setup", "bpf"):
        assert decide_by_name(architecture, name) == KILL, name
    for name in ("unshare", "setns", "mount", "pidfd_getfd", "userfaultfd", "seccomp", "keyctl"):
        assert decide_by_name(architecture, name) == KILL, name
    other_architecture = next(
        candidate for candidate in ARCHITECTURES.values() if candidate is not architecture
    )
    assert decide(architecture, 1, audit_arch=other_architecture.audit_arch) == KILL
    assert decide(architecture, 1, audit_arch=0x40000003) == KILL  # i386 by int 0x80
    if architecture.name == "x86_64":
        assert decide(architecture, 0x40000000 + 59) == KILL  # x32


@architectures
def test_seccomp_filter_calls_of_libraries_return_errno(architecture: Architecture) -> None:
    assert decide_by_name(architecture, "openat") == ERRNO | errno.EACCES
    assert decide_by_name(architecture, "clone3") == ERRNO | errno.ENOSYS
    assert decide(architecture, NEWEST_KNOWN + 1) == ERRNO | errno.ENOSYS
    for number in {"x86_64": (41, 53, 57, 58, 62, 319), "aarch64": (198, 199, 129, 279)}[
        architecture.name
    ]:  # socket, socketpair, (fork, vfork,) kill, memfd_create
        assert decide(architecture, number) == ERRNO | errno.EPERM, number


@architectures
def test_seccomp_filter_arguments_allow_only_threads_and_memory(architecture: Architecture) -> None:
    denied = ERRNO | errno.EPERM
    assert decide_by_name(architecture, "clone", THREAD) == ALLOW
    assert decide_by_name(architecture, "clone", THREAD | 0x400000) == ALLOW  # musl
    assert decide_by_name(architecture, "clone", 17) == denied  # fork: SIGCHLD
    assert decide_by_name(architecture, "clone", 0x4111) == denied  # vfork
    assert decide_by_name(architecture, "clone", THREAD | 0x10000000) == denied  # a user namespace
    assert (
        decide_by_name(architecture, "clone", THREAD & ~0x10000) == denied
    )  # a process, no thread
    assert decide_by_name(architecture, "mmap", 0, 4096, 3, 0x22) == ALLOW
    assert decide_by_name(architecture, "mmap", 0, 4096, 7, 0x22) == denied
    assert decide_by_name(architecture, "mprotect", 0, 4096, 3) == ALLOW
    assert decide_by_name(architecture, "mprotect", 0, 4096, 5) == denied
    assert decide_by_name(architecture, "prctl", 15) == ALLOW
    assert decide_by_name(architecture, "prctl", 4, 1) == denied
    assert decide_by_name(architecture, "tgkill", PID, PID, 6) == ALLOW
    assert decide_by_name(architecture, "tgkill", PID + 1, PID, 6) == denied
    assert decide_by_name(architecture, "prlimit64", 0, 0) == ALLOW
    assert decide_by_name(architecture, "prlimit64", 0, 7) == denied
    assert decide_by_name(architecture, "prlimit64", 1, 0) == denied


@architectures
def test_syscall_table_agrees_with_kernel_headers(architecture: Architecture) -> None:
    path, pattern = HEADERS[architecture.name]
    if not Path(path).is_file():
        pytest.skip(f"no kernel headers at {path}")
    header_numbers = dict(re.findall(pattern, Path(path).read_text(encoding="utf-8")))
    numbers = architecture.numbers
    assert {name: str(n) for name, n in numbers.items()} == {
        n: header_numbers.get(n) for n in numbers
    }


def test_pack_ruleset_of_each_abi_has_its_fields() -> None:
    sizes = {abi: len(pack_ruleset(abi)) for abi in range(1, 9)}
    assert sizes == {1: 8, 2: 8, 3: 8, 4: 16, 5: 16, 6: 24, 7: 24, 8: 24}
    rights = {abi: struct.unpack_from("=Q", pack_ruleset(abi))[0] for abi in (1, 2, 3, 5, 7)}
    assert rights == {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 5: 0xFFFF, 7: 0xFFFF}
