"""The cache of local features: versions, limits, damaged files, deletion, concurrent processes."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest

from pinpoint.atomic_files import PARTIAL_SUFFIX
from pinpoint.records import LocalFeatures
from pinpoint.store.feature_cache import FolderFeatureCache
from pinpoint.store.feature_format import BadFeaturesError, decode_features, encode_features

ORGANIZATION = UUID(int=1)
DIGEST = "a" * 64


def _make_features(seed: int, count: int = 50) -> LocalFeatures:
    rng = np.random.default_rng(seed)
    return LocalFeatures(
        keypoints=rng.uniform(0, 400, (count, 2)).astype(np.float32),
        descriptors=rng.integers(0, 256, (count, 128), np.uint8),
        width_px=640,
        height_px=480,
    )


def _open(folder: Path, **options) -> FolderFeatureCache:
    limits = {"matcher_digest": DIGEST, "max_bytes": 10_000_000, "max_age_s": 3_600.0, **options}
    return FolderFeatureCache(folder / "features", **limits)


def _list_files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("features/*/*/*") if path.is_file()]


def _assert_equal(first: LocalFeatures | None, second: LocalFeatures) -> None:
    assert first is not None
    assert np.array_equal(first.keypoints, second.keypoints)
    assert np.array_equal(first.descriptors, second.descriptors)
    assert (first.width_px, first.height_px) == (second.width_px, second.height_px)


@pytest.mark.parametrize("count", [0, 1, 1_500])
def test_features_from_bytes_equal_the_originals(count):
    features = _make_features(1, count)
    data = encode_features(features)
    _assert_equal(decode_features(data), features)
    assert len(data) <= 136 * count + 32


def test_damaged_bytes_are_refused_wherever_they_are_damaged():
    data = encode_features(_make_features(2, 3))
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        with pytest.raises(BadFeaturesError):
            decode_features(bytes(damaged))
    for length in (0, 5, 26, len(data) - 1):
        with pytest.raises(BadFeaturesError):
            decode_features(data[:length])
    with pytest.raises(BadFeaturesError):
        decode_features(data + b"\0")


def test_get_returns_what_was_put_for_this_version_and_matcher_only(tmp_path):
    cache, image = _open(tmp_path), uuid4()
    features = _make_features(3)
    assert cache.get(ORGANIZATION, image, 1) is None
    cache.put(ORGANIZATION, image, 1, features)
    _assert_equal(cache.get(ORGANIZATION, image, 1), features)
    assert cache.get(ORGANIZATION, image, 2) is None
    assert cache.get(UUID(int=2), image, 1) is None
    assert cache.get(ORGANIZATION, uuid4(), 1) is None
    assert _open(tmp_path, matcher_digest="b" * 64).get(ORGANIZATION, image, 1) is None


def test_put_of_a_new_version_deletes_the_old_one(tmp_path):
    cache, image = _open(tmp_path), uuid4()
    for version in (1, 2):
        cache.put(ORGANIZATION, image, version, _make_features(version))
    assert cache.get(ORGANIZATION, image, 1) is None
    assert len(_list_files(tmp_path)) == 1


def test_delete_removes_all_versions_of_the_images_only(tmp_path):
    cache = _open(tmp_path)
    images = [uuid4() for _ in range(3)]
    for image in images:
        cache.put(ORGANIZATION, image, 7, _make_features(1))
    _open(tmp_path, matcher_digest="b" * 64).put(ORGANIZATION, images[0], 7, _make_features(1))
    cache.delete([images[0], uuid4(), images[1]])
    assert [path.name.split(".")[0] for path in _list_files(tmp_path)] == [str(images[2])]


def test_get_deletes_damaged_files(tmp_path):
    cache, image = _open(tmp_path), uuid4()
    cache.put(ORGANIZATION, image, 1, _make_features(1))
    (file,) = _list_files(tmp_path)
    file.write_bytes(file.read_bytes()[:-9])
    assert cache.get(ORGANIZATION, image, 1) is None
    assert _list_files(tmp_path) == []


def test_get_refuses_old_files_however_often_they_were_used(tmp_path):
    cache, image = _open(tmp_path, max_age_s=100), uuid4()
    cache.put(ORGANIZATION, image, 1, _make_features(1))
    (file,) = _list_files(tmp_path)
    os.utime(file, (time.time(), time.time() - 90))
    assert cache.get(ORGANIZATION, image, 1) is not None
    assert file.stat().st_mtime < time.time() - 80, "a use must not make the file younger"
    os.utime(file, (time.time(), time.time() - 110))
    assert cache.get(ORGANIZATION, image, 1) is None
    assert _list_files(tmp_path) == []


def test_prune_deletes_old_files_and_partial_files_of_killed_processes(tmp_path):
    cache = _open(tmp_path, max_age_s=3_600)
    images = [uuid4() for _ in range(3)]
    for image in images:
        cache.put(ORGANIZATION, image, 1, _make_features(1))
    files = sorted(_list_files(tmp_path))
    os.utime(files[0], (time.time(), time.time() - 3_700))
    partial = files[1].with_name(f".{files[1].name}.0011223344556677{PARTIAL_SUFFIX}")
    partial.write_bytes(b"x")
    os.utime(partial, (0, time.time() - 700))
    assert cache.prune() == 2
    assert sorted(_list_files(tmp_path)) == files[1:]


def test_prune_deletes_the_least_recently_used_files_first(tmp_path):
    size = len(encode_features(_make_features(1)))
    cache = _open(tmp_path, max_bytes=100 * size)
    images = [uuid4() for _ in range(90)]
    for number, image in enumerate(images):
        _open(tmp_path).put(ORGANIZATION, image, 1, _make_features(1))
        (file,) = tmp_path.glob(f"features/*/*/{image}.*")
        now = time.time()
        os.utime(file, (now - 1_000 + number, now - 2_000))
    assert cache.get(ORGANIZATION, images[0], 1) is not None
    assert cache.prune() == 15
    kept = {path.name.split(".")[0] for path in _list_files(tmp_path)}
    assert kept == {str(image) for image in (images[0], *images[16:])}


def test_put_never_exceeds_the_maximum_size(tmp_path):
    size = len(encode_features(_make_features(1)))
    cache = _open(tmp_path, max_bytes=50 * size)
    for number in range(200):
        cache.put(ORGANIZATION, uuid4(), 1, _make_features(number))
        assert sum(path.stat().st_size for path in _list_files(tmp_path)) <= 50 * size
    assert len(_list_files(tmp_path)) >= 30


def test_cache_of_size_zero_stores_nothing(tmp_path):
    cache, image = _open(tmp_path, max_bytes=0), uuid4()
    cache.put(ORGANIZATION, image, 1, _make_features(1))
    assert cache.get(ORGANIZATION, image, 1) is None
    assert _list_files(tmp_path) == []
    assert cache.prune() == 0


def test_put_to_a_folder_that_cannot_be_written_does_not_fail(tmp_path):
    (tmp_path / "features").write_bytes(b"a file in place of the folder")
    cache, image = _open(tmp_path), uuid4()
    cache.put(ORGANIZATION, image, 1, _make_features(1))
    assert cache.get(ORGANIZATION, image, 1) is None


def test_pruning_thread_deletes_files_of_images_whose_deletion_was_missed(tmp_path):
    cache = _open(tmp_path, max_age_s=0.2)
    cache.put(ORGANIZATION, uuid4(), 1, _make_features(1))
    cache.start_pruning()
    try:
        deadline = time.monotonic() + 20
        while _list_files(tmp_path):
            assert time.monotonic() < deadline, "nothing was pruned"
            time.sleep(0.05)
    finally:
        cache.close()
    assert "feature cache" not in {thread.name for thread in threading.enumerate()}


def test_concurrent_processes_read_whole_features_only(tmp_path):
    """Four processes put, get, delete and prune the same few images in a small cache."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [
        context.Process(target=_use_cache, args=(tmp_path, seed, results)) for seed in range(4)
    ]
    for process in processes:
        process.start()
    outcomes = [results.get(timeout=100) for _ in processes]
    for process in processes:
        process.join(timeout=60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert all(hits > 0 and errors == [] for hits, errors in outcomes), outcomes
    assert not list(tmp_path.glob("features/*/*/.*"))


def _use_cache(folder: Path, seed: int, results) -> None:
    rng = np.random.default_rng(seed)
    size = len(encode_features(_make_features(1)))
    cache = _open(folder, max_bytes=60 * size)
    hits, errors = 0, []
    try:
        for _ in range(400):
            number = int(rng.integers(0, 50))
            image = UUID(int=number)
            action = rng.uniform()
            if action < 0.5:
                features = cache.get(ORGANIZATION, image, 1)
                if features is not None:
                    hits += 1
                    _assert_equal(features, _make_features(number))
            elif action < 0.9:
                cache.put(ORGANIZATION, image, 1, _make_features(number))
            elif action < 0.97:
                cache.delete([image])
            else:
                cache.prune()
    except BaseException as error:
        errors.append(repr(error))
    results.put((hits, errors))
