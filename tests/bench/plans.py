"""Query plans of the evidence statement under the API's role, at the bench's size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from statistics import median

from sqlalchemy import text

from bench.locate import OWNERS, Prepared, context_of
from pinpoint.records import SearchFilter
from pinpoint.search import retrieve
from pinpoint.store.catalog.neighbors import EVIDENCE, evidence_parameters
from pinpoint.store.db.database import Transactions, api_engine

_NAMES = ("79 % of the rows", "20 %", "1 %", "a crowded square, one kind")


def measure(ready: Prepared, num_queries: int) -> dict[str, dict[str, object]]:
    """For each kind of organization: median time, rows scanned, and the index used."""
    transactions = Transactions(api_engine(ready.stack.paths.api_url(), own_login=True))
    try:
        return {
            name: _explain(ready, transactions, number, num_queries)
            for number, name in enumerate(_NAMES)
        }
    finally:
        transactions.close()


def _explain(
    ready: Prepared, transactions: Transactions, number: int, num_queries: int
) -> dict[str, object]:
    owner, services = OWNERS[number], ready.services
    settings, info = services.settings.search, services.index.info()
    statement = text("EXPLAIN (ANALYZE, TIMING OFF, BUFFERS, FORMAT JSON) " + EVIDENCE.text)
    took, rows_looked_at, rows_found, indexes = [], [], [], set()
    for vector in ready.vectors[number][:num_queries]:
        candidates, _ = retrieve.retrieve_candidates(
            vector, SearchFilter(), context_of(services, owner), snapshot=info
        )
        parameters = evidence_parameters(
            candidates,
            owner,
            contract=services.encoder.contract.digest,
            radius_m=settings.evidence_radius_m,
            per_kind=settings.evidence_per_kind,
        )
        with transactions.begin(owner, read_only=True) as unit:
            rows = unit.connection.execute(statement, parameters).scalar_one()
        plan = rows[0] if isinstance(rows, list) else json.loads(rows)[0]
        nodes = list(_nodes(plan["Plan"]))
        near = [node for node in nodes if node.get("Index Name", "").startswith("ix_images_")]
        took.append(plan["Execution Time"])
        rows_found.append(plan["Plan"]["Actual Rows"])
        rows_looked_at.append(
            sum(
                (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
                for node in near
            )
        )
        indexes |= {node["Index Name"] for node in near}
    return {
        "execution_p50_ms": round(median(took), 2),
        "execution_max_ms": round(max(took), 2),
        "rows_found": median(rows_found),
        "rows_looked_at": median(rows_looked_at),
        "spatial_index": ", ".join(sorted(indexes)) or "none",
    }


def _nodes(plan: dict) -> Iterator[dict]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
