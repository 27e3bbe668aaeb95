"""An attacker inside the decoding child gets nothing: every probe is denied or ends the child.

The probes run after the real confinement, as root's child and as an ordinary user's; the same
probes in a child without sandbox show that each of them can succeed.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from media import probe_child_user
from pinpoint.errors import UnavailableError
from pinpoint.media.checks import RejectedFileError
from pinpoint.media.decoding.child_process import ChildProcess, describe_sandbox
from pinpoint.media.decoding.pipe import Header, TimedPipes
from pinpoint.media.decoding.sandbox import CHILD_UID, Measure, missing_measures, summarize_measures
from pinpoint.settings import MediaSettings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.servers.postgres import PostgresServer

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")

AS_ROOT = pytest.param(
    "media.probe_child_user",
    id="user",
    marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
)
CONFINED = [pytest.param("media.probe_child", id="direct"), AS_ROOT]
FREE = "media.probe_child_free"

MAYBE_ONLY_ROOT = {"become_root", "attach", "read_memory", "read_file", "share_nothing"}
"""Probes that Yama (ptrace_scope) or a distribution may refuse to ordinary users anyway."""


@dataclass(frozen=True)
class Targets:
    """What a probe is aimed at: real files, servers and processes."""

    key: str
    readable: str
    postgres: str
    port: int

    def arguments(self, probe: str, parent: int) -> list[object]:
        aims: dict[str, list[object]] = {
            "key": [self.key],
            "readable": [self.readable],
            "postgres": [self.postgres],
            "port": [self.port],
            "parent": [parent],
            "memory": [f"/proc/{parent}/mem"],
            "environ": [f"/proc/{parent}/environ"],
            "maps": [f"/proc/{parent}/maps"],
            "descriptors": [f"/proc/{parent}/fd"],
            "own": ["/proc/self/status"],
            "null": ["/dev/null"],
        }
        return aims[probe] if probe else []


@pytest.fixture
def targets(postgres: PostgresServer, server_paths: StackPaths) -> Iterator[Targets]:
    sockets = sorted(server_paths.postgres_socket_dir.glob(".s.PGSQL.*[0-9]"))
    with (
        TemporaryDirectory(prefix="pinpoint-probe-") as name,
        closing(socket.create_server(("127.0.0.1", 0))) as server,
    ):
        folder = Path(name)
        folder.chmod(0o777)
        key, readable = folder / "operator.key", folder / "readable"
        key.write_text("secret")
        key.chmod(0o600)
        readable.write_text("public")
        readable.chmod(0o666)
        yield Targets(str(key), str(readable), str(sockets[0]), server.getsockname()[1])


@pytest.fixture
def probe_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children find the modules of these tests."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]), prepend=os.pathsep)


DENIED = [
    ("import_module", ""),
    ("read_file", "key"),
    ("read_file", "readable"),
    ("read_file", "memory"),
    ("read_file", "environ"),
    ("read_file", "maps"),
    ("read_file", "own"),
    ("list_folder", "descriptors"),
    ("stat", "readable"),
    ("write_file", "readable"),
    ("write_file", "null"),
    ("create_file", "readable"),
    ("truncate", "readable"),
    ("chmod", "readable"),
    ("link", "readable"),
    ("make_folder", "readable"),
    ("rename", "readable"),
    ("unlink", "readable"),
    ("change_folder", "readable"),
    ("connect_tcp", "port"),
    ("connect_udp", "port"),
    ("connect_unix", "postgres"),
    ("make_pair", ""),
    ("make_pipe", ""),
    ("make_memory_file", ""),
    ("duplicate", ""),
    ("fork", ""),
    ("library_fork", ""),
    ("execute_memory", ""),
    ("map_code", ""),
    ("make_code", ""),
    ("signal_process", "parent"),
    ("signal_all", ""),
    ("limit_process", "parent"),
    ("raise_files", ""),
    ("become_root", ""),
    ("become_nobody", ""),
    ("loosen", ""),
    ("keep_capabilities", ""),
]
KILLED = [
    ("execute", ""),
    ("attach", "parent"),
    ("read_memory", "parent"),
    ("share_nothing", ""),
    ("mount_folder", "readable"),
    ("set_up_ring", ""),
    ("load_bpf", ""),
]
NOT_FOR_ALL = {"set_up_ring", "load_bpf", "mount_folder", "signal_all", "raise_files", "map_code"}
"""Probes that a machine's own settings may refuse, or that would disturb it where nothing does."""


def take(header: Header, _pipes: TimedPipes, _deadline: float) -> Header:
    return header


def run_probe(child: ChildProcess, targets: Targets, probe: str, aim: str) -> Header:
    child.start()
    assert child.pid is not None
    parent = os.getpid()
    if _parent_of(child.pid) == parent and _children_of(child.pid):
        parent = child.pid  # the ordinary user's process between
    request: dict[str, object] = {"probe": probe, "arguments": targets.arguments(aim, parent)}
    return child.exchange(request, b"", take)


@pytest.mark.parametrize("module", CONFINED)
@pytest.mark.usefixtures("probe_modules")
def test_probe_in_confined_child_is_denied(module: str, targets: Targets) -> None:
    if module == "media.probe_child_user":
        os.chown(targets.key, probe_child_user.USER, probe_child_user.USER)
    child = ChildProcess(MediaSettings(), module)
    with closing(_Ended(child)):
        _skip_where_missing(child.start())
        pid = child.pid
        answers = {(probe, aim): run_probe(child, targets, probe, aim) for probe, aim in DENIED}
        assert child.pid == pid, "a harmless probe ended the child"
        done = run_probe(child, targets, "start_thread", "")
    assert {key: answer for key, answer in answers.items() if "denied" not in answer} == {}
    assert done == {"done": "1 thread"}, "decoders need threads"
    assert Path(targets.readable).read_text() == "public"
    assert sorted(path.name for path in Path(targets.readable).parent.iterdir()) == [
        "operator.key",
        "readable",
    ]


@pytest.mark.parametrize("module", CONFINED)
@pytest.mark.usefixtures("probe_modules")
def test_exploit_in_confined_child_ends_that_child_only(module: str, targets: Targets) -> None:
    child = ChildProcess(MediaSettings(), module)
    with closing(_Ended(child)):
        _skip_where_missing(child.start())
        for probe, aim in KILLED:
            with pytest.raises(RejectedFileError) as refused:
                run_probe(child, targets, probe, aim)
            assert refused.value.reason == "decoder_crashed", probe
            assert "sandbox forbids" in refused.value.detail, probe
            # The next file has a child of its own.
            assert run_probe(child, targets, "start_thread", "") == {"done": "1 thread"}


@pytest.mark.usefixtures("probe_modules")
def test_probe_without_sandbox_succeeds(targets: Targets) -> None:
    child = ChildProcess(MediaSettings(), FREE)
    failed = {}
    tried = [key for key in DENIED + KILLED if key[0] not in NOT_FOR_ALL]
    with closing(_Ended(child)):
        for probe, aim in tried:
            _restore(Path(targets.readable))
            try:
                answer = run_probe(child, targets, probe, aim)
            except RejectedFileError:
                answer = {"done": "another program took the place of the child"}
            if "done" not in answer:
                failed[probe, aim] = answer
    # An address that is not mapped is read: where this fails with EIO, the file was opened.
    if failed.get(("read_file", "memory"), {}).get("errno") == errno.EIO:
        del failed["read_file", "memory"]
    maybe = set() if os.geteuid() == 0 else MAYBE_ONLY_ROOT
    assert {probe for probe, _ in failed} <= maybe, failed
    assert [aim for probe, aim in failed if probe == "read_file"] in ([], ["memory"])


def test_child_before_first_file_has_given_up_everything() -> None:
    child = ChildProcess(MediaSettings())
    with closing(_Ended(child)):
        measures = {one.name: one for one in child.start()}
        assert child.pid is not None
        process = Path(f"/proc/{child.pid}")
        lines = (line.split(":\t") for line in (process / "status").read_text().splitlines())
        status = {line[0]: line[-1].strip() for line in lines}
        limits = (process / "limits").read_text()
        session = os.getsid(child.pid)
        if os.access(process / "fd", os.R_OK | os.X_OK):
            names = sorted(os.readlink(entry) for entry in (process / "fd").iterdir())
            assert [name.split(":")[0] for name in names] == ["/dev/null"] * 3 + ["pipe"] * 2
    assert status["Threads"] == "1"
    assert session == int(status["Pid"])
    if measures["no_new_privs"].state == "active":
        assert status["NoNewPrivs"] == "1"
    if measures["seccomp"].state == "active":
        assert status["Seccomp"] == "2"
    for name in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
        assert int(status[name], 16) == 0, name
    if measures["user"].state == "active":
        assert status["Uid"].split() == status["Gid"].split() == [str(CHILD_UID)] * 4
        assert status.get("Groups", "") == ""
    assert [line.split()[3] for line in limits.splitlines() if "open files" in line] == ["0"]


@pytest.mark.usefixtures("probe_modules")
def test_child_on_a_poor_system_reports_what_is_missing_and_reads_on() -> None:
    child = ChildProcess(MediaSettings(), "media.child_poor_system")
    with closing(_Ended(child)):
        states = {one.name: one for one in child.start()}
    assert states["landlock"].state == "unavailable"
    assert "5.13" in states["landlock"].detail
    assert states["seccomp"].state == states["no_new_privs"].state == "active"
    if os.geteuid() == 0:
        assert states["user"].detail == "root without CAP_KILL"
        assert states["capabilities"].state == "active"
    else:
        assert states["user"].state == "not_applicable"


@pytest.mark.usefixtures("probe_modules")
def test_child_on_a_poor_system_with_sandbox_required_does_not_start() -> None:
    child = ChildProcess(MediaSettings(sandbox="required"), "media.child_poor_system")
    with closing(_Ended(child)):
        with pytest.raises(UnavailableError, match=r"landlock.*PINPOINT_MEDIA_SANDBOX") as refused:
            child.start()
        assert refused.value.reason == "decoder_unavailable"
        assert child.pid is None


def test_child_with_sandbox_required_starts_where_the_system_has_all() -> None:
    _skip_where_missing(describe_sandbox(MediaSettings()))
    assert describe_sandbox(MediaSettings(sandbox="required"))


def test_describe_sandbox_names_every_measure() -> None:
    measures = describe_sandbox(MediaSettings())
    names = ["limits", "user", "capabilities", "no_new_privs", "landlock", "seccomp"]
    assert [one.name for one in measures] == names
    assert all(one.detail for one in measures)
    assert [Measure.from_wire(one.to_wire()) for one in measures] == list(measures)
    with pytest.raises(ValueError, match="not a measure"):
        Measure.from_wire({"name": "user", "state": "perhaps", "detail": ""})


def test_summary_of_measures_names_what_is_missing_and_why() -> None:
    measures = [
        Measure(name="user", state="active", detail="uid 65533"),
        Measure(name="landlock", state="unavailable", detail="the kernel has none"),
        Measure(name="seccomp", state="active", detail="allow-list"),
    ]
    summary = summarize_measures(measures)
    assert summary == "uid 65533, seccomp; not available: landlock (the kernel has none)"
    assert missing_measures(measures) == ["landlock (the kernel has none)"]


class _Ended:
    """Ends a child as a context."""

    def __init__(self, child: ChildProcess) -> None:
        self.close = child.kill


def _skip_where_missing(measures: tuple[Measure, ...]) -> None:
    if missing := missing_measures(measures):
        pytest.skip(f"this system has no {', no '.join(missing)}")


def _parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()[1])


def _children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _restore(readable: Path) -> None:
    """The folder as it was before a probe changed it."""
    for name in ("readable.new", "readable.link"):
        readable.with_name(name).unlink(missing_ok=True)
    if readable.with_name("readable.folder").is_dir():
        readable.with_name("readable.folder").rmdir()
    readable.write_text("public")
