"""Bulk inserts of test rows."""

from __future__ import annotations

from uuid import uuid4

from sqlalchemy import text

from pinpoint.geo.cells import cells_of
from pinpoint.records import SOURCE_KINDS

CONTRACT = "c" * 16
COLUMNS = (
    "id, organization_id, source_id, source_kind, external_id, geog, position_source, sha256,"
    " size_bytes, format, width_px, height_px, cell_r5, cell_r7, cell_r9, state, version"
)


def organizations(owner, count):
    """Ids of new organizations, each with one source of each kind: `(organization, {kind: id})`."""
    created = []
    with owner.begin() as unit:
        for number in range(count):
            org, sources = uuid4(), {kind: uuid4() for kind in SOURCE_KINDS}
            unit.connection.execute(
                text("INSERT INTO organizations (id, name) VALUES (:id, :name)"),
                {"id": org, "name": f"org-{number}"},
            )
            for kind, source in sources.items():
                unit.connection.execute(
                    text(
                        "INSERT INTO sources (id, organization_id, name, kind, originals)"
                        " VALUES (:id, :org, :kind, :kind, 'copy')"
                    ),
                    {"id": source, "org": org, "kind": kind},
                )
            created.append((org, sources))
    return created


def put(owner, rows):
    """Rows of `(id, organization, source, kind, point, state)`, each with a vector."""
    values = []
    for image, org, source, kind, point, state in rows:
        cells = cells_of(point)
        values.append(
            {"id": image, "org": org, "source": source, "kind": kind, "state": state}
            | {"lat": point.lat, "lon": point.lon}
            | {"r5": cells.r5, "r7": cells.r7, "r9": cells.r9, "contract": CONTRACT}
        )
    with owner.begin() as unit:
        unit.connection.execute(
            text(
                f"INSERT INTO images ({COLUMNS}) VALUES (:id, :org, :source, :kind, :id,"
                " ST_SetSRID(ST_MakePoint(:lon, :lat), 4326)::geography, 'exif', 'x', 1, 'jpeg',"
                " 8, 8, :r5, :r7, :r9, :state, 1)"
            ),
            values,
        )
        unit.connection.execute(
            text(
                "INSERT INTO embeddings (image_id, contract, channel, organization_id, vector)"
                " VALUES (:id, :contract, 'image', :org, '\\x003c')"
            ),
            values,
        )
