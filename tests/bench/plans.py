"""What PostgreSQL does for the evidence statement under the API's role, at the bench's size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from statistics import median

from sqlalchemy import text

from bench import gallery as seeded
from bench.locate import Prepared
from pinpoint.records import Limits
from pinpoint.search import retrieve
from pinpoint.settings import SearchSettings
from pinpoint.store.neighbours import EVIDENCE, evidence_parameters

OWNERS = {"79 % of the rows": 0, "20 %": 1, "1 %": 2, "a crowded square, one kind": 3}


def measure(ready: Prepared, questions: int, dense: bool) -> dict[str, dict[str, object]]:
    """For each sort of organisation: median time, rows looked at, and the index used."""
    return {
        name: _explain(ready, (*seeded.ORGANIZATIONS, seeded.DENSE)[number], number, questions)
        for name, number in OWNERS.items()
        if dense or number < 3
    }


def _explain(ready: Prepared, owner, number: int, questions: int) -> dict[str, object]:
    settings = SearchSettings()
    info = ready.index.info()
    statement = text("EXPLAIN (ANALYZE, TIMING OFF, BUFFERS, FORMAT JSON) " + EVIDENCE.text)
    took, looked, found, indexes = [], [], [], set()
    for vector in ready.gallery.queries(questions, number, seed=11):
        candidates = retrieve.candidates(
            vector,
            index=ready.index,
            organization_id=owner,
            limits=Limits(),
            settings=settings,
            info=info,
        )
        parameters = evidence_parameters(
            candidates,
            owner,
            contract=seeded.CONTRACT.digest,
            radius_m=settings.evidence_radius_m,
            per_kind=settings.evidence_per_kind,
        )
        with ready.transactions.begin(owner, read_only=True) as unit:
            rows = unit.connection.execute(statement, parameters).scalar_one()
        plan = rows[0] if isinstance(rows, list) else json.loads(rows)[0]
        nodes = list(_nodes(plan["Plan"]))
        near = [node for node in nodes if node.get("Index Name", "").startswith("ix_images_")]
        took.append(plan["Execution Time"])
        found.append(plan["Plan"]["Actual Rows"])
        looked.append(
            sum(
                (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
                for node in near
            )
        )
        indexes |= {node["Index Name"] for node in near}
    return {
        "execution_p50_ms": round(median(took), 2),
        "execution_max_ms": round(max(took), 2),
        "rows_found": median(found),
        "rows_looked_at": median(looked),
        "spatial_index": ", ".join(sorted(indexes)) or "none",
    }


def _nodes(plan: dict) -> Iterator[dict]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
