"""Samples from manifests: every row is a sample or is counted with a reason."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import h3
import numpy as np
import pytest

from pinpoint.errors import BadManifestError, BadRequestError
from pinpoint.settings import MediaSettings
from pinpoint.training.core.samples import ManifestSource, read_samples

HEAD = ("file", "latitude", "longitude", "creator", "sequence", "panorama")


def write(folder, rows):
    folder.mkdir(parents=True, exist_ok=True)
    for row in rows:
        (folder / row[0]).write_bytes(b"x" * 10)
    path = folder / "manifest.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([HEAD, *rows])
    return path


def test_read_samples_returns_manifest_rows(samples, sources):
    manifest_rows = []
    for source in sources:
        with source.manifest.open(encoding="utf-8", newline="") as stream:
            manifest_rows += [(source, row) for row in csv.DictReader(stream)]
    assert len(samples) == len(manifest_rows) > 200
    for k, (source, row) in enumerate(manifest_rows):
        assert samples.ids[k] == f"{source.manifest.parent.name}/{row['file']}"
        path = Path(samples.files[k])
        assert path == source.manifest.parent / row["file"]
        assert path.is_absolute()
        assert samples.sizes[k] == path.stat().st_size
        assert (samples.lat[k], samples.lon[k]) == (float(row["latitude"]), float(row["longitude"]))
        assert samples.kinds[k] == source.kind
        assert (samples.creators[k], samples.sequences[k]) == (row["creator"], row["sequence"])
        cell = h3.latlng_to_cell(float(row["latitude"]), float(row["longitude"]), 5)
        assert h3.int_to_str(int(samples.cells[k])) == cell
    assert set(samples.kinds.tolist()) == {"photo", "street"}


def test_read_samples_counts_rejected_rows_by_reason(tmp_path):
    path = write(
        tmp_path / "mixed",
        [
            ("a.jpg", "10", "20", "ann", "", ""),
            ("b.jpg", "", "", "ann", "", ""),
            ("c.jpg", "0", "0", "ann", "", ""),
            ("d.jpg", "91", "20", "ann", "", ""),
            ("e.jpg", "10", "20", "", "drive", ""),
            ("f.jpg", "10", "20", "", "", "p1"),
            ("a.jpg", "11", "21", "ann", "", ""),
            ("g.jpg", "10", "twenty", "", "", ""),
            ("gone.jpg", "10", "20", "", "", ""),
            ("empty.jpg", "10", "20", "", "", ""),
            ("large.jpg", "10", "20", "", "", ""),
        ],
    )
    (path.parent / "gone.jpg").unlink()
    (path.parent / "empty.jpg").write_bytes(b"")
    (path.parent / "large.jpg").write_bytes(b"x" * 2_000)
    settings = MediaSettings(max_bytes=1_000)
    got = read_samples([ManifestSource(manifest=path, kind="photo")], settings)
    assert got.samples.ids.tolist() == ["mixed/a.jpg", "mixed/e.jpg", "mixed/f.jpg"]
    assert got.samples.sequences.tolist() == ["", "drive", "panorama mixed/p1"]
    assert got.rejected == {
        "no_position": 1,
        "null_island": 1,
        "out_of_range": 1,
        "duplicate": 1,
        "bad_row": 1,
        "missing_file": 1,
        "empty_file": 1,
        "too_large": 1,
    }
    assert got.rows == 11 == len(got.samples) + sum(got.rejected.values())
    assert Counter(one.error_code for one in got.examples) == got.rejected


def test_read_samples_keeps_three_examples_of_each_reason(tmp_path):
    rows = [(f"{n}.jpg", "", "", "", "", "") for n in range(9)]
    path = write(tmp_path / "s", [("ok.jpg", "1", "2", "", "", ""), *rows])
    got = read_samples([ManifestSource(manifest=path, kind="street")], MediaSettings())
    assert got.rejected == {"no_position": 9}
    assert [one.file for one in got.examples] == ["0.jpg", "1.jpg", "2.jpg"]


def test_samples_fingerprint_covers_rows_but_not_folder(tmp_path):
    rows = [("a.jpg", "10", "20", "ann", "", ""), ("b.jpg", "11", "21", "", "s", "")]

    def fingerprint(folder, kind="photo", name="one"):
        source = ManifestSource(manifest=folder / "manifest.csv", kind=kind, name=name)
        return read_samples([source], MediaSettings()).samples.fingerprint()

    write(tmp_path / "here", rows)
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    first = fingerprint(tmp_path / "here")
    assert fingerprint(tmp_path / "there") == first
    assert len(first) == 64
    others = {
        fingerprint(tmp_path / "here", kind="street"),
        fingerprint(tmp_path / "here", name="x"),
    }
    (tmp_path / "there" / "b.jpg").write_bytes(b"x" * 11)
    others.add(fingerprint(tmp_path / "there"))
    for column, value in ((1, "10.00000001"), (2, "20.1"), (3, "bob"), (4, "t")):
        changed = list(rows[0])
        changed[column] = value
        write(tmp_path / "other", [tuple(changed), rows[1]])
        others.add(fingerprint(tmp_path / "other"))
    write(tmp_path / "other", rows[::-1])
    others.add(fingerprint(tmp_path / "other"))
    assert len(others - {first}) == 8


def test_read_samples_with_invalid_sources_is_refused(tmp_path, sources):
    settings = MediaSettings()
    with pytest.raises(BadRequestError, match="at least one manifest"):
        read_samples([], settings)
    with pytest.raises(BadRequestError, match="'drone'; use one of photo, street"):
        read_samples([replace(sources[0], kind="drone")], settings)
    with pytest.raises(BadRequestError, match="two sources are called train-photo"):
        read_samples([sources[0], sources[0]], settings)
    with pytest.raises(BadRequestError, match=r"\[0, 15\], not 16"):
        read_samples(sources, settings, geocell_resolution=16)
    with pytest.raises(BadManifestError, match="no manifest at"):
        read_samples([ManifestSource(manifest=tmp_path / "none.csv", kind="photo")], settings)
    path = write(tmp_path / "s", [("a.jpg", "", "", "", "", "")] * 2)
    with pytest.raises(BadManifestError, match=r"nothing to train on .*: no_position 2"):
        read_samples([ManifestSource(manifest=path, kind="photo")], settings)


def test_read_samples_of_repeated_file_counts_duplicates(tmp_path, sources):
    again = [sources[0], replace(sources[0], name="twice")]
    got = read_samples(again, MediaSettings())
    assert got.rejected == {"duplicate": len(got.samples)}


def test_samples_with_inconsistent_columns_are_refused(samples):
    with pytest.raises(ValueError, match="different lengths"):
        replace(samples, lat=samples.lat[:-1])
    ids = samples.ids.copy()
    ids[3] = ids[0]
    with pytest.raises(ValueError, match="occurs twice"):
        replace(samples, ids=ids)
    assert samples.positions.shape == (len(samples), 2)
    assert np.isfinite(samples.positions).all()
