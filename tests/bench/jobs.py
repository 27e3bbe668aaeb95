"""Throughput of a locate job against the bare flow on the same worker, taking turns.

The bare flow calls `locate` for each photo in memory. A job adds leases, blobs, results and the
audit log. The photos show other places than the seeded gallery: the answers are not evaluated.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from io import BytesIO
from statistics import median
from time import perf_counter

from bench.locate import OWNERS, prepared
from bench.stack import Say, Tower
from pinpoint.bootstrap import Services, build_services
from pinpoint.geo import gazetteer
from pinpoint.jobs.locate_items import finish_jobs, locate_job_items
from pinpoint.records import SearchFilter
from pinpoint.records.jobs import NewJob
from pinpoint.search.context import QueryPhoto, SearchContext
from pinpoint.search.pipeline import locate
from pinpoint_workers.jobs import get_repository, make_components

TARGET_RATIO = 0.9
WORKER = "bench/1/0.00"
_GALLERY = 5_000


def measure(num_photos: int, repetitions: int, say: Say, bundle: Tower) -> dict[str, object]:
    """Measure both sides with the same photos, alternating which side is first."""
    with prepared(_GALLERY, 10, say, bundle) as ready:
        services = build_services(ready.stack.settings, "worker")
        try:
            gazetteer.load_cities()
            services.encoder.warm()
            photos = {
                f"{number:05d}.jpg": ready.photos[number % len(ready.photos)]
                for number in range(num_photos)
            }
            sides: dict[str, Callable[[Services, dict[str, bytes]], float]] = {
                "job": _run_job,
                "bare": _run_bare,
            }
            for run in sides.values():
                run(services, dict(list(photos.items())[:16]))
            rates: dict[str, list[float]] = {name: [] for name in sides}
            for repetition in range(repetitions):
                for name in sides if repetition % 2 else reversed(sides):
                    gc.collect()
                    rates[name].append(num_photos / sides[name](services, photos))
                    say(f"{name}: {rates[name][-1]:.1f} photos/s")
        finally:
            services.close()
        return {
            "rows": ready.rows,
            "tower": ready.stack.tower,
            "photos": num_photos,
            "photos_per_s": {name: round(median(values), 2) for name, values in rates.items()},
            "ratio": round(
                median(a / b for a, b in zip(rates["job"], rates["bare"], strict=True)), 3
            ),
        }


def _run_job(services: Services, photos: dict[str, bytes]) -> float:
    """Seconds from the start of a job to its end; its upload is not measured."""
    new_job = NewJob(
        organization_id=OWNERS[0],
        key_id=None,
        parameters={},
        has_lines=False,
        expiry_s=86_400.0,
        start=True,
    )
    uploads = {
        name: services.blobs.put_file(OWNERS[0], BytesIO(data)) for name, data in photos.items()
    }
    job, _ = services.jobs.create(new_job, (), uploads)
    repository, components = get_repository(services), make_components(services)
    begun = perf_counter()
    while (job_id := repository.find_next_job()) is not None:
        locate_job_items(job_id, WORKER, components)
        finish_jobs([job_id], repository, services.blobs)
    took = perf_counter() - begun
    ended = services.jobs.job(OWNERS[0], job.id)
    if (ended.state, ended.counts.completed) != ("completed", len(photos)):
        raise RuntimeError(f"the job is {ended.state}: {ended.counts}")
    return took


def _run_bare(services: Services, photos: dict[str, bytes]) -> float:
    """Seconds of `locate` for each photo, without a job."""
    encoder = services.encoder
    begun = perf_counter()
    for name, data in photos.items():
        context = SearchContext(
            organization_id=OWNERS[0],
            decoder=services.decoder,
            encoder=encoder,
            index=services.index,
            database=services.database,
            settings=services.settings.search,
            verifier=services.verifier,
            reranker=encoder.reranker,
        )
        locate(QueryPhoto(data=data, file=name), SearchFilter(), context)
    return perf_counter() - begun
