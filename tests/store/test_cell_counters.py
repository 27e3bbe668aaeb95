"""Counters by H3 cell equal a recount after any mix of changes, also of concurrent writers."""

from __future__ import annotations

import random
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import h3
import numpy as np
import pytest
from sqlalchemy import text

from pinpoint.geo.points import lat_lon, unit_xyz
from pinpoint.records import COVERAGE_RESOLUTIONS, Point
from pinpoint.store.db.database import Transactions, owner_engine
from store.spatial_gallery import add_organization, draw_point, draw_rows, insert_rows

CHANGES = {
    "move": "UPDATE images SET geog = CAST(:geog AS geography), cell_r7 = :r7 WHERE id = :id",
    "state": "UPDATE images SET state = :state WHERE id = :id",
    "states": "UPDATE images SET state = :state WHERE id::text LIKE :prefix",
    "time": "UPDATE images SET captured_at = captured_at + interval '5 years' WHERE id = :id",
    "source": "UPDATE images SET source_id = :source WHERE id = :id",
    "delete": "DELETE FROM images WHERE id::text LIKE :prefix",
}


@pytest.fixture
def owner(database_url):
    transactions = Transactions(owner_engine(database_url))
    yield transactions
    transactions.close()


def apply_changes(owner, org, sources, seed, count):
    """One transaction for each change; rows are those of all writers."""
    rng = random.Random(seed)
    for _ in range(count):
        with owner.begin() as unit:
            # One writer of an image at a time, as in the product, which locks rows in this order.
            ids = unit.connection.execute(text("SELECT id FROM images ORDER BY id")).scalars().all()
            if not ids or rng.random() < 0.4:
                insert_rows(unit.connection, org, draw_rows(rng, sources, rng.randrange(1, 30)))
                continue
            point = draw_point(rng, [])
            unit.connection.execute(
                text(CHANGES[rng.choice(list(CHANGES))]),
                {
                    "id": rng.choice(ids),
                    "prefix": f"{rng.randrange(256):02x}%",
                    "geog": f"SRID=4326;POINT({point.lon} {point.lat})",
                    "r7": h3.str_to_int(h3.latlng_to_cell(point.lat, point.lon, 7)),
                    "state": rng.choice(("pending", "indexed", "failed", "deleted")),
                    "source": rng.choice(sources)[0],
                },
            )


def recount(owner):
    """Counters from the images, in a loop: `{(cell, source): (images, first, last, x, y, z)}`."""
    with owner.begin() as unit:
        rows = unit.connection.execute(
            text(
                "SELECT cell_r7, source_id, captured_at, ST_Y(geom) AS lat, ST_X(geom) AS lon"
                " FROM images WHERE state IN ('pending', 'indexed')"
            )
        ).all()
    groups = defaultdict(list)
    for row in rows:
        for resolution in COVERAGE_RESOLUTIONS:
            cell = h3.cell_to_parent(h3.int_to_str(row.cell_r7), resolution)
            groups[h3.str_to_int(cell), row.source_id].append(row)
    counts = {}
    for key, members in groups.items():
        times = [row.captured_at for row in members if row.captured_at is not None]
        xyz = unit_xyz(lat_lon([Point(row.lat, row.lon) for row in members])).sum(axis=0)
        counts[key] = (len(members), min(times, default=None), max(times, default=None), xyz)
    return counts


def stored_counts(owner):
    with owner.begin() as unit:
        rows = unit.connection.execute(text("SELECT * FROM cell_stats")).all()
    return {
        (row.cell, row.source_id): (
            row.images,
            row.first_captured_at,
            row.last_captured_at,
            np.array([row.x_sum, row.y_sum, row.z_sum]),
        )
        for row in rows
    }


def check_counters(owner):
    expected, stored = recount(owner), stored_counts(owner)
    assert {key: count[:3] for key, count in stored.items()} == {
        key: count[:3] for key, count in expected.items()
    }
    for key, count in stored.items():
        np.testing.assert_allclose(count[3], expected[key][3], atol=1e-9)


@pytest.mark.parametrize("seed", [1, 2])
def test_cell_counters_mixed_changes_equal_recount(owner, seed):
    with owner.begin() as unit:
        org, sources = add_organization(unit.connection, "alder")
    for step in range(6):
        apply_changes(owner, org, sources, 100 * seed + step, 12)
        check_counters(owner)


def test_cell_counters_concurrent_writers_equal_recount(owner):
    with owner.begin() as unit:
        org, sources = add_organization(unit.connection, "alder")
        insert_rows(unit.connection, org, draw_rows(random.Random(0), sources, 200))

    def insert_and_delete(seed):
        rng = random.Random(seed)
        for _ in range(12):
            rows = draw_rows(rng, [rng.choice(sources)], rng.randrange(1, 20))
            with owner.begin() as unit:
                insert_rows(unit.connection, org, rows)
            with owner.begin() as unit:
                unit.connection.execute(
                    text("DELETE FROM images WHERE id = ANY (:ids)"),
                    {"ids": [row.id for row in rows[::2]]},
                )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(insert_and_delete, range(10, 14)))
    check_counters(owner)


def test_cell_counters_erased_source_has_none(owner):
    with owner.begin() as unit:
        org, sources = add_organization(unit.connection, "alder")
        insert_rows(unit.connection, org, draw_rows(random.Random(5), sources, 100))
        unit.connection.execute(text("UPDATE images SET state = 'deleted'"))
        assert unit.connection.execute(text("SELECT count(*) FROM cell_stats")).scalar_one() == 0
