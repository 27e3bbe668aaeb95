"""The process that owns the index: crashes, hostile clients, threads and forks."""

from __future__ import annotations

import os
import pickle
import socket
import stat
import struct
import subprocess
import sys
import threading
from multiprocessing.connection import Client
from pathlib import Path

import msgspec
import pytest

from index_gallery import SPEC, gallery
from index_process import ask, owner, question, until
from pinpoint.errors import BadRequestError, IndexUnavailableError, ModelMismatchError
from pinpoint.records import IndexSpec
from pinpoint.store.vectors.rpc import codec
from pinpoint.store.vectors.rpc.client import RemoteIndex

__all__ = ["owner"]


def test_killed_and_started_again_it_has_its_data_and_clients_recover(owner):
    client = owner.start()
    client.ensure(SPEC)
    client.upsert(gallery(500))
    before = ask(client)
    info = client.info()
    owner.kill()
    with pytest.raises(IndexUnavailableError):
        client.count()
    assert owner.socket.exists(), "a killed owner leaves its socket behind"
    owner.start()
    until(lambda: client.info().ready)
    assert client.info() == info
    assert ask(client) == before
    assert stat.S_IMODE(owner.socket.stat().st_mode) == 0o600


def test_a_connection_made_before_a_restart_is_replaced_without_an_error(owner):
    client = owner.start()
    client.ensure(SPEC)
    assert client.count() == 0
    assert owner.stop() == 0
    assert not owner.socket.exists()
    other = RemoteIndex(owner.socket, timeout_s=20)
    owner.client = other
    owner.start()
    until(lambda: other.info().ready)
    assert client.count() == 0


def test_ended_before_it_has_begun_it_still_closes_cleanly(owner):
    """numpy's threads are there before any signal mask: one of them must not take the process."""
    owner.folder.mkdir(exist_ok=True)
    for _ in range(3):
        with owner.log.open("a") as log:
            owner.process = subprocess.Popen(owner.command(), env=owner.environment(), stderr=log)
        until(owner.socket.exists)
        assert owner.stop() == 0
        assert not owner.socket.exists()


def test_a_second_owner_is_refused_with_the_process_that_has_it(owner):
    client = owner.start()
    client.ensure(SPEC)
    second = subprocess.run(
        owner.command(), env=owner.environment(), capture_output=True, text=True, timeout=30
    )
    assert second.returncode == 1
    assert str(owner.process.pid) in second.stderr
    assert client.count() == 0
    elsewhere = [*owner.command(), "--folder", str(owner.folder.with_name("other"))]
    third = subprocess.run(
        elsewhere, env=owner.environment(), capture_output=True, text=True, timeout=30
    )
    assert third.returncode == 1
    assert "another process answers" in third.stderr
    assert client.count() == 0


class Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def header(fields: dict) -> bytes:
    packed = msgspec.msgpack.encode(fields)
    return struct.pack(">I", len(packed)) + packed


def test_hostile_frames_get_an_error_and_hurt_nobody(owner, tmp_path):
    client = owner.start()
    client.ensure(SPEC)
    client.upsert(gallery(10))
    bomb = pickle.dumps(Bomb(tmp_path / "exploded"))
    point = codec.pack_points(gallery(1))
    frames = [
        b"",
        b"\x00",
        b"garbage, quite long enough to be read as a length",
        os.urandom(4_096),
        bomb,
        header({"verb": "count", "arrays": []}) + bomb,
        header({"verb": "system", "arrays": []}),
        header({"verb": "__class__", "arrays": []}),
        header({"verb": ["count"], "arrays": []}),
        header({"arrays": []}),
        header({"verb": "count"}),
        header({"verb": "search", "queries": [[1, 2]], "arrays": []}),
        header({"verb": "fetch", "ids": [b"short"], "vectors": False, "arrays": []}),
        header({"verb": "upsert", "points": [], "channels": [], "arrays": [["f4", [2**31]]]}),
        header({"verb": "upsert", "points": [], "channels": [], "arrays": [["O", [1]]]}) + bytes(8),
        header({"verb": "ensure", "contract": "x", "dims": {"image": 10**12}, "arrays": []}),
        codec.encode({"verb": "upsert", **point[0], "channels": [["image", [77]]]}, point[1][:1]),
        struct.pack(">I", 2**32 - 1) + b"x",
        struct.pack(">I", 6) + b"\xdd\xff\xff\xff\xff\x00",
        struct.pack(">I", 50_000) + b"\x91" * 50_000,
    ]
    with Client(str(owner.socket), family="AF_UNIX") as link:
        for frame in frames:
            link.send_bytes(frame)
            answer, _ = codec.decode(link.recv_bytes(codec.MAX_FRAME))
            assert answer["error"][0] in ("BadRequestError", "BadBundle"), frame[:80]
        link.send(Bomb(tmp_path / "exploded"))  # what `Connection.send` pickles
        assert "error" in codec.decode(link.recv_bytes(codec.MAX_FRAME))[0]
    for first in (struct.pack(">i", codec.MAX_FRAME + 1), b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 12):
        with socket.socket(socket.AF_UNIX) as plain:
            plain.settimeout(10)
            plain.connect(str(owner.socket))
            plain.sendall(first)
            try:
                assert plain.recv(1) == b"", "an oversized frame ends the connection"
            except ConnectionResetError:
                continue
    assert not (tmp_path / "exploded").exists()
    assert client.count() == 10
    assert owner.process.poll() is None


def test_errors_come_back_as_what_they_were(owner):
    client = owner.start()
    with pytest.raises(IndexUnavailableError, match="not ready"):
        client.count()
    client.ensure(SPEC)
    with pytest.raises(ModelMismatchError, match="bundles activate"):
        client.ensure(IndexSpec(contract="other", dims={"image": 4}))
    with pytest.raises(BadRequestError) as caught:
        client.search([question(0)])
    assert caught.value.reason == "bad_request"
    with pytest.raises(IndexUnavailableError):
        RemoteIndex(owner.short / "nobody.sock", timeout_s=1).count()


def test_threads_and_forked_children_share_one_client(owner):
    client = owner.start()
    client.ensure(SPEC)
    client.upsert(gallery(200))
    want, wrong = ask(client), []

    def work() -> None:
        for _ in range(20):
            if ask(client) != want:
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    forked = subprocess.run(
        [sys.executable, "-c", FORKS, str(owner.socket)],
        env=owner.environment(), timeout=40, check=False,
    )  # fmt: skip
    assert not wrong
    assert forked.returncode == 0


FORKS = """
import os, sys
from pathlib import Path
from pinpoint.store.vectors.rpc.client import RemoteIndex
client = RemoteIndex(Path(sys.argv[1]))
assert client.count() == 200
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(0 if all(client.count() == 200 for _ in range(50)) else 1)
    children.append(child)
same = all(client.count() == 200 for _ in range(50))
codes = [os.waitpid(child, 0)[1] for child in children]
sys.exit(0 if same and codes == [0, 0, 0] else 1)
"""
