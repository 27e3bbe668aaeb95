"""Settings in small groups, read from `PINPOINT_*` once by `bootstrap`, never at import.

What the environment does not set may stand in the home's file (`pinpoint.settings_file`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pinpoint.errors import Misconfigured
from pinpoint.homes import find_home

PREFIX: Final = "PINPOINT_"
STACK_VARIABLE: Final = "PINPOINT_STACK"
"""Environment variable that all processes of a stack inherit; its value is the home's path."""


class Places(BaseSettings):
    """Where things live. With a URL set, that service is used instead of the embedded one."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_", frozen=True)

    home: Annotated[
        Path,
        Field(
            description="Folder of the embedded stack, blobs and bundles; without it, `.pinpoint` "
            "in the current folder or the nearest one above it."
        ),
    ] = Path(".pinpoint")
    database_url: Annotated[
        str | None, Field(description="postgresql://… of the owner role (migrations, workers).")
    ] = None
    api_database_url: Annotated[
        str | None,
        Field(description="The API's own login; without it the API takes the role `pinpoint_api`."),
    ] = None
    qdrant_url: Annotated[str | None, Field(description="http(s)://… of a Qdrant server.")] = None
    qdrant_api_key: Annotated[str | None, Field(description="Key for the Qdrant server.")] = None
    qdrant_alias: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_-]{1,64}$",
            description="Alias of this installation's index on a Qdrant server; installations that "
            "share a server need different ones.",
        ),
    ] = "pinpoint"
    broker_url: Annotated[str | None, Field(description="Celery broker, redis:// or amqp://.")] = (
        None
    )

    @model_validator(mode="before")
    @classmethod
    def _find_home(cls, values: Any) -> Any:
        """Look for the home in the folders above, where nobody names it."""
        is_missing = isinstance(values, dict) and "home" not in values
        return {**values, "home": find_home()} if is_missing else values

    @field_validator("home")
    @classmethod
    def _make_absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()


class MediaSettings(BaseSettings):
    """Limits that hold before and while hostile bytes are decoded."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_MEDIA_", frozen=True)

    max_bytes: Annotated[int, Field(gt=0, description="Largest file read.")] = 100_000_000
    max_pixels: Annotated[int, Field(gt=0, description="Largest picture decoded.")] = 200_000_000
    max_metadata_bytes: Annotated[
        int, Field(gt=0, description="Largest EXIF, XMP or ICC block read.")
    ] = 4_000_000
    max_frames: Annotated[
        int, Field(gt=0, description="More frames than this are refused; the first is used.")
    ] = 2_000
    max_manifest_rows: Annotated[int, Field(gt=0, description="Rows read of one manifest.")] = (
        5_000_000
    )
    memory_mb: Annotated[int, Field(ge=256, description="Address space of the decoding child.")] = (
        2_000
    )
    timeout_s: Annotated[float, Field(gt=0, description="Longest reading of one file.")] = 8.0
    sandbox: Annotated[
        Literal["auto", "required"],
        Field(
            description="`auto`: the decoding child gives up what this system can take from it; "
            "`required`: no file is read where a part of the sandbox is missing."
        ),
    ] = "auto"
    rendition_px: Annotated[
        int, Field(ge=64, description="Shorter side of the picture given to towers.")
    ] = 512
    thumbnail_px: Annotated[int, Field(ge=32, description="Longer side of thumbnails.")] = 256


class EncoderSettings(BaseSettings):
    """Which weights look at the pictures, and where."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_", frozen=True)

    bundle: Annotated[
        str,
        Field(
            description="Bundle of an index that is made afresh: `descriptor`, a bundle folder, or "
            "its name, below home/bundles or shipped. An index that is there names its own."
        ),
    ] = "descriptor"
    device: Annotated[str, Field(description="`auto`, `cpu`, `cuda`, `cuda:1` …")] = "auto"
    encode_batch: Annotated[int, Field(ge=1, le=4096, description="Pictures per forward pass.")] = (
        64
    )


class SearchSettings(BaseSettings):
    """How a question is asked and answered."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_SEARCH_", frozen=True)

    candidates: Annotated[
        int, Field(ge=1, le=512, description="Candidates kept, over all kinds.")
    ] = 48
    overfetch: Annotated[
        int, Field(ge=1, le=16, description="Times more hits asked for than kept, per kind.")
    ] = 2
    gps_share: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="Share of the candidates that is found by place, "
            "where the bundle has a location tower; 0 does not look.",
        ),
    ] = 0.1667
    dedupe_m: Annotated[
        float, Field(ge=0, description="Of candidates of one group nearer than this one stays.")
    ] = 25.0
    evidence_radius_m: Annotated[
        float, Field(gt=0, description="How far evidence may stand; a reranker brings its own.")
    ] = 1_000.0
    evidence_per_kind: Annotated[
        int, Field(ge=0, le=64, description="Evidence photos per candidate and kind; likewise.")
    ] = 8
    cited: Annotated[
        int, Field(ge=1, le=100, description="Photos cited in an answer, per role and kind.")
    ] = 3
    objective_km: Annotated[
        float | None,
        Field(
            gt=0,
            description="Calibrated answers are chosen to lie within so many km of the truth as "
            "often as can be; without it, for the greatest expected GeoScore.",
        ),
    ] = None


class WorkerSettings(BaseSettings):
    """Chunks, leases and tries; the numbers belong together (see `pinpoint_workers.app`)."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_WORKER_", frozen=True)

    chunk: Annotated[int, Field(ge=1, le=512, description="Items in one job.")] = 64
    lease_s: Annotated[
        float, Field(gt=0, description="Silence after which others take a worker's rows.")
    ] = 300.0
    max_attempts: Annotated[
        int, Field(ge=1, description="Workers that may be lost over an item before it is `failed`.")
    ] = 5
    sweep_s: Annotated[float, Field(gt=0, description="How often lost work is looked for.")] = 30.0
    reconcile_s: Annotated[
        float, Field(gt=0, description="How often PostgreSQL and index are compared.")
    ] = 3_600.0
    tombstone_s: Annotated[
        float, Field(gt=0, description="How long a tombstone stays in the index.")
    ] = 86_400.0
    prune_s: Annotated[
        float, Field(gt=0, description="How often blobs and audit rows nobody needs are removed.")
    ] = 3_600.0
    orphan_s: Annotated[
        float, Field(gt=0, description="Age at which a blob that no row names is removed.")
    ] = 86_400.0
    audit_days: Annotated[
        float, Field(gt=0, description="How long the audit remembers a question.")
    ] = 90.0


class ApiSettings(BaseSettings):
    """The API's own address and limits."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_API_", frozen=True)

    host: Annotated[str, Field(description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[
        int, Field(ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    ] = 0
    metrics_token: Annotated[
        str | None,
        Field(
            min_length=16,
            description="Whoever sends it as a bearer token may read `/metrics`, from anywhere.",
        ),
    ] = None
    max_upload_files: Annotated[int, Field(ge=1, description="Files in one upload request.")] = 256
    max_upload_bytes: Annotated[int, Field(ge=1, description="Bytes in one upload request.")] = (
        500_000_000
    )
    allow_keyless: Annotated[
        bool,
        Field(
            description="While there are no keys, serve loopback without one. Behind a proxy that "
            "serves everybody, so use it on a machine of your own only."
        ),
    ] = False
    request_budget_s: Annotated[
        float,
        Field(gt=0, le=300, description="Longest work on one request, its body not counted."),
    ] = 10.0
    max_running: Annotated[
        int,
        Field(
            ge=4,
            le=64,
            description="Requests worked on at once: half of them questions, a quarter uploads.",
        ),
    ] = 16
    max_waiting: Annotated[
        int, Field(ge=0, description="Requests of one kind that wait for a place; more get 503.")
    ] = 256
    body_budget_bytes: Annotated[
        int, Field(ge=1_000_000, description="Bytes of bodies held at once, over all requests.")
    ] = 1_000_000_000
    max_json_bytes: Annotated[int, Field(ge=1_000, description="Largest JSON body.")] = 1_000_000
    header_timeout_s: Annotated[
        float, Field(gt=0, description="Longest wait for a request's first line and headers.")
    ] = 10.0
    body_timeout_s: Annotated[float, Field(gt=0, description="Longest pause within a body.")] = 15.0
    min_body_rate: Annotated[
        int, Field(ge=0, description="Bytes a second that a body must bring, after 10 s.")
    ] = 1_000


class LogSettings(BaseSettings):
    """How logs are written."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_LOG_", frozen=True)

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Field(description="Lowest level written.")
    ] = "info"
    json_lines: Annotated[bool, Field(description="One JSON object a line, else text.")] = True


class Settings:
    """All groups, each validated; build one with `Settings.from_environment()`."""

    __slots__ = ("api", "encoder", "log", "media", "places", "search", "worker")

    def __init__(
        self,
        *,
        places: Places | None = None,
        media: MediaSettings | None = None,
        encoder: EncoderSettings | None = None,
        search: SearchSettings | None = None,
        worker: WorkerSettings | None = None,
        api: ApiSettings | None = None,
        log: LogSettings | None = None,
    ) -> None:
        self.places = places or Places()
        self.media = media or MediaSettings()
        self.encoder = encoder or EncoderSettings()
        self.search = search or SearchSettings()
        self.worker = worker or WorkerSettings()
        self.api = api or ApiSettings()
        self.log = log or LogSettings()

    @classmethod
    def from_environment(cls, home: Path | None = None) -> Settings:
        """Read every group: from the environment, then from the home's file, then the defaults.

        Args:
            home: Another home than the environment's.

        Raises:
            Misconfigured: A value cannot be used, or the file names a setting that does not
                exist; the message names it.
        """
        # Here, because it lists the groups above.
        from pinpoint.settings_file import apply_file, describe_error

        try:
            settings = cls(places=None if home is None else Places(home=home))
        except ValidationError as error:
            raise Misconfigured(f"the environment: {describe_error(error)}") from error
        # A process of the stack has every setting in its environment. The file may have changed
        # since `up`; a process that is restarted must not differ from its neighbors.
        if os.environ.get(STACK_VARIABLE) != str(settings.places.home.resolve()):
            apply_file(settings)
        return settings
