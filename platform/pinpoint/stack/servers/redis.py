"""A private Redis as the broker: one Unix socket, no TCP, no eviction, every write persisted."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time

import redis

from pinpoint.errors import StackError
from pinpoint.parent_death import prepare_death_signal
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.supervisor.processes import stop_child

_CONFIG = """\
port 0
unixsocket {socket}
unixsocketperm 700
dir {folder}
daemonize no
supervised no
databases 16
# A broker that drops tasks silently is worse than one that refuses them.
maxmemory-policy noeviction
appendonly yes
appendfsync everysec
save ""
"""


class RedisServer:
    """The private server of one home.

    Args:
        paths: Paths of the stack.
    """

    def __init__(self, paths: StackPaths) -> None:
        self._paths = paths
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def command(self) -> list[str]:
        """Command line of the server in the foreground.

        Raises:
            StackError: Redis is not installed.
        """
        binary = shutil.which("redis-server") or shutil.which("valkey-server")
        if binary is None:
            raise StackError(
                "Redis is not installed (no redis-server on PATH); "
                "install redis-server, or set PINPOINT_BROKER_URL"
            )
        return [binary, str(self._paths.redis_dir / "redis.conf")]

    def initialize(self) -> None:
        """Write its configuration; safe to repeat."""
        folder = self._paths.redis_dir
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = _CONFIG.format(socket=self._paths.redis_socket, folder=f'"{folder}"')
        (folder / "redis.conf").write_text(text, encoding="utf-8")

    def start(self, timeout_s: float = 15.0) -> None:
        """Start the server as a child that ends with this process, and wait until it is ready.

        Raises:
            StackError: It ended or did not answer in time; the message names its log.
        """
        self.initialize()
        log = self._paths.logs_dir / "redis.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd="/",
                start_new_session=True,
                preexec_fn=prepare_death_signal(signal.SIGTERM),
            )
        until = time.monotonic() + timeout_s
        while not self.ready():
            if self._process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise StackError(f"Redis did not start; see {log}")
            time.sleep(0.05)

    def stop(self, grace_s: float = 10.0) -> None:
        """End the child process of `start`, by force after `grace_s` seconds."""
        if self._process is not None:
            stop_child(self._process, grace_s)
            self._process = None

    def ready(self) -> bool:
        """Whether the server answers and has loaded its data."""
        try:
            with self._open_client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def consumers(self) -> int:
        """Number of clients that wait for a task; a ready Celery worker is one."""
        try:
            with self._open_client() as client:
                return sum(
                    connection.get("cmd") in ("brpop", "bzmpop")
                    for connection in client.client_list()
                )
        except redis.RedisError:
            return 0

    def flush(self) -> None:
        """Delete all tasks in all databases."""
        with self._open_client() as client:
            client.flushall()

    def _open_client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self._paths.redis_socket), socket_timeout=2.0)
