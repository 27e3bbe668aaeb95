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
    made = Transactions(owner_engine(database_url))
    yield made
    made.close()


@pytest.fixture
def database(api_database_url):
    transactions = Transactions(api_engine(api_database_url, own_login=True))
    yield CatalogDatabase(transactions, 32)
    transactions.close()


def put(owner, org, source, kind, rows):
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
    made = {}
    for number in range(2):
        org = uuid4()
        with owner.begin() as unit:
            unit.connection.execute(
                text("INSERT INTO organizations (id, name) VALUES (:id, :name)"),
                {"id": org, "name": f"org-{number}"},
            )
        own = []
        with database.write(org) as catalog:
            for name, kind in (("walk", "photo"), ("Äpfel", "photo"), ("drive", "street")):
                own.append((catalog.add_source(name, kind), kind, []))
        for source, kind, rows in own:
            for _ in range(40):
                folder = rng.choice(("", "deep/", "deep/er/"))
                state = rng.choice(STATES)
                external_id = f"{folder}{rng.choice(NAMES)}"
                rows.append((UUID(int=rng.getrandbits(128)), external_id, state))
            put(owner, org, source.id, kind, rows)
        made[org] = own
    return made


def by_hand(own, wanted):
    """Ids by source name, file name and id, by the obvious loop."""
    found = []
    for source, kind, rows in own:
        for id_, external_id, state in rows:
            name = external_id.rpartition("/")[2]
            if state == "deleted" or state not in (wanted.states or STATES):
                continue
            if source.id not in (wanted.source_ids or (source.id,)):
                continue
            if kind not in (wanted.source_kinds or (kind,)):
                continue
            if wanted.file_name is not None and not any(
                fnmatch.fnmatchcase(name, unicodedata.normalize(form, wanted.file_name))
                for form in ("NFC", "NFD")
            ):
                continue
            if wanted.id_prefix and not id_.hex.startswith(wanted.id_prefix):
                continue
            found.append((source.name, name, id_))
    return [id_ for _, _, id_ in sorted(found)]


def paged(catalog, wanted, limit):
    shown, after = [], None
    while page := catalog.list_images(wanted, limit=limit, after=after):
        shown += page
        last = page[-1]
        after = ImagePosition(source=last.source, file_name=last.file_name, image_id=last.id)
    return [image.id for image in shown]


def filters(own):
    (walk, _, rows), (_, _, _), (drive, _, _) = own
    some = rows[3][0].hex
    yield from (
        ImageFilter(),
        ImageFilter(source_ids=(walk.id,)),
        ImageFilter(source_ids=(drive.id, walk.id), states=("failed",)),
        ImageFilter(source_kinds=("street",)),
        ImageFilter(source_kinds=("photo",), states=("indexed", "pending")),
        ImageFilter(id_prefix=some[:6]),
        ImageFilter(id_prefix=some),
    )
    for pattern in ("a.jpg", "IMG_1.jpg", "IMG_*", "IMG?1*", "*.jpg", "50%.jpg", "%", "?.jpg",
                    "back\\slash.jpg", "ä.jpg", "日*", "nowhere.jpg", "a.jpg*"):  # fmt: skip
        yield ImageFilter(file_name=pattern)


def test_list_images_every_filter_equals_plain_sort(gallery, database):
    for org, own in gallery.items():
        with database.read(org) as catalog:
            for wanted in filters(own):
                expected = by_hand(own, wanted)
                for limit in (1000, 7):
                    assert paged(catalog, wanted, limit) == expected, (wanted, limit)


def test_list_images_concurrent_changes_skip_and_repeat_no_rows(gallery, database, owner):
    (org, own), _ = gallery.items()
    expected = by_hand(own, ImageFilter())
    source, kind, _ = own[0]
    shown, after, turn = [], None, 0
    while True:
        with database.read(org) as catalog:
            page = catalog.list_images(ImageFilter(), limit=5, after=after)
        if not page:
            break
        shown += [image.id for image in page]
        last = page[-1]
        after = ImagePosition(source=last.source, file_name=last.file_name, image_id=last.id)
        # The row that the cursor names goes, and others come before and behind it.
        with owner.begin() as unit:
            unit.connection.execute(
                text("UPDATE images SET state = 'deleted' WHERE id = :id"), {"id": last.id}
            )
        put(owner, org, source.id, kind, [(uuid4(), f"{turn}/0 new.jpg", "indexed")])
        turn += 1
    assert [id_ for id_ in shown if id_ in set(expected)] == expected
    assert len(set(shown)) == len(shown)


def test_list_images_of_many_sources_are_ordered(database, owner):
    org = uuid4()
    with owner.begin() as unit:
        unit.connection.execute(
            text("INSERT INTO organizations (id, name) VALUES (:id, 'many')"), {"id": org}
        )
    with database.write(org) as catalog:
        sources = [catalog.add_source(f"s{number:02}", "photo") for number in range(9)]
    for source in sources[::2]:
        put(owner, org, source.id, "photo", [(uuid4(), f"{n}.jpg", "indexed") for n in range(3)])
    with database.read(org) as catalog:
        page = catalog.list_images(ImageFilter(), limit=1_000)
        assert paged(catalog, ImageFilter(), 2) == [image.id for image in page]
    assert [image.source for image in page] == [s.name for s in sources[::2] for _ in range(3)]
