"""Settings in small groups, read from `PINPOINT_*` once at start, never at import.

The home's file (`pinpoint.settings_file`) may set values that the environment does not set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, FilePath, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pinpoint.api_settings import ApiSettings
from pinpoint.export_settings import ExportSettings
from pinpoint.homes import find_home
from pinpoint.job_settings import JobSettings
from pinpoint.limit_settings import LimitSettings
from pinpoint.matching_settings import MatchingSettings
from pinpoint.outgoing_settings import RemoteSettings, WebhookSettings

ENVIRONMENT_PREFIX: Final = "PINPOINT_"
BUILT_IN_BUNDLE: Final = "efficientnet-lite0-vlad"
"""Name of the bundle with a trained tower that a new index uses by default."""
STACK_VARIABLE: Final = "PINPOINT_STACK"
"""Environment variable that all processes of a stack inherit; its value is the home's path."""


class ServiceSettings(BaseSettings):
    """Home and service URLs. A service with a URL is used instead of the embedded one."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_", frozen=True)

    home: Annotated[
        Path,
        Field(
            description="Folder of the embedded stack, blobs and bundles. Default: `.pinpoint` in "
            "the current folder or the nearest parent folder that has one."
        ),
    ] = Path(".pinpoint")
    database_url: Annotated[
        str | None,
        Field(description="URL (postgresql://…) of the owner role (migrations, workers)."),
    ] = None
    api_database_url: Annotated[
        str | None,
        Field(
            description="Database URL of the API. Default: the owner's, with role `pinpoint_api`."
        ),
    ] = None
    qdrant_url: Annotated[
        str | None,
        Field(
            description="URL (http(s)://…) of a Qdrant server, or of several nodes of a cluster, "
            "separated by commas: if one accepts no connection, the next one is used."
        ),
    ] = None
    qdrant_api_key: Annotated[str | None, Field(description="API key of the Qdrant server.")] = None
    qdrant_alias: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_-]{1,64}$",
            description="Alias of this installation's index on a Qdrant server. Installations that "
            "share a server need different aliases.",
        ),
    ] = "pinpoint"
    qdrant_shards: Annotated[
        int | None,
        Field(
            ge=1,
            description="Number of shards of a new collection. It does not change later, so choose "
            "it for the nodes to come; `pinpoint index rebuild` makes a collection with another "
            "number. Default: that of the server, one for each node.",
        ),
    ] = None
    qdrant_replicas: Annotated[
        int | None,
        Field(
            ge=1,
            description="Number of copies of each shard (replication factor). With one copy, the "
            "loss of a node stops all answers. Default: that of the server, one.",
        ),
    ] = None
    qdrant_write_replicas: Annotated[
        int | None,
        Field(
            ge=1,
            description="Copies that must confirm a write (write consistency factor). Default: "
            "that of the server, one.",
        ),
    ] = None
    broker_url: Annotated[
        str | None, Field(description="URL of the Celery broker, redis:// or amqp://.")
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _find_home(cls, values: Any) -> Any:
        """Search the home in the parent folders if it is not given."""
        is_missing = isinstance(values, dict) and "home" not in values
        return {**values, "home": find_home()} if is_missing else values

    @field_validator("home")
    @classmethod
    def _make_absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()


class MediaSettings(BaseSettings):
    """Limits on untrusted files before and during decoding."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_MEDIA_", frozen=True)

    max_bytes: Annotated[int, Field(gt=0, description="Maximum file size, bytes.")] = 100_000_000
    max_pixels: Annotated[int, Field(gt=0, description="Maximum image size, pixels.")] = 200_000_000
    max_metadata_bytes: Annotated[
        int, Field(gt=0, description="Maximum size of an EXIF, XMP or ICC block, bytes.")
    ] = 4_000_000
    max_frames: Annotated[
        int, Field(gt=0, description="Files with more frames are refused; only the first is used.")
    ] = 2_000
    max_manifest_rows: Annotated[
        int, Field(gt=0, description="Maximum number of rows of a manifest.")
    ] = 5_000_000
    memory_mb: Annotated[
        int, Field(ge=256, description="Address space of the decoding child process, MB.")
    ] = 2_000
    timeout_s: Annotated[
        float, Field(gt=0, description="Time limit for decoding one file, seconds.")
    ] = 8.0
    sandbox: Annotated[
        Literal["auto", "required"],
        Field(
            description="`auto`: the decoding child drops all privileges that this system lets it "
            "drop. `required`: no file is read if a part of the sandbox is missing."
        ),
    ] = "auto"
    c2pa_trust_list: Annotated[
        FilePath | None,
        Field(
            description="PEM file with the certificates of authorities whose signatures of C2PA "
            "manifests are trusted. Without it a signature is at most `valid`."
        ),
    ] = None
    rendition_px: Annotated[
        int, Field(ge=64, description="Shorter side of the image given to towers, pixels.")
    ] = 512
    thumbnail_px: Annotated[int, Field(ge=32, description="Longer side of thumbnails, pixels.")] = (
        256
    )


class EncoderSettings(BaseSettings):
    """Weights and device of the encoder."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_", frozen=True)

    bundle: Annotated[
        str,
        Field(
            description="Bundle for a newly created index: the name of a bundle in home/bundles or "
            "shipped, a bundle folder, or `descriptor`. An existing index keeps its bundle."
        ),
    ] = BUILT_IN_BUNDLE
    device: Annotated[
        str, Field(description="Device of the encoder: `auto`, `cpu`, `cuda`, `cuda:1` …")
    ] = "auto"
    encode_batch: Annotated[int, Field(ge=1, le=4096, description="Images per forward pass.")] = 64


class SearchSettings(BaseSettings):
    """Retrieval, evidence and answer of a query."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_SEARCH_", frozen=True)

    candidates: Annotated[
        int, Field(ge=1, le=512, description="Number of candidates over all source kinds.")
    ] = 48
    oversampling: Annotated[
        int,
        Field(
            ge=1, le=16, description="Oversampling: hits requested per candidate, per source kind."
        ),
    ] = 2
    gps_channel_fraction: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="Share of the candidates retrieved by position, "
            "if the bundle has a location tower; 0 disables this channel.",
        ),
    ] = 0.1667
    raw_channel_fraction: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="Share of the candidates retrieved by the tower's own features, "
            "if the bundle stores them; 0 disables this channel.",
        ),
    ] = 0.1667
    dedupe_m: Annotated[
        float,
        Field(ge=0, description="Minimum distance between two candidates of one group, meters."),
    ] = 25.0
    evidence_radius_m: Annotated[
        float,
        Field(
            gt=0, description="Evidence radius around a candidate, meters; a reranker sets its own."
        ),
    ] = 1_000.0
    evidence_per_kind: Annotated[
        int,
        Field(
            ge=0,
            le=64,
            description="Evidence photos per candidate and source kind; a reranker sets its own.",
        ),
    ] = 8
    max_citations: Annotated[
        int, Field(ge=1, le=100, description="Photos cited in an answer, per role and source kind.")
    ] = 3
    verify_candidates: Annotated[
        int,
        Field(
            ge=0,
            le=64,
            description="Number of candidates that are compared with the query photo by their "
            "local features (geometric verification); 0 disables it.",
        ),
    ] = 8
    kept_query_retention_days: Annotated[
        float,
        Field(
            ge=0,
            le=36_500,
            description="Retention of the answers that callers ask to keep by `keep=true`, days; 0 "
            "keeps none.",
        ),
    ] = 0.0
    optimize_for_radius_km: Annotated[
        float | None,
        Field(
            gt=0,
            description="Maximize the probability that a calibrated answer is within this radius, "
            "km. Default: maximize the expected GeoScore.",
        ),
    ] = None


class WorkerSettings(BaseSettings):
    """Chunks, leases and attempts; the numbers depend on each other (`pinpoint_workers.app`)."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_WORKER_", frozen=True)

    task_batch_size: Annotated[
        int, Field(ge=1, le=512, description="Number of items in one task.")
    ] = 64
    lease_ttl_s: Annotated[
        float,
        Field(
            gt=0,
            description="Lease time: other workers then take the rows of a silent one, seconds.",
        ),
    ] = 300.0
    max_attempts: Annotated[
        int,
        Field(
            ge=1,
            description="Number of workers that an item may lose before it is `failed`.",
        ),
    ] = 5
    recovery_interval_s: Annotated[
        float, Field(gt=0, description="Interval between searches for lost work, seconds.")
    ] = 30.0
    reconcile_interval_s: Annotated[
        float,
        Field(gt=0, description="Interval between comparisons of PostgreSQL and index, seconds."),
    ] = 3_600.0
    tombstone_ttl_s: Annotated[
        float, Field(gt=0, description="Time that a tombstone stays in the index, seconds.")
    ] = 86_400.0
    prune_interval_s: Annotated[
        float,
        Field(
            gt=0, description="Interval between deletions of unused blobs and audit rows, seconds."
        ),
    ] = 3_600.0
    orphan_blob_ttl_s: Annotated[
        float, Field(gt=0, description="Age at which a blob without a row is deleted, seconds.")
    ] = 86_400.0
    audit_retention_days: Annotated[
        float, Field(gt=0, description="Retention of the rows of the audit log, days.")
    ] = 90.0


class LogSettings(BaseSettings):
    """Level and format of logs."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_LOG_", frozen=True)

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Field(description="Lowest level that is logged."),
    ] = "info"
    json_lines: Annotated[bool, Field(description="Log one JSON object per line, else text.")] = (
        True
    )


class Settings:
    """All groups of settings, validated; read by `settings_file.load_settings()`."""

    __slots__ = (
        "api",
        "encoder",
        "export",
        "jobs",
        "limits",
        "log",
        "matching",
        "media",
        "remote",
        "search",
        "services",
        "webhook",
        "worker",
    )

    def __init__(  # noqa: PLR0913 - one group each
        self,
        *,
        services: ServiceSettings | None = None,
        media: MediaSettings | None = None,
        encoder: EncoderSettings | None = None,
        search: SearchSettings | None = None,
        matching: MatchingSettings | None = None,
        worker: WorkerSettings | None = None,
        api: ApiSettings | None = None,
        export: ExportSettings | None = None,
        remote: RemoteSettings | None = None,
        webhook: WebhookSettings | None = None,
        jobs: JobSettings | None = None,
        limits: LimitSettings | None = None,
        log: LogSettings | None = None,
    ) -> None:
        self.services = services or ServiceSettings()
        self.media = media or MediaSettings()
        self.encoder = encoder or EncoderSettings()
        self.search = search or SearchSettings()
        self.matching = matching or MatchingSettings()
        self.worker = worker or WorkerSettings()
        self.api = api or ApiSettings()
        self.export = export or ExportSettings()
        self.remote = remote or RemoteSettings()
        self.webhook = webhook or WebhookSettings()
        self.jobs = jobs or JobSettings()
        self.limits = limits or LimitSettings()
        self.log = log or LogSettings()
