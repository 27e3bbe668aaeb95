"""A small gallery and queries whose correct answers are known by construction.

Twelve distant places with four photos by two creators and two street views each. Every place has
one or two queries: an unseen view, a gallery photo itself, a re-encoded copy of one, or another
view by a creator of the gallery. Four queries show the same placeholder.
"""

from __future__ import annotations

import csv
from pathlib import Path
from uuid import UUID

from media.pictures import saved
from search.views import view
from stack_fixtures import ServiceHarness

PLACES = [(round(-50 + 9.1 * n, 3), round(-170 + 29.7 * n, 3)) for n in range(12)]
PLACEHOLDERS = 4
HEAD = ("file", "latitude", "longitude", "creator", "sequence", "kind", "country", "covered")


def gallery(harness: ServiceHarness, org: UUID, folder: Path) -> dict[str, UUID]:
    """Ingest both sources; returns image ids by file name."""
    ids = {}
    for kind, count in (("photo", 4), ("street", 2)):
        rows = []
        (folder / kind).mkdir(parents=True)
        for place, (lat, lon) in enumerate(PLACES):
            for number in range(count):
                name = f"{kind}-{place}-{number}.jpg"
                seed = number + (100 if kind == "street" else 0)
                (folder / kind / name).write_bytes(saved(view(place, seed), quality=90))
                author = f"anna{place}" if number % 2 else f"bert{place // 3}"
                street = (None, f"drive{place}") if kind == "street" else (author, None)
                rows.append((name, lat + 0.001 * number, lon, *street))
        write(folder / kind / "manifest.csv", rows, HEAD[:5])
        batch = harness.ingest(folder / kind / "manifest.csv", org, source=kind, kind=kind)
        assert batch.indexed == len(rows)
        with harness.database.read(org) as catalog:
            ids |= {i.file: i.image_ids[0] for i in catalog.batch_items(batch.id)}
    return ids


def questions(folder: Path, gallery: Path) -> None:
    """Write images and `labels.csv`."""
    (folder / "images").mkdir(parents=True)
    rows = []

    def add_query(name, place, data, creator=None, covered="true"):
        if data is not None:
            (folder / "images" / name).write_bytes(data)
        lat, lon = PLACES[place]
        rows.append((name, lat + 0.0005, lon, creator, None, "photo", f"L{place % 3}", covered))

    for place in range(12):
        add_query(
            f"unseen-{place}.jpg", place, saved(view(place, 50), quality=90), f"new{place % 5}"
        )
    gallery_photo = (gallery / "photo" / "photo-1-0.jpg").read_bytes()
    add_query("itself.jpg", 1, gallery_photo, "somebody")
    add_query("copy.jpg", 2, saved(view(2, 1), quality=70), "somebody else")
    add_query("author.jpg", 3, saved(view(3, 60), quality=90), "bert1")
    for number in range(PLACEHOLDERS):
        gone = saved(view(900, 900), quality=80 + number)
        add_query(f"gone-{number}.jpg", 4 + number, gone, f"new{number}", covered="false")
    add_query("broken.jpg", 8, b"\xff\xd8\xff\xe0 not a picture", "new1")
    add_query("empty.jpg", 8, b"", "new2")
    add_query("missing.jpg", 9, None, "new3")
    write(folder / "labels.csv", rows, HEAD)


def write(path: Path, rows, head) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        writer.writerows(rows)
