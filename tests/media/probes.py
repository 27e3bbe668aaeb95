"""Attacks by code that runs in the decoding child; for tests only.

Each probe executes one real attack and returns its result. `serve` answers requests as the real
child does: one header in, one header out.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

from pinpoint.media.decoding.pipe import read_header, write_all
from pinpoint.media.decoding.seccomp import running_architecture

LIBC = ctypes.CDLL(None, use_errno=True)
PAGE = 4096


def read_file(path: str) -> str:
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, 100).decode("latin-1")
    finally:
        os.close(fd)


def list_folder(path: str) -> str:
    return str(os.listdir(path))


def write_file(path: str) -> str:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    return str(os.write(fd, b"x"))


def create_file(path: str) -> str:
    os.close(os.open(path + ".new", os.O_WRONLY | os.O_CREAT))
    return "created"


def connect_tcp(port: int) -> str:
    with socket.socket() as client:
        client.connect(("127.0.0.1", port))
    return "connected"


def connect_udp(port: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", ("127.0.0.1", port))
    return "sent"


def connect_unix(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    return "connected"


def fork() -> str:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return str(os.waitpid(pid, 0)[1])


def library_fork() -> str:
    pid = checked(LIBC.fork())
    if pid == 0:
        os._exit(0)
    return str(os.waitpid(pid, 0)[1])


def execute() -> str:
    os.execv("/bin/true", ["/bin/true"])


def execute_memory() -> str:
    """A program that is no file: memfd_create, then exec of the descriptor."""
    fd = os.memfd_create("program")
    with open("/bin/true", "rb") as program:
        os.write(fd, program.read())
    os.execve(fd, ["program"], {})


def map_code() -> str:
    mmap.mmap(-1, PAGE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
    return "mapped"


def make_code() -> str:
    """Memory that is written first and made executable afterwards."""
    LIBC.mmap.restype = ctypes.c_void_p
    anonymous = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    at = LIBC.mmap(None, ctypes.c_size_t(PAGE), mmap.PROT_READ | mmap.PROT_WRITE, anonymous, -1, 0)
    code = checked(LIBC.mprotect(ctypes.c_void_p(at), ctypes.c_size_t(PAGE), mmap.PROT_EXEC))
    return str(code)


def attach(pid: int) -> str:
    """PTRACE_SEIZE, which does not stop the other process."""
    return str(checked(LIBC.ptrace(0x4206, pid, None, None)))


def read_memory(pid: int) -> str:
    return str(system_call("process_vm_readv", pid, 0, 0, 0, 0, 0))


def signal_process(pid: int) -> str:
    os.kill(pid, 0)
    return "signalled"


def signal_all() -> str:
    """SIGCONT is harmless; a pid of -1 sends it to every process that may be signalled."""
    os.kill(-1, signal.SIGCONT)
    return "signalled"


def limit_process(pid: int) -> str:
    return str(resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0)))


def raise_files() -> str:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    return "raised"


def become_root() -> str:
    os.setresuid(0, 0, 0)
    return "changed"


def become_nobody() -> str:
    os.setresuid(65534, 65534, 65534)
    return "changed"


def loosen() -> str:
    """PR_SET_DUMPABLE: other processes of this user may inspect this process."""
    return str(checked(LIBC.prctl(4, 1, 0, 0, 0)))


def keep_capabilities() -> str:
    """PR_SET_KEEPCAPS."""
    return str(checked(LIBC.prctl(8, 1, 0, 0, 0)))


def share_nothing() -> str:
    """A new user namespace, in which a process has all capabilities."""
    return str(system_call("unshare", 0x10000000))


def mount_folder(path: str) -> str:
    target = os.fsencode(os.path.dirname(path))
    return str(checked(LIBC.mount(b"none", target, b"tmpfs", 0, None)))


def set_up_ring() -> str:
    return str(system_call("io_uring_setup", 1, ctypes.create_string_buffer(120)))


def load_bpf() -> str:
    return str(system_call("bpf", 0, ctypes.create_string_buffer(64), 64))


def start_thread() -> str:
    """What HEIC and AVIF decoders need."""
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(1))
    thread.start()
    thread.join()
    return f"{len(done)} thread"


def import_module() -> str:
    import colorsys

    return colorsys.__name__


PROBES: dict[str, Callable[..., Any]] = {
    probe.__name__: probe
    for probe in (
        *(read_file, list_folder, write_file, create_file, connect_tcp, connect_udp, connect_unix),
        *(fork, library_fork, execute, execute_memory, map_code, make_code, attach, read_memory),
        *(signal_process, signal_all, limit_process, raise_files, become_root, become_nobody),
        *(loosen, keep_capabilities, share_nothing, mount_folder, set_up_ring, load_bpf),
        *(start_thread, import_module),
    )
}
PROBES.update(
    {
        "stat": lambda path: str(os.stat(path).st_size),
        "unlink": os.unlink,
        "rename": lambda path: os.rename(path, path + ".moved"),
        "truncate": lambda path: os.truncate(path, 0),
        "chmod": lambda path: os.chmod(path, 0o644),
        "link": lambda path: os.symlink(path, path + ".link"),
        "make_folder": lambda path: os.mkdir(path + ".folder"),
        "make_pair": lambda: [one.close() for one in socket.socketpair()],
        "make_pipe": lambda: [os.close(fd) for fd in os.pipe()],
        "make_memory_file": lambda: os.close(os.memfd_create("x")),
        "duplicate": lambda: os.close(os.dup(0)),
        "change_folder": lambda path: os.chdir(os.path.dirname(path)),
    }
)


def checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def system_call(name: str, *arguments: Any) -> int:
    number = running_architecture().numbers[name]
    # An int would set only half of a register.
    whole = [
        ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments
    ]
    return checked(int(LIBC.syscall(ctypes.c_long(number), *whole)))


def serve(stream_in: BinaryIO, stream_out: BinaryIO) -> None:
    """Run the probes that are asked for until the parent closes."""
    while (header := read_header(stream_in)) is not None:
        arguments = header["arguments"]
        assert isinstance(arguments, list)
        try:
            result = str(PROBES[str(header["probe"])](*arguments))
        except (OSError, ValueError, ImportError) as error:
            number = getattr(error, "errno", None)
            write_all(stream_out, {"denied": type(error).__name__, "errno": number}, ())
        else:
            write_all(stream_out, {"done": result}, ())
