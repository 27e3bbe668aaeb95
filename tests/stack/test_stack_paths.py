"""Paths, ports, locks and secrets of a home."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pinpoint.errors import StackError
from pinpoint.stack.paths import StackPaths, create_private_folder
from pinpoint.stack.state import choose_port, load_operator_key, read_state, stack_lock


def test_socket_paths_of_a_long_home_have_at_most_60_bytes(tmp_path):
    paths = StackPaths(tmp_path / ("long" * 40) / "home")
    for path in (paths.redis_socket, paths.index_socket, paths.supervisor_socket):
        assert len(os.fsencode(path)) <= 60


def test_stack_paths_of_two_homes_differ_and_of_a_link_are_equal(tmp_path):
    first, other = StackPaths(tmp_path / "a"), StackPaths(tmp_path / "b")
    assert first.socket_dir != other.socket_dir
    assert first.pgdata != other.pgdata
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert StackPaths(tmp_path / "link").socket_dir == first.socket_dir


@pytest.mark.parametrize("name", ["a;b", "a#b", "a'b", 'a"b', "a\nb"])
def test_home_with_special_characters_is_rejected(tmp_path, name):
    with pytest.raises(StackError, match="plainer path"):
        StackPaths(tmp_path / name).create()
    assert not (tmp_path / name).exists()


def test_create_private_folder_that_exists_as_file_link_or_foreign_raises(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StackError, match="remove it"):
        create_private_folder(tmp_path / "file")
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(StackError, match="remove it"):
        create_private_folder(tmp_path / "link")
    if os.geteuid() == 0:
        (tmp_path / "theirs").mkdir()
        os.chown(tmp_path / "theirs", 12345, 12345)
        with pytest.raises(StackError, match="remove it"):
            create_private_folder(tmp_path / "theirs")


def test_create_private_folder_sets_mode_0700(tmp_path):
    (tmp_path / "open").mkdir(mode=0o777)
    create_private_folder(tmp_path / "open")
    assert stat.S_IMODE((tmp_path / "open").stat().st_mode) == 0o700


def test_choose_port_keeps_the_last_port_unless_taken():
    with socket.create_server(("127.0.0.1", 0)) as busy:
        busy_port = busy.getsockname()[1]
        free = choose_port("127.0.0.1", 0, busy_port)
        assert free not in (0, busy_port)
        assert choose_port("127.0.0.1", 0, free) == free
        with pytest.raises(StackError, match="PINPOINT_API_PORT"):
            choose_port("127.0.0.1", busy_port, None)


def test_load_operator_key_creates_it_once_with_mode_0600(home):
    paths = StackPaths(home)
    key = load_operator_key(paths)
    assert len(key) >= 40
    assert load_operator_key(paths) == key
    assert stat.S_IMODE(paths.operator_key_file.stat().st_mode) == 0o600


def test_read_state_of_damaged_file_returns_none(home):
    paths = StackPaths(home)
    assert read_state(paths) is None
    for text in ("", "{", "[]", '{"api_port": 1}'):
        paths.state_file.write_text(text)
        assert read_state(paths) is None


def test_stack_lock_blocks_until_the_holder_is_killed(tmp_path):
    path, order = tmp_path / "lock", []
    code = (
        "import sys, time; from pathlib import Path; from pinpoint.stack.state import stack_lock\n"
        "with stack_lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"

    def second() -> None:
        with stack_lock(path):
            order.append("second")

    waiting = threading.Thread(target=second)
    waiting.start()
    time.sleep(0.3)
    order.append("killed")
    holder.kill()
    waiting.join(5)
    holder.communicate()
    assert order == ["killed", "second"]


def test_pgdata_is_outside_the_home_for_root_only(tmp_path):
    paths = StackPaths(tmp_path / "home")
    inside = paths.pgdata.is_relative_to(paths.home)
    assert inside == (os.geteuid() != 0)
    assert paths.cluster_dir.is_relative_to(Path("/var/lib/pinpoint")) != inside
