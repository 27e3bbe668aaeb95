"""System call numbers of the decoder's seccomp filter, for x86_64 and aarch64.

Source: `asm/unistd_64.h` and `asm-generic/unistd.h` of Linux 6.1. Released numbers never change. A
name that an architecture lacks (`time`, `fork`, `open` on aarch64) is absent from its table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

SHARED_NUMBERS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "pidfd_send_signal": 424,
        "io_uring_setup": 425,
        "io_uring_enter": 426,
        "io_uring_register": 427,
        "open_tree": 428,
        "move_mount": 429,
        "fsopen": 430,
        "fsconfig": 431,
        "fsmount": 432,
        "fspick": 433,
        "pidfd_open": 434,
        "clone3": 435,
        "openat2": 437,
        "pidfd_getfd": 438,
        "mount_setattr": 442,
        "landlock_create_ruleset": 444,
        "landlock_restrict_self": 446,
    }
)
"""Calls added since Linux 5.1 have one number everywhere."""

NEWEST_KNOWN: Final = 450
"""Higher numbers are newer than these tables; libraries accept that a kernel lacks them."""


def _read_table(text: str) -> Mapping[str, int]:
    pairs = (pair.split("=") for pair in text.split())
    return MappingProxyType(dict(SHARED_NUMBERS) | {name: int(number) for name, number in pairs})


_X86_64: Final[Mapping[str, int]] = _read_table(
    """
    read=0 write=1 open=2 close=3 lseek=8 mmap=9 mprotect=10 munmap=11 brk=12 rt_sigaction=13
    rt_sigprocmask=14 rt_sigreturn=15 pread64=17 readv=19 writev=20 sched_yield=24 mremap=25
    madvise=28 nanosleep=35 getpid=39 clone=56 execve=59 exit=60 uname=63 creat=85 gettimeofday=96
    getrlimit=97 getrusage=98 sysinfo=99 times=100 ptrace=101 getuid=102 syslog=103 getgid=104
    geteuid=107 getegid=108 getppid=110 sigaltstack=131 personality=135 modify_ldt=154
    pivot_root=155 prctl=157 setrlimit=160 chroot=161 acct=163 mount=165 umount2=166 swapon=167
    swapoff=168 reboot=169 iopl=172 ioperm=173 init_module=175 delete_module=176 quotactl=179
    gettid=186 time=201 futex=202 sched_getaffinity=204 set_tid_address=218 restart_syscall=219
    clock_gettime=228 clock_getres=229 clock_nanosleep=230 exit_group=231 tgkill=234
    kexec_load=246 add_key=248 request_key=249 keyctl=250 openat=257 unshare=272
    set_robust_list=273 get_robust_list=274 perf_event_open=298 prlimit64=302
    open_by_handle_at=304 setns=308 getcpu=309 process_vm_readv=310 process_vm_writev=311 kcmp=312
    finit_module=313 seccomp=317 getrandom=318 kexec_file_load=320 bpf=321 execveat=322
    userfaultfd=323 membarrier=324 rseq=334
    """
)

_AARCH64: Final[Mapping[str, int]] = _read_table(
    """
    umount2=39 mount=40 pivot_root=41 chroot=51 openat=56 close=57 quotactl=60 lseek=62 read=63
    write=64 readv=65 writev=66 pread64=67 acct=89 personality=92 exit=93 exit_group=94
    set_tid_address=96 unshare=97 futex=98 set_robust_list=99 get_robust_list=100 nanosleep=101
    kexec_load=104 init_module=105 delete_module=106 clock_gettime=113 clock_getres=114
    clock_nanosleep=115 syslog=116 ptrace=117 sched_getaffinity=123 sched_yield=124
    restart_syscall=128 tgkill=131 sigaltstack=132 rt_sigaction=134 rt_sigprocmask=135
    rt_sigreturn=139 reboot=142 times=153 uname=160 getrlimit=163 setrlimit=164 getrusage=165
    prctl=167 getcpu=168 gettimeofday=169 getpid=172 getppid=173 getuid=174 geteuid=175 getgid=176
    getegid=177 gettid=178 sysinfo=179 brk=214 munmap=215 mremap=216 add_key=217 request_key=218
    keyctl=219 clone=220 execve=221 mmap=222 swapon=224 swapoff=225 mprotect=226 madvise=233
    perf_event_open=241 prlimit64=261 open_by_handle_at=265 setns=268 process_vm_readv=270
    process_vm_writev=271 kcmp=272 finit_module=273 seccomp=277 getrandom=278 bpf=280 execveat=281
    userfaultfd=282 membarrier=283 rseq=293 kexec_file_load=294
    """
)


@dataclass(frozen=True, slots=True)
class Architecture:
    """Properties of one processor architecture that a filter needs.

    Args:
        name: As printed by `uname -m`.
        audit_arch: `AUDIT_ARCH_*` of `linux/audit.h`, which the kernel passes to the filter.
        numbers: System call number by name.
        foreign_from: First number of another calling convention (x32); None without one.
    """

    name: str
    audit_arch: int
    numbers: Mapping[str, int]
    foreign_from: int | None


ARCHITECTURES: Final[Mapping[str, Architecture]] = MappingProxyType(
    {
        "x86_64": Architecture("x86_64", 0xC000003E, _X86_64, 0x40000000),
        "aarch64": Architecture("aarch64", 0xC00000B7, _AARCH64, None),
    }
)
