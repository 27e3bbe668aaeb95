"""Client of a stack's supervisord: generated configuration, start, and XML-RPC calls."""

from __future__ import annotations

import http.client
import os
import re
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from xml.parsers.expat import ExpatError

from supervisor.xmlrpc import SupervisorTransport, UnixStreamHTTPConnection

from pinpoint.errors import StackError
from pinpoint.stack.paths import StackPaths

_RPC_TIMEOUT_S: Final = 5.0
UNREACHABLE_ERRORS: Final = (OSError, http.client.HTTPException, xmlrpc.client.Error, ExpatError)
"""Exceptions of a call if the daemon is not running, or ends during the call."""
_LOG_LINE: Final = re.compile(
    r"^(?P<at>[-\d]+ [:\d]+),\d+ \w+ (?P<what>spawned|exited|gave up|spawnerr): '?(?P<rest>.*)$"
)

_CONFIG_HEAD = """\
; Written by `pinpoint up`; changes are lost.
[supervisord]
pidfile={paths.supervisor_pidfile}
logfile={log}
logfile_maxbytes=20MB
logfile_backups=1
directory=/
umask=077
nocleanup=true
{user}
[unix_http_server]
file={paths.supervisor_socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""

_CONFIG_PROGRAM = """
[program:{name}]
command={command}
directory=/
autostart=false
autorestart=true
startsecs={start_s}
; Starts are retried without end: each wait is a second longer, 90 seconds after an hour.
startretries=1000
stopsignal={stop_signal}
stopwaitsecs={stop_wait_s}
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=1
{user}"""


@dataclass(frozen=True, slots=True)
class Program:
    """One process of the stack.

    Args:
        name: Name in status and logs.
        command: Command line of the foreground process.
        user: System user to run as; None for the current user.
        start_s: An exit within this time is a failed start, seconds; retries slow down.
        stop_signal: Name of the stop signal.
        stop_wait_s: Time after the stop signal before the process is killed, seconds.
    """

    name: str
    command: tuple[str, ...]
    user: str | None = None
    start_s: int = 1
    stop_signal: str = "TERM"
    stop_wait_s: int = 20


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """Status of one process.

    Args:
        name: Name of the program.
        state: supervisord's state in lower case: running, starting, backoff, stopped, fatal …
        pid: Process id while it runs.
        since: Start time of the current process.
        restarts: Number of restarts since `up`.
        last_exit: Time and reason of the last unexpected exit, as text.
    """

    name: str
    state: str
    pid: int | None
    since: datetime | None
    restarts: int
    last_exit: str | None


class Supervisor:
    """Client of one stack's supervisord.

    Args:
        paths: Paths of the stack.
    """

    def __init__(self, paths: StackPaths) -> None:
        self._paths = paths

    def configure(self, programs: Iterable[Program]) -> None:
        """Write the configuration of supervisord."""
        logs, root = self._paths.logs_dir, os.geteuid() == 0
        text = _CONFIG_HEAD.format(
            paths=self._paths, log=self.log_file, user="user=root\n" if root else ""
        )
        for program in programs:
            text += _CONFIG_PROGRAM.format(
                name=program.name,
                command=shlex.join(program.command),
                start_s=program.start_s,
                stop_signal=program.stop_signal,
                stop_wait_s=program.stop_wait_s,
                log=logs / f"{program.name}.log",
                user=f"user={program.user}\n" if program.user else "",
            )
        # supervisord expands %(…)s everywhere.
        self._paths.supervisor_config.write_text(text.replace("%", "%%"), encoding="utf-8")

    @property
    def log_file(self) -> Path:
        """Log of supervisord: every start and exit since the last `up`."""
        return self._paths.logs_dir / "supervisord.log"

    def launch(self, environment: Mapping[str, str], timeout_s: float = 15.0) -> None:
        """Start the daemon with an environment that all programs inherit.

        Raises:
            StackError: It did not start.
        """
        if self.log_file.exists():
            self.log_file.replace(self.log_file.with_suffix(".before.log"))
        command = [sys.executable, "-P", "-m", "supervisor.supervisord"]
        result = subprocess.run(
            [*command, "-c", str(self._paths.supervisor_config)],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
            timeout=timeout_s,
        )
        if result.returncode != 0:
            raise StackError(f"supervisord did not start: {(result.stdout + result.stderr)[-500:]}")
        until = time.monotonic() + timeout_s
        while not self.answers():
            if time.monotonic() > until:
                raise StackError(f"supervisord does not answer; see {self.log_file}")
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether the daemon answers and is in state RUNNING."""
        try:
            return bool(self._call_rpc("getState")["statename"] == "RUNNING")
        except UNREACHABLE_ERRORS:
            return False

    def start(self, name: str) -> None:
        """Start a program unless it runs, without waiting."""
        try:
            self._call_rpc("startProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise StackError(f"{name} cannot be started: {fault.faultString}") from fault

    def stop(self, names: Iterable[str], timeout_s: float) -> None:
        """Stop programs in parallel and wait for their end; supervisord kills slow ones."""
        requested = set(names)
        for name in requested:
            try:
                self._call_rpc("stopProcess", name, False)
            except xmlrpc.client.Fault as fault:
                if not any(word in fault.faultString for word in ("NOT_RUNNING", "BAD_NAME")):
                    raise StackError(f"{name} cannot be stopped: {fault.faultString}") from fault
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            states = {status.name: status.state for status in self.processes()}
            if not any(
                states.get(name) in ("running", "starting", "stopping") for name in requested
            ):
                return
            time.sleep(0.05)

    def shutdown(self) -> None:
        """Shut the daemon down."""
        self._call_rpc("shutdown")

    def pid(self) -> int:
        """The daemon's process id."""
        return int(self._call_rpc("getPID"))

    def recorded_pid(self) -> int | None:
        """Process id in the pid file, which may be outdated."""
        try:
            return int(self._paths.supervisor_pidfile.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None

    def processes(self) -> tuple[ProcessStatus, ...]:
        """Status of every program, in the order of the configuration."""
        infos = self._call_rpc("getAllProcessInfo")
        # The log is read after the call; else a start in between would not be counted.
        spawned, exits = self._read_history()
        order = [
            line.removeprefix("[program:").rstrip("]\n")
            for line in self._paths.supervisor_config.read_text(encoding="utf-8").splitlines()
            if line.startswith("[program:")
        ]
        statuses = [
            ProcessStatus(
                name=info["name"],
                state=info["statename"].lower(),
                pid=info["pid"] or None,
                since=datetime.fromtimestamp(info["start"], UTC) if info["pid"] else None,
                restarts=max(0, spawned.get(info["name"], 0) - 1),
                last_exit=exits.get(info["name"]),
            )
            for info in infos
        ]
        return tuple(sorted(statuses, key=lambda status: order.index(status.name)))

    def _read_history(self) -> tuple[dict[str, int], dict[str, str]]:
        """Number of starts and last exit by program; supervisord does not count them."""
        spawned: dict[str, int] = {}
        exits: dict[str, str] = {}
        if not self.log_file.exists():
            return spawned, exits
        for line in self.log_file.read_text(encoding="utf-8", errors="replace").splitlines():
            match = _LOG_LINE.match(line)
            if match is None:
                continue
            name, _, rest = match["rest"].partition(" ")
            name = name.rstrip("'")
            if match["what"] == "spawned":
                spawned[name] = spawned.get(name, 0) + 1
            else:
                at = datetime.strptime(match["at"], "%Y-%m-%d %H:%M:%S").astimezone(UTC)
                exits[name] = f"{at.isoformat()} {match['what']} {rest.strip('()')}"
        return spawned, exits

    def _call_rpc(self, method: str, *args: str | bool) -> Any:
        transport = SupervisorTransport(serverurl=f"unix://{self._paths.supervisor_socket}")
        # Connected here, because the transport sets no time limit: a suspended daemon would block.
        transport.headers = {"Content-Type": "text/xml"}
        transport.connection = UnixStreamHTTPConnection("localhost")
        transport.connection.socketfile = str(self._paths.supervisor_socket)
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as proxy:
            transport.connection.connect()
            transport.connection.sock.settimeout(_RPC_TIMEOUT_S)
            return getattr(proxy.supervisor, method)(*args)
