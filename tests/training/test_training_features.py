"""The cache of features: values, a single pass, resuming after interrupts, identity checks."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pinpoint.errors import BadBundleError, BadRequestError, ConflictError
from pinpoint.media.decoding.decoder import ChildDecoder
from pinpoint.settings import MediaSettings
from pinpoint.training.core.samples import read_samples
from pinpoint.training.embedder.features import FeatureEncoder, cache_features, open_features
from training.counting_decoder import CHUNK, TOWER, WIDTH, CountingDecoder, encode

PROGRAM = Path(__file__).with_name("counting_decoder.py")


@pytest.fixture(scope="module")
def real():
    with ChildDecoder(MediaSettings(), children=2) as child_decoder:
        yield child_decoder


@pytest.fixture
def decoder(real):
    return CountingDecoder(real)


@pytest.fixture(scope="module")
def table(sources):
    """Street views of the training part, panoramas among them."""
    return read_samples(sources[1:2], MediaSettings()).samples


@pytest.fixture(scope="module")
def whole(table, real, tmp_path_factory):
    """A cache that was filled without interruption."""
    folder = tmp_path_factory.mktemp("whole") / "features"
    fill(folder, table, real)
    return folder


def fill(folder, table, decoder, **changed):
    options = {"encode": encode, "tower": TOWER, "width": WIDTH, "chunk": CHUNK, "threads": 2}
    options |= changed
    encoder = FeatureEncoder(
        encode=options.pop("encode"), digest=options.pop("tower"), width=options.pop("width")
    )
    return cache_features(folder, table, decoder=decoder, encoder=encoder, **options)


def same_files(one, other):
    assert (one / "features.f16").read_bytes() == (other / "features.f16").read_bytes()
    return True


def test_cache_features_agree_with_single_images(table, whole, real):
    got = open_features(whole, table, tower=TOWER, width=WIDTH)
    assert got.values.shape == (len(table), WIDTH)
    assert got.values.dtype == np.float16
    assert not got.values.flags.writeable
    assert got.usable.tolist() == list(range(len(table)))
    taken = set()
    for row in range(len(table)):
        faces = real.read("x", str(table.files[row]), query=True).faces
        taken.add(faces[row % len(faces)].name)
        alone = encode([faces[row % len(faces)].pixels])[0].astype(np.float16)
        np.testing.assert_allclose(got.values[row], alone, atol=2e-3)
    assert len(np.unique(got.values, axis=0)) > 0.9 * len(table)
    assert taken == {None, "front", "right", "back", "left"}


def test_cache_features_decodes_each_file_once(table, whole, decoder, tmp_path):
    progress = []
    fill(tmp_path / "f", table, decoder, on_progress=lambda *two: progress.append(two))
    assert sorted(decoder.files) == sorted(table.files.tolist())
    assert progress[0] == (0, len(table))
    assert progress[-1] == (len(table), len(table))
    assert [done for done, _ in progress] == sorted({done for done, _ in progress})
    decoder.files.clear()
    progress.clear()
    fill(tmp_path / "f", table, decoder, on_progress=lambda *two: progress.append(two))
    assert decoder.files == []
    assert progress == [(len(table), len(table))]
    assert same_files(tmp_path / "f", whole)


def test_cache_features_after_kill_resumes(table, whole, sources, decoder, tmp_path):
    folder = tmp_path / "f"
    command = [sys.executable, PROGRAM, folder, sources[1].manifest, "street"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        lines = [writer.stdout.readline() for _ in range(3)]
        writer.kill()
    assert lines[-1].split() == [str(2 * CHUNK), str(len(table))]
    with pytest.raises(ConflictError, match=r"incomplete: [234] of \d"):
        open_features(folder, table, tower=TOWER, width=WIDTH)
    done = len((folder / "features.done").read_text().splitlines())
    fill(folder, table, decoder)
    assert sorted(decoder.files) == sorted(table.files[done * CHUNK :].tolist())
    assert same_files(folder, whole)


def test_cache_features_after_error_keeps_finished_chunks(table, whole, decoder, tmp_path):
    calls = []

    def breaking(images):
        calls.append(len(images))
        if len(calls) == 3:
            raise RuntimeError("the device is gone")
        return encode(images)

    with pytest.raises(RuntimeError, match="device"):
        fill(tmp_path / "f", table, decoder, encode=breaking)
    decoder.files.clear()
    # The second call has another chunk size; the cache keeps its own.
    fill(tmp_path / "f", table, decoder, chunk=7)
    assert sorted(decoder.files) == sorted(table.files[2 * CHUNK :].tolist())
    assert same_files(tmp_path / "f", whole)


def half_a_line(folder):
    path = folder / "features.done"
    path.write_bytes(path.read_bytes()[:-9])


def garbage(folder):
    path = folder / "features.done"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1]) + b"\0" * 40 + b"\n" + b"".join(lines[1:]))


def truncated(folder):
    path = folder / "features.f16"
    path.write_bytes(path.read_bytes()[: CHUNK * WIDTH * 2 + 5])


def no_values(folder):
    (folder / "features.f16").unlink()


def flipped(folder):
    data = bytearray((folder / "features.f16").read_bytes())
    data[2 * CHUNK * WIDTH * 2 + 1] ^= 4
    (folder / "features.f16").write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        (half_a_line, slice(0, -1)),
        (garbage, slice(0, 1)),
        (truncated, slice(0, 1)),
        (no_values, slice(0, 0)),
        (flipped, [0, 1, *range(3, 99)]),
    ],
)
def test_cache_features_with_damaged_chunks_repeats_only_them(
    table, whole, decoder, tmp_path, damage, kept
):
    folder = tmp_path / "f"
    shutil.copytree(whole, folder)
    damage(folder)
    if (
        damage is not flipped
    ):  # a flipped bit is detected by `cache_features`, not by `open_features`
        with pytest.raises(ConflictError, match="are incomplete"):
            open_features(folder, table, tower=TOWER, width=WIDTH)
    fill(folder, table, decoder)
    chunks = range(-(-len(table) // CHUNK))
    left = [k for k in chunks if k in kept] if isinstance(kept, list) else chunks[kept]
    again = [k for k in range(len(table)) if k // CHUNK not in left]
    assert sorted(decoder.files) == sorted(table.files[again].tolist())
    assert same_files(folder, whole)
    assert len(open_features(folder, table, tower=TOWER, width=WIDTH).usable) == len(table)


def test_cache_features_counts_unreadable_files(sources, decoder, tmp_path):
    shutil.copytree(sources[0].manifest.parent, tmp_path / "copy")
    source = type(sources[0])(manifest=tmp_path / "copy" / "manifest.csv", kind="photo")
    table = read_samples([source], MediaSettings()).samples
    bad = {3: b"no picture at all", CHUNK: Path(table.files[CHUNK]).read_bytes()[:700]}
    for row, data in bad.items():
        Path(table.files[row]).write_bytes(data)
    alone = range(2 * CHUNK, 3 * CHUNK)  # a chunk without any image
    for row in alone:
        Path(table.files[row]).write_bytes(b"nothing")
    got = fill(tmp_path / "f", table, decoder)
    assert {row: got.rejected[row] for row in bad} == {
        3: "unsupported_format",
        CHUNK: "undecodable",
    }
    assert got.rejection_counts == {"unsupported_format": 1 + CHUNK, "undecodable": 1}
    assert got.usable.tolist() == [k for k in range(len(table)) if k not in {*bad, *alone}]
    assert not got.values[[*bad, *alone]].any()
    assert got.values[got.usable].any(axis=1).all()
    decoder.files.clear()
    assert fill(tmp_path / "f", table, decoder).rejected == got.rejected
    assert decoder.files == []


def test_cache_features_of_other_samples_or_tower_is_refused(table, samples, whole, real):
    for changed, words in (
        ({"tower": "0" * 64}, "something else: tower is '.*' and not '0000"),
        ({"width": WIDTH + 1}, f"width is {WIDTH} and not {WIDTH + 1}"),
    ):
        with pytest.raises(ConflictError, match=words):
            fill(whole, table, real, **changed)
        with pytest.raises(ConflictError, match=words):
            open_features(whole, table, **({"tower": TOWER, "width": WIDTH} | changed))
    with pytest.raises(
        ConflictError, match=f"table is .* count is {len(table)} and not {len(samples)}"
    ):
        fill(whole, samples, real)


def test_cache_features_in_folder_with_other_files_is_refused(table, real, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConflictError, match="other files"):
        fill(tmp_path, table, real)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    with pytest.raises(ConflictError, match="no features that can be read"):
        open_features(tmp_path, table, tower=TOWER, width=WIDTH)
    with pytest.raises(BadRequestError, match="threads 0"):
        fill(tmp_path / "new", table, real, threads=0)


def test_cache_features_with_second_writer_is_refused(table, whole, real, tmp_path):
    shutil.copytree(whole, tmp_path / "f")
    with (tmp_path / "f" / "features.done").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(ConflictError, match="another process"):
            fill(tmp_path / "f", table, real)
    fill(tmp_path / "f", table, real)


def test_cache_features_with_invalid_encoder_output_is_refused(table, real, tmp_path):
    with pytest.raises(
        BadBundleError, match=rf"returns \({CHUNK}, {WIDTH}\) .*instead of \({CHUNK}, 9\)"
    ):
        fill(tmp_path / "a", table, real, width=9)
    with pytest.raises(BadBundleError, match="fp16 cannot represent"):
        fill(tmp_path / "b", table, real, encode=lambda images: encode(images) * 1e6)
    with pytest.raises(BadBundleError, match="fp16 cannot represent"):
        fill(tmp_path / "c", table, real, encode=lambda images: encode(images) * np.nan)
    assert (tmp_path / "c" / "features.done").read_bytes() == b""
    header = json.loads((tmp_path / "c" / "features.json").read_text())
    assert header["table"] == table.fingerprint()
