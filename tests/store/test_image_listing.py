"""Pages of images against a plain sort in memory, on PostgreSQL under the API's role."""

from __future__ import annotations

import fnmatch
import random
import unicodedata
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from pinpoint.records import ImageFilter, ImagePosition
from pinpoint.store.db.catalog_database import CatalogDatabase
from pinpoint.store.db.database import Transactions, api_engine, owner_engine

COLUMNS = (
    "id, organization_id, source_id, source_kind, external_id, geog, position_source, sha256,"
    " size_bytes, format, width_px, height_px, cell_r5, cell_r7, cell_r9, state, version"
)
STATES = ("pending", "indexed", "failed", "deleted")
MAC = unicodedata.normalize("NFD", "ä.jpg")
NAMES = ["a.jpg", "b.jpg", "IMG_1.jpg", "IMG_10.jpg", "IMGx1.jpg", "50%.jpg", "back\\slash.jpg"]
NAMES += ["Zoo.jpg", "zebra.jpg", "ä.jpg", MAC, "日本.jpg", "🙂.jpg"]


@pytest.fixture
def owner(database_url):
    transactions = Transactions(owner_engine(database_url))
    yield transactions
    transactions.close()


@pytest.fixture
def database(api_database_url):
    transactions = Transactions(api_engine(api_database_url, own_login=True))
    yield CatalogDatabase(transactions, 32)
    transactions.close()


def insert_images(owner, org, source, kind, rows):
    """Rows of `(id, external id, state)`."""
    with owner.begin() as unit:
        unit.connection.execute(
            text(
                f"INSERT INTO images ({COLUMNS}) VALUES (:id, :org, :source, :kind, :name,"
                " ST_SetSRID(ST_MakePoint(2, 48), 4326)::geography, 'exif', 'x', 1, 'jpeg',"
                " 8, 8, 1, 1, 1, :state, 1)"
            ),
            [
                {"id": id_, "org": org, "source": source, "kind": kind, "name": name}
                | {"state": state}
                for id_, name, state in rows
            ],
        )


@pytest.fixture
def gallery(owner, database):
    """Two organizations with the same file names, as `{organization: [(source, kind, rows)]}`."""
    rng = random.Random(8)
    sources_by_org = {}
    for number in range(2):
        org = uuid4()
        with owner.begin() as unit:
            unit.connection.execute(
                text("INSERT INTO organizations (id, name) VALUES (:id, :name)"),
                {"id": org, "name": f"org-{number}"},
            )
        source_rows = []
        with database.write(org) as catalog:
            for name, kind in (("walk", "photo"), ("Äpfel", "photo"), ("drive", "street")):
                source_rows.append((catalog.add_source(name, kind), kind, []))
        for source, kind, rows in source_rows:
            for _ in range(40):
                folder = rng.choice(("", "deep/", "deep/er/"))
                state = rng.choice(STATES)
                external_id = f"{folder}{rng.choice(NAMES)}"
                rows.append((UUID(int=rng.getrandbits(128)), external_id, state))
            insert_images(owner, org, source.id, kind, rows)
        sources_by_org[org] = source_rows
    return sources_by_org


def list_by_loop(source_rows, image_filter):
    """Ids ordered by file name and id, from a plain loop."""
    matches = []
    for source, kind, rows in source_rows:
        for id_, external_id, state in rows:
            name = external_id.rpartition("/")[2]
            if state == "deleted" or state not in (image_filter.states or STATES):
                continue
            if source.id not in (image_filter.source_ids or (source.id,)):
                continue
            if kind not in (image_filter.source_kinds or (kind,)):
                continue
            if image_filter.file_name is not None and not any(
                fnmatch.fnmatchcase(name, unicodedata.normalize(form, image_filter.file_name))
                for form in ("NFC", "NFD")
            ):
                continue
            if image_filter.id_prefix and not id_.hex.startswith(image_filter.id_prefix):
                continue
            matches.append((name, id_))
    return [id_ for _, id_ in sorted(matches)]


def list_by_pages(catalog, image_filter, limit):
    listed_ids, after = [], None
    while page := catalog.list_images(image_filter, limit=limit, after=after):
        listed_ids += page
        last = page[-1]
        after = ImagePosition(file_name=last.file_name, image_id=last.id)
    return [image.id for image in listed_ids]


def filters(source_rows):
    (walk, _, rows), (_, _, _), (drive, _, _) = source_rows
    image_hex = rows[3][0].hex
    yield from (
        ImageFilter(),
        ImageFilter(source_ids=(walk.id,)),
        ImageFilter(source_ids=(drive.id, walk.id), states=("failed",)),
        ImageFilter(source_kinds=("street",)),
        ImageFilter(source_kinds=("photo",), states=("indexed", "pending")),
        ImageFilter(id_prefix=image_hex[:6]),
        ImageFilter(id_prefix=image_hex),
    )
    for pattern in ("a.jpg", "IMG_1.jpg", "IMG_*", "IMG?1*", "*.jpg", "50%.jpg", "%", "?.jpg",
                    "back\\slash.jpg", "ä.jpg", "日*", "nowhere.jpg", "a.jpg*"):  # fmt: skip
        yield ImageFilter(file_name=pattern)


def test_list_images_every_filter_equals_plain_sort(gallery, database):
    for org, source_rows in gallery.items():
        with database.read(org) as catalog:
            for image_filter in filters(source_rows):
                expected = list_by_loop(source_rows, image_filter)
                for limit in (1000, 7):
                    assert list_by_pages(catalog, image_filter, limit) == expected, (
                        image_filter,
                        limit,
                    )


def test_list_images_concurrent_changes_skip_and_repeat_no_rows(gallery, database, owner):
    (org, source_rows), _ = gallery.items()
    expected = list_by_loop(source_rows, ImageFilter())
    source, kind, _ = source_rows[0]
    listed_ids, after, page_number = [], None, 0
    while True:
        with database.read(org) as catalog:
            page = catalog.list_images(ImageFilter(), limit=5, after=after)
        if not page:
            break
        listed_ids += [image.id for image in page]
        last = page[-1]
        after = ImagePosition(file_name=last.file_name, image_id=last.id)
        # The row of the cursor is deleted, and rows before and after it are inserted.
        with owner.begin() as unit:
            unit.connection.execute(
                text("UPDATE images SET state = 'deleted' WHERE id = :id"), {"id": last.id}
            )
        insert_images(
            owner, org, source.id, kind, [(uuid4(), f"{page_number}/0 new.jpg", "indexed")]
        )
        page_number += 1
    assert [id_ for id_ in listed_ids if id_ in set(expected)] == expected
    assert len(set(listed_ids)) == len(listed_ids)
