"""Debian's RabbitMQ on loopback, with all files in one folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

BINARIES = Path("/usr/lib/rabbitmq/bin")
START_S = 90.0
USER, PASSWORD = "pinpoint", "trial"


class RabbitServer:
    """One node; it keeps its data when it is stopped or killed.

    Args:
        folder: Folder of its data, logs and configuration.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port, distribution_port, epmd_port = free_ports(3)
        self._environment = {
            **os.environ,
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"pinpoint{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(epmd_port),
        }
        (folder / "plugins").write_text("[].\n")
        (folder / "rabbitmq.conf").write_text(f"default_user = {USER}\ndefault_pass = {PASSWORD}\n")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"amqp://{USER}:{PASSWORD}@127.0.0.1:{self.port}//"

    def start(self) -> None:
        """Start the node and wait until it accepts connections."""
        with (self._folder / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [str(BINARIES / "rabbitmq-server")],
                env=self._environment,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                start_new_session=True,
            )
        until = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            assert self._process.poll() is None, "RabbitMQ ended; see its output.log"
            assert time.monotonic() < until, "RabbitMQ did not start in time"
            time.sleep(0.3)

    def stop(self) -> None:
        """Stop the node as an operator does."""
        self._control("stop")
        self._wait()

    def kill(self) -> None:
        """End the node without warning."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._wait()

    def close(self) -> None:
        """End everything that runs."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        epmd = shutil.which("epmd") or "epmd"
        subprocess.run([epmd, "-kill"], env=self._environment, capture_output=True, check=False)

    def list_queues(self) -> dict[str, tuple[str, str]]:
        """Type and arguments of each queue."""
        text = self._control("-q", "list_queues", "name", "type", "arguments", "--no-table-headers")
        rows = [line.split("\t", 2) for line in text.splitlines() if line.strip()]
        return {name: (kind, arguments) for name, kind, arguments in rows}

    def _control(self, *words: str) -> str:
        command = [str(BINARIES / "rabbitmqctl"), "-n", self._environment["RABBITMQ_NODENAME"]]
        completed = subprocess.run(
            [*command, *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return completed.stdout

    def _wait(self) -> None:
        assert self._process is not None
        self._process.wait(timeout=30)


def free_ports(count: int) -> list[int]:
    """Ports of loopback that are free now."""
    with contextlib.ExitStack() as sockets:
        listeners = [sockets.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [int(listener.getsockname()[1]) for listener in listeners]


@contextlib.contextmanager
def run_rabbitmq(folder: Path) -> Iterator[RabbitServer]:
    """Run a node, and end it afterwards."""
    server = RabbitServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.close()
