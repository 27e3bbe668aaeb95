"""Settings of the HTTP API, a group of `pinpoint.settings`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_WEB_ORIGIN: Final = r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?"
"""Origin of a web server, without characters that a Content-Security-Policy gives a meaning."""


class ApiSettings(BaseSettings):
    """Address and limits of the API."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_API_", frozen=True)

    host: Annotated[str, Field(description="Address that the API listens on.")] = "127.0.0.1"
    port: Annotated[
        int,
        Field(ge=0, le=65535, description="Port that the API listens on; 0 selects a free port."),
    ] = 0
    metrics_token: Annotated[
        str | None,
        Field(
            min_length=16,
            description="Bearer token that gives access to `/metrics` from any address.",
        ),
    ] = None
    max_upload_files: Annotated[
        int, Field(ge=1, description="Maximum number of files in one upload request.")
    ] = 256
    max_upload_bytes: Annotated[
        int, Field(ge=1, description="Maximum size of one upload request, bytes.")
    ] = 500_000_000
    allow_keyless: Annotated[
        bool,
        Field(
            description="Serve loopback without a key while no keys exist. Behind a proxy this "
            "gives access to everybody, so use it only on a machine of your own."
        ),
    ] = False
    cors_origins: Annotated[
        str | None,
        Field(
            pattern=r"^(\*|https?://[^\s,/*]+(\s*,\s*https?://[^\s,/*]+)*)$",
            description="Origins of web pages that may call the API with a key, separated by "
            "commas (https://maps.example.org), or `*` for all. Default: none. Cookies and saved "
            "passwords are never accepted from another origin.",
        ),
    ] = None
    host_names: Annotated[
        str | None,
        Field(
            pattern=r"^[^\s,/:*]+(\s*,\s*[^\s,/:*]+)*$",
            description="Host names of a reverse proxy before the API, separated by commas "
            "(pinpoint.example.org). An API on a loopback address refuses requests for other names "
            "than these and its own.",
        ),
    ] = None
    basemap_tiles: Annotated[
        Path | None,
        Field(
            description="PMTiles file that the web page draws as its background map. Everybody who "
            "reaches the API can read it, without a key. Default: the map of the page itself."
        ),
    ] = None
    basemap_style: Annotated[
        str | None,
        Field(
            min_length=1,
            description="MapLibre style of the background map: a JSON file, or a URL (https://…) "
            "on one of the hosts of `PINPOINT_API_BASEMAP_HOSTS`.",
        ),
    ] = None
    basemap_hosts: Annotated[
        str | None,
        Field(
            pattern=rf"^{_WEB_ORIGIN}(\s*,\s*{_WEB_ORIGIN})*$",
            description="Origins that the web page may load parts of the style from, separated by "
            "commas (https://tiles.example.org). Default: none; the page then sends requests to "
            "this API only.",
        ),
    ] = None
    idempotency_ttl_s: Annotated[
        float,
        Field(
            ge=60,
            le=30 * 86_400,
            description="Time that the answer of a request with `Idempotency-Key` is kept, "
            "seconds.",
        ),
    ] = 86_400.0
    request_budget_s: Annotated[
        float,
        Field(gt=0, le=300, description="Time limit of one request without its body, seconds."),
    ] = 10.0
    restricted_interval_s: Annotated[
        float,
        Field(
            ge=0,
            le=10,
            description="Answers to keys that may not see protected areas take a multiple of this "
            "time, seconds; 0 reveals how long a search took.",
        ),
    ] = 0.25
    audit_positions: Annotated[
        bool, Field(description="Store the located points of queries in the audit log.")
    ] = False
    layer_timeout_s: Annotated[
        float,
        Field(
            gt=0,
            le=300,
            description="Time limit of each statement for a layer (`/ogc`), whose filter a caller "
            "writes, seconds.",
        ),
    ] = 5.0
    max_running: Annotated[
        int,
        Field(
            ge=4,
            le=64,
            description="Maximum number of concurrent requests: half queries, a quarter uploads.",
        ),
    ] = 16
    max_waiting: Annotated[
        int,
        Field(
            ge=0, description="Maximum number of queued requests of one kind; more get status 503."
        ),
    ] = 256
    body_budget_bytes: Annotated[
        int,
        Field(
            ge=1_000_000,
            description="Maximum total size of the bodies of all concurrent requests, bytes.",
        ),
    ] = 1_000_000_000
    max_json_bytes: Annotated[
        int, Field(ge=1_000, description="Maximum size of a JSON body, bytes.")
    ] = 1_000_000
    header_timeout_s: Annotated[
        float,
        Field(gt=0, description="Time limit for a request's first line and headers, seconds."),
    ] = 10.0
    body_timeout_s: Annotated[
        float, Field(gt=0, description="Longest pause within a body, seconds.")
    ] = 15.0
    min_body_rate: Annotated[
        int, Field(ge=0, description="Minimum rate of a body after 10 s, bytes per second.")
    ] = 1_000

    @property
    def basemap_origins(self) -> tuple[str, ...]:
        """Origins of `basemap_hosts` in lower case."""
        parts = (self.basemap_hosts or "").split(",")
        return tuple(part.strip().lower() for part in parts if part.strip())

    @property
    def has_style_url(self) -> bool:
        """Whether the style of the background map is a URL, not a file."""
        return (self.basemap_style or "").lower().startswith(("http://", "https://"))

    @model_validator(mode="after")
    def _check_style_host(self) -> Self:
        if self.has_style_url:
            parts = urlsplit(self.basemap_style or "")
            if f"{parts.scheme}://{parts.netloc}".lower() not in self.basemap_origins:
                raise ValueError(
                    "the host of PINPOINT_API_BASEMAP_STYLE is not in PINPOINT_API_BASEMAP_HOSTS"
                )
        return self
