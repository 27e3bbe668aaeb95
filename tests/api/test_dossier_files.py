"""Dossiers without a server: the same bytes for the same content, and every change is found."""

from __future__ import annotations

import hashlib
import json
import subprocess
import zipfile
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from random import Random
from uuid import UUID

import jsonschema
import pytest

from api import example_dossiers
from pinpoint.api.dossiers.archive import write_archive
from pinpoint.api.dossiers.build import build_dossier, make_document
from pinpoint.api.dossiers.pdf_page import ReportPdf
from pinpoint.api.dossiers.schema_file import make_schema_text
from pinpoint.api.dossiers.verify import verify_dossier

SCHEMA_FILE = Path(__file__).resolve().parents[2] / "docs/reference/dossier.schema.json"


@pytest.fixture(scope="module")
def dossier():
    """Bytes of a dossier without the photo."""
    return build_dossier(example_dossiers.make_content())


@pytest.fixture(scope="module")
def files(dossier):
    """Files of the dossier, without its list of checksums."""
    with zipfile.ZipFile(BytesIO(dossier)) as archive:
        names = [name for name in archive.namelist() if name != "SHA256SUMS"]
        return {name: archive.read(name) for name in names}


@pytest.fixture
def check(tmp_path):
    """Codes and files of the problems of a dossier."""

    def find_problems(data, *photos):
        path = tmp_path / "dossier.zip"
        path.write_bytes(data)
        return [(problem.code, problem.file) for problem in verify_dossier(path, photos).problems]

    return find_problems


def rewrite(data, change):
    """The ZIP file after `change` of the dict of its files; its checksums stay."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()


def edit_document(files, change):
    """A dossier with new checksums whose document was changed."""
    document = json.loads(files["dossier.json"])
    change(document)
    return write_archive({**files, "dossier.json": json.dumps(document).encode()})


def test_dossier_of_equal_content_has_the_same_bytes(dossier):
    assert build_dossier(example_dossiers.make_content()) == dossier
    later = example_dossiers.CREATED_AT + timedelta(seconds=1)
    other = build_dossier(example_dossiers.make_content(created_at=later))
    assert other != dossier
    with zipfile.ZipFile(BytesIO(dossier)) as archive:
        assert archive.namelist() == sorted(archive.namelist())
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_dossier_without_the_photo_has_no_file_that_shows_it(dossier, files):
    assert example_dossiers.PHOTO not in dossier
    image, other = UUID(int=0), UUID(int=1)
    assert set(files) == {
        "answer.geojson", "dossier.json", "dossier.pdf",
        f"thumbnails/{image}.jpg", f"thumbnails/{other}.jpg",
    }  # fmt: skip
    document = json.loads(files["dossier.json"])
    (photo,) = document["photos"]
    assert photo["sha256"] == hashlib.sha256(example_dossiers.PHOTO).hexdigest()
    assert photo["path"] is None
    assert len(document["answer"]["matches"][0]["query_points"]) == 31
    by_id = {entry["image_id"]: entry for entry in document["images"]}
    assert by_id[str(image)]["match_picture_omission"] == "photo_not_included"
    assert by_id[str(UUID(int=2))]["thumbnail_omission"] == "not_permitted"


def test_dossier_with_the_photo_has_it_and_the_match_pictures(check):
    content = example_dossiers.make_content(include_photo=True)
    data = build_dossier(content)
    with zipfile.ZipFile(BytesIO(data)) as archive:
        assert archive.read("photos/0.jpg") == example_dossiers.PHOTO
        assert f"matches/{UUID(int=0)}.png" in archive.namelist()
    assert check(data) == []


def test_layer_of_a_dossier_links_its_own_thumbnails(files):
    features = json.loads(files["answer.geojson"])["features"]
    links = {feature["properties"]["thumbnail_url"] for feature in features}
    assert links == {None, *(name for name in files if name.startswith("thumbnails/"))}
    types = {feature["properties"]["feature_type"] for feature in features}
    assert types == {"point", "credible_disc", "candidate", "evidence"}


def test_abstaining_answer_gives_a_dossier_that_says_what_is_missing(check):
    answer = example_dossiers.abstaining_answer()
    content = example_dossiers.make_content(answer)
    document = make_document(content)
    assert "no candidate" in document.missing[0]
    assert document.answer.point is None
    assert check(build_dossier(content)) == []


def test_document_of_a_dossier_follows_the_committed_schema(files):
    assert SCHEMA_FILE.read_text(encoding="utf-8") == make_schema_text(), (
        "run: python -m pinpoint.api.dossiers.schema_file docs/reference/dossier.schema.json"
    )
    jsonschema.validate(json.loads(files["dossier.json"]), json.loads(make_schema_text()))


def test_sha256sum_accepts_an_unpacked_dossier(dossier, tmp_path):
    with zipfile.ZipFile(BytesIO(dossier)) as archive:
        archive.extractall(tmp_path)
    subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=tmp_path, check=True, timeout=20,
        capture_output=True,
    )  # fmt: skip


def test_verify_unchanged_dossier_finds_nothing(dossier, check, tmp_path):
    photo, other = tmp_path / "p.jpg", tmp_path / "other.jpg"
    photo.write_bytes(example_dossiers.PHOTO)
    other.write_bytes(b"another photo")
    assert check(dossier) == check(dossier, photo) == []
    assert check(dossier, photo, other) == [("other_photo", str(other))]


def test_verify_finds_each_missing_and_each_altered_file(dossier, files, check):
    for name in [*files, "SHA256SUMS"]:
        assert ("missing", name) in check(rewrite(dossier, lambda all_, name=name: all_.pop(name)))
    for name, data in files.items():
        changed = data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]
        damaged = rewrite(dossier, lambda all_, n=name, d=changed: all_.update({n: d}))
        assert ("altered", name) in check(damaged), name


def test_verify_finds_an_extra_file(dossier, files, check):
    extra = "thumbnails/more.jpg"
    assert check(rewrite(dossier, lambda all_: all_.update({extra: b"x"}))) == [("extra", extra)]
    # With new checksums, the document does not name it.
    assert check(write_archive({**files, extra: b"x"})) == [("extra", extra)]


def test_verify_finds_damage_of_the_zip_file(dossier, files, check):
    assert check(b"no archive")[0][0] == "unreadable"
    assert check(dossier[:-40])[0][0] == "unreadable"
    at = dossier.index(files["dossier.pdf"][:200]) + 100
    damaged = dossier[:at] + bytes([dossier[at] ^ 255]) + dossier[at + 1 :]
    assert check(damaged) == [("altered", "dossier.pdf")]
    out = BytesIO(dossier)
    with zipfile.ZipFile(out, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("dossier.json", b"{}")
    assert check(out.getvalue()) == [("unreadable", "dossier.json")]


def test_verify_refuses_more_bytes_than_its_limit(dossier, check, monkeypatch):
    monkeypatch.setattr("pinpoint.api.dossiers.verify.MAX_TOTAL_BYTES", 1_000)
    ((code, _),) = check(dossier)
    assert code == "unreadable"


def test_verify_with_new_checksums_finds_what_contradicts_itself(files, check):
    def drop_answer(document):
        del document["answer"]["point"]

    def move_point(document):
        document["answer"]["geometry"]["coordinates"] = [1.0, 2.0]

    def name_another_file(document):
        document["images"][0]["thumbnail"] = "thumbnails/none.jpg"

    assert check(edit_document(files, drop_answer)) == [("invalid", "dossier.json")]
    assert check(edit_document(files, move_point)) == [("inconsistent", "answer.geojson")]
    renamed = dict(check(edit_document(files, name_another_file)))
    assert renamed == {
        "missing": "thumbnails/none.jpg",
        "extra": f"thumbnails/{UUID(int=0)}.jpg",
    }
    assert check(write_archive({**files, "answer.geojson": b"[1]"})) == [
        ("invalid", "answer.geojson")
    ]


def test_verify_with_another_included_photo_is_inconsistent(check):
    content = example_dossiers.make_content(include_photo=True)
    data = build_dossier(content)
    with zipfile.ZipFile(BytesIO(data)) as archive:
        entries = {n: archive.read(n) for n in archive.namelist() if n != "SHA256SUMS"}
    changed = write_archive({**entries, "photos/0.jpg": b"another photo"})
    assert check(changed) == [("inconsistent", "photos/0.jpg")]


def test_pdf_shows_text_of_any_characters():
    random = Random(25)
    points = [random.randrange(0x110000) for _ in range(3_000)]
    points += [random.randrange(0x590, 0x900) for _ in range(1_000)]  # right-to-left letters
    points += [*range(0x300), *range(0x2000, 0x2070)]
    random.shuffle(points)
    texts = ["".join(map(chr, points[at : at + 60])) for at in range(0, len(points), 60)]
    pdf = ReportPdf("any text", example_dossiers.CREATED_AT, texts[0])
    pdf.add_facts([(text[:8], text) for text in texts[:30]])
    pdf.add_table([("a", 1.0), (">b", 0.1)], [texts[30:32], texts[32:34]])
    pdf.add_image_entry(None, texts[34], texts[35:60])
    pdf.add_list(texts[60:])
    assert pdf.replaced_text
    assert bytes(pdf.output()).startswith(b"%PDF")
