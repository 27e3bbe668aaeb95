"""Builds the application; connections are opened when it starts to serve."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Thread
from typing import Final

import anyio
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from pinpoint import __version__, bootstrap, logs
from pinpoint.api import basemap, docs_page, health, metrics, problems, sign_in, web_page
from pinpoint.api.admission import count_threads
from pinpoint.api.cross_origin import CrossOrigin
from pinpoint.api.export_stream import ExportSlots
from pinpoint.api.methods import MethodSupport
from pinpoint.api.ogc import routes as layers
from pinpoint.api.openapi_schema import describe_routes
from pinpoint.api.panoramax import map_tiles, routes
from pinpoint.api.protection import Protection
from pinpoint.api.readiness import Readiness
from pinpoint.api.request_id import add_request_ids
from pinpoint.api.request_origin import OriginCheck
from pinpoint.api.rules import read_rules
from pinpoint.api.sessions import Sessions
from pinpoint.api.v1 import (
    audit,
    batch_urls,
    batches,
    dossiers,
    exports,
    image_files,
    image_metadata,
    images,
    jobs,
    kept_queries,
    keys,
    limits,
    locate,
    organizations,
    protected_areas,
    quality_reports,
    search,
    sources,
    spatial,
    webhooks,
)
from pinpoint.errors import PinpointError
from pinpoint.geo import gazetteer
from pinpoint.media.exports.temporary_files import remove_abandoned_folders
from pinpoint.settings import Settings
from pinpoint.settings_file import load_settings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.sign_in_urls import keyless_warning

_log = logs.get_logger(__name__)

ROUTE_MODULES: Final = (
    locate,
    dossiers,
    jobs,
    search,
    batches,
    image_metadata,
    images,
    exports,
    image_files,
    sources,
    protected_areas,
    spatial,
    kept_queries,
    quality_reports,
    organizations,
    keys,
    audit,
    limits,
    layers,
    routes,
    map_tiles,
    health,
    sign_in,
    metrics,
    batch_urls,
    webhooks,
    docs_page,
    web_page,
)
_SPARE_THREADS: Final = 24

DESCRIPTION: Final = (
    "Where was this photo taken, and what is the evidence? "
    "Errors are RFC 9457 problem details: 400 for what cannot be parsed, 422 for what violates a "
    "rule. Query photos are not stored."
)


def create_app(services: bootstrap.Services | None = None) -> FastAPI:
    """Create the API application.

    Args:
        services: Services to use; they stay open when the application stops. By default, services
            are built from the environment at startup and closed at shutdown.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if services is not None:
            app.state.services = services
            yield
            return
        built = await run_in_threadpool(bootstrap.build_services, load_settings(), "api")
        app.state.services = built
        _configure_process(built.settings)
        remove_abandoned_folders(StackPaths(built.settings.services.home).exports_dir)
        # Weights take seconds to load; a background thread spares the first query this wait.
        Thread(target=_preload_models, args=(built,), name="warm", daemon=True).start()
        try:
            yield
        finally:
            await run_in_threadpool(built.close)

    # FastAPI's own pages would load scripts of other hosts into this origin; see `docs_page`.
    app = FastAPI(
        title="Pinpoint",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    # The last route takes every path below `/web`.
    routers = [*(module.router for module in ROUTE_MODULES), basemap.router, web_page.files_router]
    for router in routers:
        app.include_router(router)
    problems.install_handlers(app)
    app.state.meters = metrics.Meters()
    app.state.sessions = Sessions()
    app.state.readiness = Readiness()
    app.state.export_slots = ExportSlots()
    rules = read_rules(routers)
    app.add_middleware(Protection, rules=rules)
    app.add_middleware(MethodSupport)
    app.add_middleware(CrossOrigin)
    app.add_middleware(OriginCheck)
    add_request_ids(app)
    describe_routes(app, rules)
    return app


def _configure_process(settings: Settings) -> None:
    """Size the thread pool of the serving event loop and log a warning about keyless access."""
    # Each admitted request needs a thread; spare threads serve work outside admission control.
    anyio.to_thread.current_default_thread_limiter().total_tokens = (
        count_threads(settings.api) + _SPARE_THREADS
    )
    warning = keyless_warning(settings)
    if warning is not None:
        _log.warning("keyless access", detail=warning)


def _preload_models(services: bootstrap.Services) -> None:
    services.matching.start_pruning()
    try:
        services.encoder.warm()
        _ = services.encoder.reranker
        # Each list and answer contains the nearest city of each image.
        gazetteer.load_cities()
        # Loaded objects are permanent. Libraries and 145,000 cities are half a million objects;
        # each full collection scanned them and delayed all queries by 0.17 s (measured).
        gc.collect()
        gc.freeze()
    except PinpointError as error:
        # Each query will return this error; the log shows it before the first query.
        _log.error("weights not loaded", reason=error.reason, detail=error.message)
