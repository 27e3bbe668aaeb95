"""The state of an organization: rows, points, blobs and item statuses, to compare two runs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from pinpoint.bootstrap import build_services
from pinpoint.ingest.prune import prune_leftovers
from pinpoint.ingest.reconcile import reconcile_index_rows
from pinpoint.records import Drift
from pinpoint.store.vectors.rpc.client import RemoteIndex
from trials.soak.fault_stack import FaultStack
from trials.soak.player import Player

_ROWS = """
SELECT s.name, i.external_id, coalesce(i.cubemap_face, ''), encode(i.sha256, 'hex'), i.state,
       round(ST_Y(i.geom)::numeric, 7)::text, round(ST_X(i.geom)::numeric, 7)::text,
       i.captured_at::text, i.heading_deg, i.creator, i.license, i.position_source, i.size_bytes,
       i.time_source, i.warnings, i.field_layers::text,
       i.width_px, i.height_px, i.source_kind, i.error_message,
       ARRAY(SELECT DISTINCT f FROM unnest(i.manual_fields) f ORDER BY f),
       left(coalesce(i.uri, ''), 5),
       (SELECT md5(string_agg(e.vector, '' ORDER BY e.channel)) FROM embeddings e
         WHERE e.image_id = i.id),
       (SELECT md5(t.jpeg) FROM thumbnails t WHERE t.image_id = i.id),
       i.id, i.version, i.uri
FROM images i JOIN sources s ON s.id = i.source_id
WHERE i.organization_id = %s ORDER BY 1, 2, 3
"""
_CELLS = """
SELECT s.name, n.cell, n.images FROM cell_stats n JOIN sources s ON s.id = n.source_id
WHERE n.organization_id = %s AND n.images > 0 ORDER BY 1, 2
"""
_VERDICTS = """
SELECT file, status, coalesce(error_stage, ''), coalesce(error_code, '') FROM batch_items
WHERE batch_id = ANY(%s::uuid[]) ORDER BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class State:
    """Everything that has to be equal, and what is wrong in itself."""

    sources: list[Any]
    rows: list[Any]
    cells: list[Any]
    verdicts: dict[str, list[Any]]
    wrong: list[str]
    orphans: int
    """Blobs that nothing refers to: left by calls that failed, swept later."""


def state_of(player: Player) -> State:
    """Read it all, and compare the three stores with each other."""
    stack, organization = player.stack, player.organization_id
    full = stack.sql(_ROWS, organization)
    wrong = [f"{row[0]}/{row[1]} is {row[4]}" for row in full if row[4] != "indexed"]
    index = RemoteIndex(stack.paths.index_socket)
    points: dict[str, int] = {}
    after = None
    while page := index.scroll(after, 1_000, organization):
        for image_id, version, alive in page:
            if alive:
                points[str(image_id)] = version
        after = page[-1][0]
    rows = {str(row[-3]): row[-2] for row in full}
    for name in sorted(rows.keys() | points.keys()):
        if rows.get(name) != points.get(name):
            wrong.append(f"{name}: row {rows.get(name)}, point {points.get(name)}")
    folder = stack.paths.blobs_dir / str(organization)
    files = {f"blob:{organization}/{one.name}" for one in folder.rglob("*") if one.is_file()}
    wanted = {row[-1] for row in full if (row[-1] or "").startswith("blob:")}
    wrong += [f"blob {uri} is missing" for uri in sorted(wanted - files)]
    names = stack.sql(
        "SELECT name, kind, originals FROM sources WHERE organization_id = %s ORDER BY 1",
        organization,
    )
    return State(
        sources=names,
        rows=[row[:-3] for row in full],
        cells=stack.sql(_CELLS, organization),
        verdicts={op: _verdicts(player, op, ids) for op, ids in sorted(player.batches.items())},
        wrong=wrong,
        orphans=len(files - wanted),
    )


def _verdicts(player: Player, op: str, ids: list[str]) -> list[Any]:
    """Each file's verdict; where a folder was registered again, the one that was no repetition."""
    rows = player.stack.sql(_VERDICTS, ids)
    if len(ids) <= 1:
        return [tuple(row) for row in rows]
    # An image that is gone has left its items without a name, in each batch as many.
    nameless = sorted((tuple(row) for row in rows if not row[0]), key=lambda row: row[3])
    best: dict[str, Any] = {}
    for row in rows:
        if row[0] and (row[0] not in best or best[row[0]][3] == "unchanged"):
            best[row[0]] = tuple(row)
    return nameless[: len(nameless) // len(ids)] + [best[name] for name in sorted(best)]


def differences(wanted: State, actual: State) -> list[str]:
    """Differences of a run with faults from the quiet run; empty if the states are equal."""
    said = list(actual.wrong)
    for name in ("sources", "rows", "cells"):
        said += _differ(name, getattr(wanted, name), getattr(actual, name))
    for op in sorted(wanted.verdicts.keys() | actual.verdicts.keys()):
        said += _differ(op, wanted.verdicts.get(op, []), actual.verdicts.get(op, []))
    return said


def _differ(what: str, wanted: list[Any], actual: list[Any]) -> list[str]:
    left, right = Counter(map(repr, wanted)), Counter(map(repr, actual))
    return [f"{what}: not there: {one}" for one in (left - right)] + [
        f"{what}: too much: {one}" for one in (right - left)
    ]


def pruned(player: Player) -> int:
    """Remove blobs that calls which failed have left, as the worker does daily; how many."""
    services = build_services(player.stack.settings, "operator")
    try:
        assert services.tenant_deletion is not None
        report = prune_leftovers(
            tenant_deletion=services.tenant_deletion,
            repository=services.ingest_components().repository,
            blobs=services.blobs,
            orphan_blob_ttl_s=0.0,
            audit_retention_s=1e9,
        )
        return report.blobs + report.partial_files
    finally:
        services.close()


def measure_drift(stack: FaultStack) -> Drift:
    """What `reconcile` reports, without mending it."""
    services = build_services(stack.settings, "operator")
    try:
        return reconcile_index_rows(
            repository=services.ingest_components().repository,
            index=services.index,
            queue=None,
            contract=services.encoder.contract.digest,
            chunk=64,
        )
    finally:
        services.close()
