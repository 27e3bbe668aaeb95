"""What the indexes of `images` cost a write: CPU time of the server for each row, and disk.

Rows are inserted as pending and then set to indexed, as the ingest does it, in a transaction that
is rolled back. The baseline is the same without the indexes. CPU time, unlike elapsed time, hardly
depends on what else runs.
"""

from __future__ import annotations

import os
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from bench.gis.measuring import Figures, Gallery

ROWS = 5_000
REPETITIONS = 5
_KEPT = ("pk_images", "uq_images_organization_id_id")
"""Keys, which other tables refer to."""


def measure(gallery: Gallery) -> Figures:
    """CPU milliseconds for each row with all indexes and with the keys only, and MiB of indexes."""
    connection = gallery.bare
    # The connection commits each statement; the measurement needs transactions.
    connection.autocommit = False
    try:
        sizes = _read_sizes(connection)
        names = [name for name in sizes if name not in _KEPT]
        samples: dict[str, list[tuple[float, float]]] = {"all_indexes": [], "keys_only": []}
        for repetition in range(REPETITIONS):
            samples["all_indexes"].append(_write_rows(connection, repetition, ()))
            samples["keys_only"].append(_write_rows(connection, repetition, names))
    finally:
        connection.rollback()
        connection.autocommit = True
    figures: Figures = {
        name: {
            "insert_cpu_ms": round(median(insert for insert, _ in pairs), 3),
            "update_cpu_ms": round(median(update for _, update in pairs), 3),
        }
        for name, pairs in samples.items()
    }
    return figures | {
        "indexes": len(sizes),
        "index_mib": round(sum(sizes.values())),
        "index_mib_by_name": {name: round(size, 1) for name, size in sizes.items()},
    }


def _read_sizes(connection: psycopg.Connection[Any]) -> dict[str, float]:
    """MiB of each index of `images`, largest first."""
    rows = connection.execute(
        "SELECT indexrelname, pg_relation_size(indexrelid) / 1048576.0::float8"
        " FROM pg_stat_user_indexes WHERE schemaname = 'pinpoint' AND relname = 'images'"
        " ORDER BY 2 DESC"
    ).fetchall()
    return dict(rows)


def _write_rows(
    connection: psycopg.Connection[Any], repetition: int, dropped: tuple[str, ...] | list[str]
) -> tuple[float, float]:
    """CPU milliseconds for each inserted row and for each updated row."""
    connection.execute("SET LOCAL search_path = pinpoint, public")
    for name in dropped:
        connection.execute(f"DROP INDEX {name}")
    # Triggers keep the counters of cells; they cost the same in both cases.
    connection.execute("ALTER TABLE images DISABLE TRIGGER USER")
    begun = _read_cpu_ms(connection)
    num_rows = connection.execute(
        _INSERT, {"suffix": f"-copy-{repetition}", "limit": ROWS}
    ).rowcount
    inserted = _read_cpu_ms(connection)
    connection.execute("UPDATE images SET state = 'indexed' WHERE state = 'pending'")
    updated = _read_cpu_ms(connection)
    connection.rollback()
    return (inserted - begun) / num_rows, (updated - inserted) / num_rows


def _read_cpu_ms(connection: psycopg.Connection[Any]) -> float:
    """CPU time of the server process of this connection; needs the same machine and Linux."""
    stat = Path(f"/proc/{connection.info.backend_pid}/stat").read_text(encoding="ascii")
    user, system = stat.rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK") * 1e3


# Rows from all over the gallery: neighbors in an index would be in memory already.
_INSERT = """
INSERT INTO images (id, organization_id, source_id, source_kind, external_id, geog, captured_at,
    heading_deg, field_of_view_deg, camera, creator, sequence, position_source, time_source, sha256,
    size_bytes, format, width_px, height_px, uri, cell_r5, cell_r7, cell_r9, attributes, state,
    version)
SELECT md5(id::text || %(suffix)s)::uuid, organization_id, source_id, source_kind,
       external_id || %(suffix)s, geog, captured_at, heading_deg, field_of_view_deg, camera,
       creator, sequence, position_source, time_source,
       decode(md5(id::text || %(suffix)s), 'hex'), size_bytes, format, width_px, height_px,
       uri || %(suffix)s, cell_r5, cell_r7, cell_r9, attributes, 'pending', 1
  FROM (SELECT * FROM images ORDER BY md5(id::text || %(suffix)s) LIMIT %(limit)s) AS drawn
"""
