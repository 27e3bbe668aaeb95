"""Ingest by real workers through the broker, from the first item to the last verdict."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from uuid import UUID, uuid4

from bench.ingest import Prepared
from bench.stack import Say, Stack
from pinpoint.bootstrap import Services, build_services
from registration import register_folder

_LOOK_S, _LIMIT_S = 0.02, 1_800.0


def measure(
    running: Stack, ready: Prepared, counts: Sequence[int], repetitions: int, say: Say
) -> dict[str, object]:
    """The same files by so many workers; the first time through warms weights and connections."""
    services = build_services(running.settings, "operator")
    organization = services.api_keys.create_organization("workers").id
    rates: dict[str, float] = {}
    for count in counts:
        took = []
        with running.workers(count):
            for repetition in range(repetitions + 1):
                took.append(_ingest(services, ready, organization))
                say(f"{count} workers: {repetition} of {repetitions} repetitions")
        rates[str(count)] = round(len(ready.files) / median(took[1:]), 1)
    services.close()
    return {
        "images": len(ready.files),
        "files": ready.origin,
        "tower": ready.tower,
        "repetitions": repetitions,
        "images_per_s": rates,
    }


def _ingest(services: Services, ready: Prepared, organization: UUID) -> float:
    """Seconds until every file has its verdict; each time in a source of its own."""
    begun = time.perf_counter()
    batch = register_folder(
        ready.manifest,
        source=f"street-{uuid4().hex[:8]}",
        kind="street",
        organization_id=organization,
        database=services.database,
        settings=services.settings,
    )
    while not batch.is_processed:
        if time.perf_counter() > begun + _LIMIT_S:
            raise RuntimeError(f"not everything was indexed in {_LIMIT_S:g} s: {batch}")
        time.sleep(_LOOK_S)
        with services.database.read(organization) as catalog:
            batch = catalog.batch(batch.id)
    if batch.indexed != len(ready.files):
        raise RuntimeError(f"not everything was indexed: {batch}")
    return time.perf_counter() - begun
