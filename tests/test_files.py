"""Atomic replacement, locks and batches: `atomic_files`, `file_locks`, `iteration`."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinpoint.atomic_files import (
    PARTIAL_SUFFIX,
    open_atomic,
    remove_partial_files,
    write_atomic,
)
from pinpoint.file_locks import try_lock, try_shared_lock
from pinpoint.iteration import batched

HOLDER = """
import sys, time
from pathlib import Path
from pinpoint.file_locks import try_lock
with try_lock(Path(sys.argv[1])) as is_locked:
    print(is_locked, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("durable", [True, False])
def test_write_atomic_existing_file_replaces_content(tmp_path, durable):
    path = tmp_path / "a.json"
    write_atomic(path, "é", durable=durable)
    write_atomic(path, b"new", durable=durable, mode=0o600)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("durable", [True, False])
def test_write_atomic_durable_syncs_file_before_rename_and_folder_after(
    tmp_path, monkeypatch, durable
):
    steps, fsync, replace = [], os.fsync, os.replace

    def record_fsync(descriptor):
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def record_replace(source, target):
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    write_atomic(tmp_path / "a", b"data", durable=durable)
    assert steps == (["file", "rename", "folder"] if durable else ["rename"])


def test_open_atomic_error_in_block_keeps_old_content(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), open_atomic(path, durable=True) as file:
        file.writelines([b"half", None])
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomic_full_disk_keeps_old_content(tmp_path, monkeypatch):
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def fail(_descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="No space left"):
            write_atomic(path, b"new", durable=True)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomic_many_writers_leave_one_whole_content(tmp_path):
    path, contents = tmp_path / "a", [bytes([number]) * 200_000 for number in range(4)]

    def write_often(data):
        for _ in range(20):
            write_atomic(path, data, durable=False)

    threads = [threading.Thread(target=write_often, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if path.exists():
            assert path.read_bytes() in contents
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_remove_partial_files_after_kill_leaves_other_files(tmp_path):
    (tmp_path / "a").write_bytes(b"whole")
    (tmp_path / f".a.0123{PARTIAL_SUFFIX}").write_bytes(b"half")
    remove_partial_files(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_try_lock_killed_holder_releases_lock(tmp_path):
    path = tmp_path / "lock"
    path.write_text("content")
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"True\n"
        with try_lock(path) as is_locked:
            assert not is_locked
        with try_shared_lock(path) as is_free:
            assert not is_free
        start_s = time.monotonic()
        with try_lock(path, timeout_s=0.3) as is_locked:
            assert not is_locked
        assert time.monotonic() - start_s >= 0.3
    finally:
        holder.kill()
        holder.communicate()
    with try_lock(path, timeout_s=5.0) as is_locked:
        assert is_locked
    assert path.read_text() == "content"


def test_try_lock_forked_child_does_not_keep_lock(tmp_path):
    with try_lock(tmp_path / "lock") as is_locked:
        assert is_locked
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with try_lock(tmp_path / "lock") as is_locked:
        assert is_locked
    child.communicate(b"\n")


def test_try_shared_lock_two_readers_both_see_free(tmp_path):
    path = tmp_path / "lock"
    with try_shared_lock(path) as first, try_shared_lock(path) as second:
        assert (first, second) == (True, True)
        with try_lock(path) as is_locked:
            assert not is_locked


@given(st.lists(st.integers()), st.integers(1, 9))
def test_batched_any_items_keeps_order_and_size(items, size):
    batches = list(batched(iter(items), size))
    assert [item for batch in batches for item in batch] == items
    assert all(len(batch) == size for batch in batches[:-1])
    assert all(0 < len(batch) <= size for batch in batches)


def test_batched_size_zero_raises_value_error():
    with pytest.raises(ValueError, match="at least one"):
        list(batched([1], 0))
