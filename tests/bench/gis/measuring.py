"""Times of calls, next to bare SQL, and the plans of their statements."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import psycopg
from sqlalchemy import Connection, event

from pinpoint.store.db.database import Transactions
from pinpoint.store.db.views import LAYERS_SCHEMA, READER_ROLE

Figures = dict[str, Any]
Call = Callable[[], int]
"""Does one call; returns the size of its result: bytes, rows or features."""


@dataclass(frozen=True)
class Gallery:
    """A filled database, and the API over it."""

    organization_id: UUID
    transactions: Transactions
    """Of the API's login."""
    http: httpx.Client | None
    """The API, with the operator's key and this organization; None without a stack."""
    bare: psycopg.Connection[Any]
    """The owner's connection, for bare SQL on the tables."""
    output: Path
    """Folder of figures and plans."""

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A read-only transaction as the layers have it."""
        with self.transactions.begin(
            self.organization_id, read_only=True, role=READER_ROLE, schema=LAYERS_SCHEMA
        ) as unit:
            yield unit.connection


def time_calls(calls: Sequence[Call], warm_up: int = 2) -> list[tuple[float, int]]:
    """Milliseconds and size of the result of each call."""
    for call in calls[:warm_up]:
        call()
    samples = []
    for call in calls:
        begun = perf_counter()
        size = call()
        samples.append(((perf_counter() - begun) * 1e3, size))
    return samples


def summarize(samples: Sequence[tuple[float, int]]) -> Figures:
    """Percentiles over calls, milliseconds, and the largest result."""
    took = [milliseconds for milliseconds, _ in samples]
    return {
        "calls": len(samples),
        "p50_ms": round(float(np.percentile(took, 50)), 1),
        "p95_ms": round(float(np.percentile(took, 95)), 1),
        "max_ms": round(max(took), 1),
        "largest": max(size for _, size in samples),
    }


def compare(product: Sequence[Call], bare: Sequence[Call], target_p95_ms: float) -> Figures:
    """Times of both sides of the same calls."""
    return {
        "product": summarize(time_calls(product)),
        "bare": summarize(time_calls(bare)),
        "target_p95_ms": target_p95_ms,
    }


def get(gallery: Gallery, path: str, **parameters: Any) -> httpx.Response:
    """Answer of the API.

    Raises:
        RuntimeError: It is not 200 or 204.
    """
    if gallery.http is None:
        raise RuntimeError("this part needs the API")
    answer = gallery.http.get(path, params=parameters)
    if answer.status_code not in (200, 204):
        raise RuntimeError(f"{answer.request.url}: {answer.status_code} {answer.text[:200]}")
    return answer


def explain_statements(gallery: Gallery, name: str, call: Callable[[Connection], object]) -> None:
    """Write the plans of all statements of a call to the output folder."""
    plans: list[str] = []

    def explain(
        connection: Connection, _cursor: Any, statement: str, parameters: Any, *_: Any
    ) -> None:
        if not statement.lstrip().startswith(("SELECT", "WITH")) or "set_config" in statement:
            return
        rows = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {statement}", parameters)
        plans.append("\n".join([statement, *(row[0] for row in rows)]))

    with gallery.read() as connection:
        event.listen(connection, "before_cursor_execute", explain)
        call(connection)
    folder = gallery.output / "plans"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.txt").write_text("\n\n".join(plans) + "\n", encoding="utf-8")


def call_bare(gallery: Gallery, statement: str, values: Mapping[str, Any]) -> Call:
    """A call of one statement as the owner; its size is the number of rows."""
    return lambda: len(gallery.bare.execute(statement, values).fetchall())


@contextmanager
def open_bare(owner_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of the owner for bare SQL on the tables."""
    url = owner_url.replace("+psycopg", "")
    options = "-c search_path=pinpoint,public"
    with psycopg.connect(url, autocommit=True, options=options) as connection:
        yield connection


def write_figures(output: Path, figures: Figures) -> None:
    """Write the figures as JSON."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
