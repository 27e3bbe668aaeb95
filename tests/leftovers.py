"""Looking for what should be gone, and the upkeep that makes it go."""

from __future__ import annotations

from sqlalchemy import text

from pinpoint.ingest.prune import prune_leftovers
from pinpoint.ingest.recovery import recover_lost_work

DAY_S = 86_400


def found_in_tables(harness, wanted):
    """Search every table of the schema, written out as text."""
    with harness.owner.begin() as unit:
        names = (
            unit.connection.execute(
                text("SELECT tablename FROM pg_tables WHERE schemaname = 'pinpoint'")
            )
            .scalars()
            .all()
        )
        dump = "\n".join(
            str(row[0])
            for name in names
            for row in unit.connection.execute(text(f"SELECT t::text FROM {name} t"))
        )
    hexed = dump.encode()
    return [one for one in wanted if one in hexed or one.hex().encode() in hexed]


def found_in_folder(folder, wanted):
    return [
        (path.relative_to(folder).as_posix(), one)
        for path in folder.rglob("*")
        if path.is_file()
        for data in [path.read_bytes()]
        for one in wanted
        if one in data
    ]


def swept(harness, tombstone_ttl_s=0, rebuild=None):
    return recover_lost_work(
        repository=harness.repository,
        queue=harness.queue,
        index=harness.index,
        contract=harness.encoder.contract.digest,
        chunk=64,
        tombstone_ttl_s=tombstone_ttl_s,
        is_alive=lambda _worker: True,
        rebuild=rebuild,
    )


def pruned(harness, tenant_deletion, orphan_blob_ttl_s=DAY_S, audit_retention_s=DAY_S):
    return prune_leftovers(
        tenant_deletion=tenant_deletion,
        repository=harness.repository,
        blobs=harness.blobs,
        orphan_blob_ttl_s=orphan_blob_ttl_s,
        audit_retention_s=audit_retention_s,
    )
