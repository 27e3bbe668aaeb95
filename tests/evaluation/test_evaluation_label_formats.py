"""Known defects of published label files, one test each."""

from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.label_tables import custom, file_positions, random_positions, read, write
from media.pictures import noise, saved
from pinpoint.evaluation.labels.describe import describe_labels
from pinpoint.evaluation.labels.latlon_order import detect_latlon_order

PLACES365 = "IMG_ID,AUTHOR,LAT,LON,S3_Label"
OSV5M = (
    "id,latitude,longitude,sequence,land_cover,climate,drive_side,unique_region,unique_sub-region,"
    "unique_city,unique_country,creator_username,creator_id"
)


def photo_name(number: int, creator: str = "78841376@N00") -> str:
    return f"{number}_e60e9cdfb4_1125_{creator}.jpg"


def test_swapped_header_is_detected(tmp_path: Path) -> None:
    labels = [
        (photo_name(n), "78841376@N00", lat, lon, 2)
        for n, (lat, lon) in enumerate(random_positions(200))
    ]
    right = read("im2gps3k", write(tmp_path / "right.csv", PLACES365, labels))
    head = PLACES365.replace("LAT,LON", "LON,LAT")
    wrong = read("im2gps3k", write(tmp_path / "wrong.csv", head, labels))
    assert right.queries == wrong.queries
    assert file_positions(right) == [(row[0], row[2], row[3]) for row in labels]
    beyond = sum(abs(lon) > 90 for _, lon in random_positions(200))
    assert (
        f"{beyond} of 200 positions are possible only with both columns swapped" in wrong.notes[-1]
    )
    assert "every row was swapped" in wrong.notes[-1]
    assert not any("swapped" in note for note in right.notes)
    assert wrong.dropped == {}


def test_swapped_header_is_not_inferred_from_one_typo(tmp_path: Path) -> None:
    # Europe is valid in both orders; one latitude of 482 instead of 48.2 proves nothing.
    rows = [(f"{n}.jpg", 48.0 + n / 100, 2.0 + n / 100) for n in range(30)]
    labeled = custom(tmp_path, "file,latitude,longitude", *rows, ("slip.jpg", 95.5, 16.4))
    assert labeled.dropped == {"out_of_range": 1}
    assert file_positions(labeled) == rows
    (note,) = labeled.notes
    assert "1 of 31 positions are possible only with both columns swapped, too few" in note
    assert "give a column mapping" in note


def test_swapped_header_ambiguous_table_is_read_as_named(tmp_path: Path) -> None:
    rows = [("a.jpg", 10.0, 120.0), ("b.jpg", 120.0, 10.0), ("c.jpg", 120.0, 130.0)]
    labeled = custom(tmp_path, "file,latitude,longitude", *rows)
    assert file_positions(labeled) == [("a.jpg", 10.0, 120.0)]
    assert labeled.dropped == {"out_of_range": 2}
    (note,) = labeled.notes
    assert "1 of 2 positions" in note, "positions invalid in both orders are ignored"
    assert "and 1 only as named" in note


def test_swapped_header_unverifiable_gives_note(tmp_path: Path) -> None:
    labeled = custom(tmp_path, "file,latitude,longitude", ("a.jpg", 48.0, 2.0))
    (note,) = labeled.notes
    assert "cannot reveal a wrong header" in note
    assert detect_latlon_order([]).notes == ()
    assert detect_latlon_order([(None, 3.0), (48.0, 120.0)]) == detect_latlon_order([(48.0, 120.0)])
    assert detect_latlon_order([(48.0, 120.0)]).notes == ()


def test_im2gps3k_counts_are_noted(tmp_path: Path) -> None:
    labels = [
        (photo_name(n), "78841376@N00", lat, lon, 0)
        for n, (lat, lon) in enumerate(random_positions(2997))
    ]
    full = read("im2gps3k", write(tmp_path / "whole.csv", PLACES365, labels))
    assert full.notes == ("3,000 images were released, 2,997 of them with a label",)
    assert (describe_labels(full)["expected_rows"], describe_labels(full)["released_images"]) == (
        2997,
        3000,
    )
    part = read("im2gps3k", write(tmp_path / "part.csv", PLACES365, labels[:-7]))
    assert part.notes[0] == "2,990 queries; the release has 2,997 labeled photos"


def osv_row(number: int, country: str, region: str, sub: str, city: str) -> tuple[object, ...]:
    return (number, 10.5, 120.5 + number / 1000, "", 4, 1, 0, region, sub, city, country, "x", "9")


def test_osv5m_missing_and_nan_area_labels_are_noted(tmp_path: Path) -> None:
    rows = [
        osv_row(1, "NZ", "Chatham Islands_NZ", "", "Waitangi_NaN_Chatham Islands_NZ"),
        osv_row(2, "FR", "Bretagne_FR", "Finistere_Bretagne_FR", "Brest_Finistere_Bretagne_FR"),
        osv_row(3, "NA", "Khomas_NA", "nan", "NaN"),
        osv_row(4, "NaN", "", "NULL", "None"),
    ]
    labeled = read("osv5m", write(tmp_path / "test.csv", OSV5M, rows))
    first, second, third, fourth = labeled.queries
    assert first.areas == {
        "country": "NZ",
        "region": "Chatham Islands_NZ",
        "sub_region": None,
        "city": "Waitangi_NaN_Chatham Islands_NZ",
    }
    assert None not in second.areas.values()
    assert third.areas["country"] == "NA", "Namibia is a country"
    assert set(fourth.areas.values()) == {None}
    areas = describe_labels(labeled)["areas"]
    assert areas["sub_region"] == {"as_released": 4, "labeled": 1, "different": 1}
    assert areas["country"] == {"as_released": 4, "labeled": 3, "different": 3}
    notes = "\n".join(labeled.notes)
    assert "sub_region: 3 of 4 rows have no label; as released they count as wrong" in notes
    assert "city: 1 labels contain NaN for an unknown part" in notes
    assert "country: 1 rows are labeled NA, Namibia" in notes
    assert (first.file, first.creator, first.query_kind, first.sequence) == (
        "1.jpg",
        "9",
        "street",
        None,
    )
    assert first.strata == {"land_cover": "4", "climate": "1", "drive_side": "0"}


def test_invalid_rows_are_dropped_with_reason(tmp_path: Path) -> None:
    rows = [
        ("a.jpg", "nan", "nan"),
        ("b.jpg", "", ""),
        ("c.jpg", "1.5", "NaN"),
        ("d.jpg", "inf", "2"),
        ("e.jpg", "48,5", "2"),
        ("f.jpg", "-90.1", "2"),
        ("g.jpg", "1", "180.5"),
        ("h.jpg", "0", "0.0"),
        ("", "1", "2"),
        ("i.jpg", "1", "120", "3", "4"),
        ("j.jpg", "90", "-180"),
        ("k.jpg", "1"),
        ("../l.jpg", "1", "2"),
        ("/etc/hostname", "1", "2"),
    ]
    path = write(tmp_path / "labels.tsv", "file,latitude,longitude", rows, "\t")
    labeled = read("custom", path)
    assert file_positions(labeled) == [("j.jpg", 90.0, -180.0)]
    assert labeled.dropped == {
        "bad_row": 4,
        "incomplete_position": 2,
        "no_position": 2,
        "null_island": 1,
        "out_of_range": 2,
        "outside_root": 2,
    }


def test_duplicate_rows_are_dropped(tmp_path: Path) -> None:
    rows = [("a.jpg", 1, 120), ("./a.jpg", "1.0", "120"), ("a.jpg", 2, 120), ("b\\c.jpg", 1, 120)]
    labeled = custom(tmp_path, "file,latitude,longitude", *rows)
    assert file_positions(labeled) == [("a.jpg", 1.0, 120.0), ("b/c.jpg", 1.0, 120.0)]
    assert labeled.dropped == {"contradiction": 1, "duplicate": 1}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_byte_order_mark_and_any_delimiter_are_read(tmp_path: Path, delimiter: str) -> None:
    head = "\ufeffIMG_ID,AUTHOR,LAT,LON"
    path = write(tmp_path / "m.csv", head, [("a.jpg", "anna", 1.5, 120.5)], delimiter)
    assert file_positions(read("im2gps", path)) == [("a.jpg", 1.5, 120.5)]


def test_creator_is_read_from_file_name(tmp_path: Path) -> None:
    names = [photo_name(1), photo_name(2, "5@N08"), "plain.jpg", "4_x_78841376@N00.jpg.txt"]
    rows = [(name, 1, 120) for name in names]
    labeled = read("im2gps", write(tmp_path / "m.csv", "IMG_ID,LAT,LON", rows))
    assert [q.creator for q in labeled.queries] == ["78841376@N00", "5@N08", None, None]
    creators = ["secret_78841376@N00", "5@N08", "anna", ""]
    named_rows = [(name, creator, 1, 120) for name, creator in zip(names, creators, strict=True)]
    labeled = read("im2gps", write(tmp_path / "n.csv", "IMG_ID,AUTHOR,LAT,LON", named_rows))
    assert [q.creator for q in labeled.queries] == ["78841376@N00", "5@N08", "anna", None]
    (note,) = (note for note in labeled.notes if "creators" in note)
    assert note.startswith("1 creators were taken from the file name")


def test_yfcc4k_formats_give_same_queries(tmp_path: Path) -> None:
    labels = [(f"10{n}", f"{n}@N02", lat, lon) for n, (lat, lon) in enumerate(random_positions(50))]
    form = write(
        tmp_path / "yfcc4k.csv",
        "IMG_ID,OwnerNSID,LAT,LON",
        [(f"{photo}.jpg", owner, lat, lon) for photo, owner, lat, lon in labels],
    )
    # Tags contain more commas than the line has tabs, and quotes are unbalanced.
    tags = ",".join(f"tag{n}" for n in range(40))
    lines = [
        [n, photo, "hash", owner, "nick", "", "", "", '"a title', "", tags, "", lon, lat, 16]
        for n, (photo, owner, lat, lon) in enumerate(labels)
    ]
    info = write(tmp_path / "info.txt", "", lines, "\t")
    from_csv, from_info = read("yfcc4k", form), read("yfcc4k", info)
    assert from_csv.queries == from_info.queries
    assert file_positions(from_csv) == [(f"{photo}.jpg", lat, lon) for photo, _, lat, lon in labels]
    assert from_info.queries[3].creator == "3@N02"
    head = "IMG_ID,AUTHOR,LAT,LON"
    rows = [(f"{photo}.jpg", owner, lat, lon) for photo, owner, lat, lon in labels]
    assert read("yfcc4k", write(tmp_path / "p.csv", head, rows)).queries == from_csv.queries


def flickr_comment(latitude: str, longitude: str, title: str = "a day out") -> list[bytes]:
    lines = ["photo: 1 e60e 1125", "owner: 78841376@N00", f"title: {title}", "tags: sea"]
    lines += [f"latitude: {latitude}", f"longitude: {longitude}", "accuracy: 16", "views: 3"]
    return [line.encode() for line in lines]


def write_with_comments(path: Path, *segments: bytes) -> None:
    data = saved(noise())
    for segment in reversed(segments):
        data = data[:2] + b"\xff\xfe" + (len(segment) + 2).to_bytes(2, "big") + segment + data[2:]
    path.write_bytes(data)


def test_positions_in_jpeg_comments_are_read(tmp_path: Path) -> None:
    write_with_comments(tmp_path / photo_name(1), *flickr_comment("32.325436", "-64.764404"))
    write_with_comments(
        tmp_path / photo_name(2), b"\n".join(flickr_comment("-16.6", "145.5", "latitude: 80"))
    )
    write_with_comments(tmp_path / photo_name(3))
    write_with_comments(tmp_path / photo_name(4), b"latitude: 91", b"longitude: 3")
    write_with_comments(tmp_path / photo_name(5, "5@N08"), b"latitude: 1.0", b"longitude: 120.0")
    (tmp_path / photo_name(6)).write_bytes(b"no picture")
    (tmp_path / "readme.txt").write_text("no photo")
    labeled = read("im2gps3k", tmp_path)
    assert file_positions(labeled) == [
        (photo_name(1), 32.325436, -64.764404),
        (photo_name(2), -16.6, 145.5),
        (photo_name(5, "5@N08"), 1.0, 120.0),
    ]
    assert [q.creator for q in labeled.queries] == ["78841376@N00", "78841376@N00", "5@N08"]
    assert {q.query_kind for q in labeled.queries} == {"photo"}
    assert labeled.dropped == {"no_position": 1, "out_of_range": 1, "unreadable_image": 1}
    assert "3 queries; the release has 2,997 labeled photos" in labeled.notes
