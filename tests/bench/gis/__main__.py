"""GIS access on one million images, next to bare SQL: figures and query plans in a folder."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import httpx
import psycopg
from rich.console import Console

from bench.gis import export, features, index_costs, report, spatial, tiles
from bench.gis.gallery import Rows, load_rows, make_rows
from bench.gis.measuring import Figures, Gallery, open_bare, write_figures
from bench.stack import Say, Stack, stack
from pinpoint import logs
from pinpoint.settings import LogSettings
from pinpoint.stack.state import read_state
from pinpoint.store.db.database import Transactions, api_engine

PARTS = ("features", "cql2", "tiles", "neighbors", "coverage", "export", "index_costs")


def main() -> None:
    """Fill a stack, measure the selected parts, print tables, write figures and plans."""
    arguments = _parse_arguments()
    console = Console(stderr=True)
    logs.configure(LogSettings(level="warning"))
    parts = arguments.only or PARTS
    with stack() as running:
        running.stop_background()
        rows = make_rows(arguments.rows)
        organization_id = find_organization(running)
        load_rows(running.paths.owner_url(), organization_id, rows, console.log)
        figures = _measure(running, organization_id, rows, parts, arguments.output, console.log)
    write_figures(arguments.output, figures)
    report.show(figures, arguments.output)


def _measure(
    running: Stack,
    organization_id: UUID,
    rows: Rows,
    parts: list[str],
    output: Path,
    say: Say,
) -> Figures:
    transactions = Transactions(api_engine(running.paths.api_url(), own_login=True))
    figures: Figures = {"rows": len(rows.positions), "cores": os.cpu_count()}
    try:
        with _open_client(running) as http, open_bare(running.paths.owner_url()) as bare:
            gallery = Gallery(organization_id, transactions, http, bare, output)
            measures: dict[str, Callable[[], Figures]] = {
                "features": lambda: features.measure_pages(gallery),
                "cql2": lambda: features.measure_cql2(gallery),
                "tiles": lambda: tiles.measure(gallery, rows),
                "neighbors": lambda: spatial.measure_neighbors(gallery, rows),
                "coverage": lambda: spatial.measure_coverage(gallery),
                "export": lambda: export.measure(
                    gallery, running.pid("api"), int((~rows.is_other).sum())
                ),
                "index_costs": lambda: index_costs.measure(gallery),
            }
            for part in parts:
                load = os.getloadavg()[0]
                say(f"{part}: load {load:.1f}")
                figures[part] = measures[part]()
                figures.setdefault("load", {})[part] = [load, os.getloadavg()[0]]
                # A later part that fails loses no figures.
                write_figures(output, figures)
    finally:
        transactions.close()
    return figures


def _open_client(running: Stack) -> httpx.Client:
    """The API with the operator's key, in the default organization."""
    state = read_state(running.paths)
    if state is None:
        raise RuntimeError("the stack is down")
    key = running.paths.operator_key_file.read_text().strip()
    return httpx.Client(
        base_url=state.api_url,
        headers={"Authorization": f"Bearer {key}"},
        trust_env=False,
        timeout=600,
    )


def find_organization(running: Stack) -> UUID:
    with psycopg.connect(running.paths.owner_url().replace("+psycopg", "")) as connection:
        ((organization_id,),) = connection.execute(
            "SELECT id FROM pinpoint.organizations WHERE name = 'default'"
        ).fetchall()
    return organization_id


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="pinpoint bench gis", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="number of images")
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="measure this part only; repeatable"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("bench-gis"), help="folder for figures and plans"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
