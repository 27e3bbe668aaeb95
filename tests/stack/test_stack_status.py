"""Status, while what it asks is going away."""

from __future__ import annotations

import http.client
import xmlrpc.client

import pytest

from pinpoint.settings import Places, Settings
from pinpoint.stack import lifecycle
from pinpoint.stack.supervise import Supervisor


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError("gone"),
        http.client.RemoteDisconnected("gone"),
        xmlrpc.client.Fault(6, "SHUTDOWN_STATE"),
    ],
)
def test_a_supervisor_that_leaves_between_two_questions_is_down(home, monkeypatch, error):
    def gone(_supervisor):
        raise error

    monkeypatch.setattr(Supervisor, "pid", lambda _supervisor: 1)
    monkeypatch.setattr(Supervisor, "processes", gone)
    assert lifecycle.status(Settings(places=Places(home=home))).state == "down"
