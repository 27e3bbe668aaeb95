"""The published label files of IM2GPS and IM2GPS3k."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from evaluation.tables import read, truths
from pinpoint.evaluation.labels.describe import describe_labels
from shared_data import shared_data

HEAD = "IMG_ID,AUTHOR,LAT,LON,"


def labels(name: str) -> Path:
    return shared_data() / "labels" / f"{name}_places365.csv"


def test_describe_im2gps_labels() -> None:
    description = describe_labels(read("im2gps", labels("im2gps")))
    assert (description["rows"], description["queries"], description["dropped"]) == (237, 237, {})
    assert description["latitude_deg"] == [-50.462312, 78.052895]
    assert description["longitude_deg"] == [-156.545133, 173.048229]
    assert description["creators"] == {"number": 231, "largest": 2, "unknown": 0}
    assert description["notes"] == [
        "177 creators were taken from the file name, because the column has another value"
    ]


def test_describe_im2gps3k_labels() -> None:
    description = describe_labels(read("im2gps3k", labels("im2gps3k")))
    assert (description["rows"], description["queries"], description["dropped"]) == (
        2997,
        2997,
        {},
    )
    assert description["latitude_deg"] == [-54.786334, 70.396292]
    assert description["longitude_deg"] == [-157.942478, 174.7654]
    assert description["creators"] == {"number": 198, "largest": 235, "unknown": 0}
    assert round(100 * description["coordinates"]["share_sharing"], 1) == 51.1
    assert description["coordinates"]["most_at_one"] == 43
    assert description["notes"] == ["3,000 images were released, 2,997 of them with a label"]


@pytest.mark.parametrize(("name", "beyond"), [("im2gps", 68), ("im2gps3k", 1060)])
def test_read_labels_swapped_header_gives_same_queries(
    tmp_path: Path, name: str, beyond: int
) -> None:
    text = labels(name).read_text(encoding="utf-8")
    assert text.startswith(HEAD)
    swapped = tmp_path / "swapped.csv"
    swapped.write_text(text.replace(HEAD, "IMG_ID,AUTHOR,LON,LAT,", 1), encoding="utf-8")
    right, wrong = read(name, labels(name)), read(name, swapped)
    assert right.queries == wrong.queries
    summary = f"{beyond:,} of {right.rows:,} positions are possible only with both columns swapped"
    assert [note for note in wrong.notes if note not in right.notes] == [
        f"{summary}, none only as named: the header is wrong, every row was swapped"
    ]
    assert wrong.dropped == {}


@pytest.mark.parametrize(("name", "cut"), [("im2gps", 177), ("im2gps3k", 0)])
def test_read_labels_creator_is_in_every_file_name(tmp_path: Path, name: str, cut: int) -> None:
    with labels(name).open(encoding="utf-8", newline="") as stream:
        keys = ("IMG_ID", "LAT", "LON", "AUTHOR")
        rows = [tuple(row[key] for key in keys) for row in csv.DictReader(stream)]
    bare = tmp_path / "bare.csv"
    bare.write_text("IMG_ID,LAT,LON\n" + "\n".join(",".join(row[:3]) for row in rows) + "\n")
    full, named = read(name, labels(name)), read(name, bare)
    assert truths(full) == truths(named)
    authors = [question.creator for question in full.queries]
    assert authors == [question.creator for question in named.queries]
    # AUTHOR ends in the owner's id; if a file name has five `_`, it has a longer prefix.
    assert all(row[3].endswith(author) for row, author in zip(rows, authors, strict=True))
    assert sum(row[3] != author for row, author in zip(rows, authors, strict=True)) == cut


def test_read_labels_mapping_reads_geoclip_coordinates(tmp_path: Path) -> None:
    source = shared_data() / "gps" / "coordinates_100K.csv"
    lines = source.read_text(encoding="utf-8").splitlines()
    numbered = tmp_path / "numbered.csv"
    head = f"nr,{lines[0]}"
    rows = [f"{n},{line}" for n, line in enumerate(lines[1:5001])]
    numbered.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    labeled = read("custom", numbered, {"file": "{nr}.jpg", "latitude": "LAT", "longitude": "LON"})
    expected = [tuple(float(cell) for cell in line.split(",")[:2]) for line in lines[1:5001]]
    assert labeled.rows == 5_000
    assert [row[1:] for row in truths(labeled)] == expected
