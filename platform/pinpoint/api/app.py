"""Builds the application; connections are opened when it starts to serve."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Thread
from typing import Any, Final

import anyio
from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from pinpoint import __version__, bootstrap, logs
from pinpoint.api import health, metrics, problems, sign_in
from pinpoint.api.admission import count_threads
from pinpoint.api.export_stream import ExportSlots
from pinpoint.api.ogc import routes as layers
from pinpoint.api.panoramax import map_tiles, routes
from pinpoint.api.protection import Protection
from pinpoint.api.readiness import Readiness
from pinpoint.api.request_id import add_request_ids
from pinpoint.api.rules import read_rules
from pinpoint.api.sessions import Sessions
from pinpoint.api.v1 import (
    batches,
    exports,
    image_files,
    image_metadata,
    images,
    kept_queries,
    locate,
    protected_areas,
    sources,
    spatial,
)
from pinpoint.api.v1.schemas.answer_features import AnswerFeaturesOut, SimilarFeaturesOut
from pinpoint.api.v1.schemas.images import ImageFeatures
from pinpoint.api.v1.schemas.spatial import CellFeatures
from pinpoint.errors import PinpointError
from pinpoint.geo import gazetteer
from pinpoint.http_headers import API_KEY_HEADER
from pinpoint.media.exports.temporary_files import remove_abandoned_folders
from pinpoint.settings import Settings
from pinpoint.settings_file import load_settings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.sign_in_urls import keyless_warning

_log = logs.get_logger(__name__)

ROUTE_MODULES: Final = (
    locate,
    batches,
    image_metadata,
    images,
    exports,
    image_files,
    sources,
    protected_areas,
    spatial,
    kept_queries,
    layers,
    routes,
    map_tiles,
    health,
    sign_in,
    metrics,
)
RESPONSE_MODELS: Final = (
    problems.Problem,
    AnswerFeaturesOut,
    CellFeatures,
    ImageFeatures,
    SimilarFeaturesOut,
)
"""Models of responses whose media type is not `application/json`; FastAPI lists only those."""
_SPARE_THREADS: Final = 24
_KEY_SCHEMES: Final = {
    "HTTPBearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key: `Authorization: Bearer <key>`.",
    },
    "HTTPBasic": {
        "type": "http",
        "scheme": "basic",
        "description": "Any user name, and an API key as password.",
    },
    "APIKeyHeader": {
        "type": "apiKey",
        "in": "header",
        "name": API_KEY_HEADER,
        "description": "An API key.",
    },
}
"""Forms of an API key (`pinpoint.api.auth`)."""

DESCRIPTION: Final = (
    "Where was this photo taken, and what is the evidence? "
    "Errors are RFC 9457 problem details. Query photos are not stored."
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

    # Interactive pages would load third-party scripts into this origin; /openapi.json is enough.
    app = FastAPI(
        title="Pinpoint",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    routers = [module.router for module in ROUTE_MODULES]
    for router in routers:
        app.include_router(router)
    problems.install_handlers(app)
    app.state.meters = metrics.Meters()
    app.state.sessions = Sessions()
    app.state.readiness = Readiness()
    app.state.export_slots = ExportSlots()
    app.add_middleware(Protection, rules=read_rules(routers))
    add_request_ids(app)
    _describe_common_responses(app)
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


def _describe_common_responses(app: FastAPI) -> None:
    """Add the problem schema to OpenAPI and remove FastAPI's own validation error.

    Responses that `protection` may send on any route are declared here.
    """
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        document = generated()
        schemas = document["components"]["schemas"]
        document["components"].setdefault("securitySchemes", {}).update(_KEY_SCHEMES)
        _add_response_models(schemas)
        for methods in document["paths"].values():
            for operation in methods.values():
                if "security" in operation:
                    # Keyless access is possible only if PINPOINT_API_ALLOW_KEYLESS is set.
                    operation["security"] = [*({name: []} for name in _KEY_SCHEMES), {}]
                if "requestBody" in operation:
                    for status, declared in problems.problem_responses(408, 413, 415).items():
                        operation["responses"].setdefault(str(status), declared)
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _add_response_models(schemas: dict[str, Any]) -> None:
    """Add `RESPONSE_MODELS`, and the models in them, to the schemas of an OpenAPI document."""
    for model in RESPONSE_MODELS:
        schema = model.model_json_schema(
            ref_template="#/components/schemas/{model}", mode="serialization"
        )
        for name, definition in schema.pop("$defs", {}).items():
            schemas.setdefault(name, definition)
        schemas[model.__name__] = schema
