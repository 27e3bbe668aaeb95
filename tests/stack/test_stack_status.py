"""Stack status while the supervisor exits."""

from __future__ import annotations

import http.client
import socket
import threading
import xmlrpc.client

import pytest

from pinpoint.settings import ServiceSettings, Settings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.supervisor import lifecycle
from pinpoint.stack.supervisor.supervisord import Supervisor


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("gone"),
        http.client.RemoteDisconnected("gone"),
        xmlrpc.client.Fault(6, "SHUTDOWN_STATE"),
    ],
)
def test_stack_status_with_supervisor_gone_returns_down(home, monkeypatch, error):
    def gone(_supervisor):
        raise error

    monkeypatch.setattr(Supervisor, "pid", lambda _supervisor: 1)
    monkeypatch.setattr(Supervisor, "processes", gone)
    assert lifecycle.stack_status(Settings(services=ServiceSettings(home=home))).state == "down"


def test_stack_status_with_truncated_response_returns_down(home):
    """The supervisor was killed during a write: Content-Length is larger than the body."""
    settings = Settings(services=ServiceSettings(home=home))
    paths = StackPaths(home)
    paths.supervisor_socket.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(paths.supervisor_socket))
        listener.listen()

        def half() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65_536)
                    connection.sendall(
                        b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 9000\r\n\r\n"
                        b"<?xml version='1.0'?><methodResponse><params>"
                    )

        threading.Thread(target=half, daemon=True).start()
        assert not Supervisor(paths).answers()
        assert lifecycle.stack_status(settings).state == "down"
        listener.shutdown(socket.SHUT_RDWR)
    paths.supervisor_socket.unlink()
