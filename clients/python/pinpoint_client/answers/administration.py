"""Answers of administration, generated from the OpenAPI document by `generate_answers.py`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pinpoint_client.answers.answer_model import AnswerModel


class AreaGeometry(AnswerModel):
    """A GeoJSON MultiPolygon."""

    type: str | None = None
    coordinates: list[list[list[tuple[float, float]]]]


class ProtectedAreaProperties(AnswerModel):
    """Properties of a protected area."""

    name: str
    granularity: str
    """Finest statement about a place in the area for keys that may not see it: a disc of at
    least `min_radius_m` (`radius`), the nearest city, its country, or none (`refuse`)."""
    min_radius_m: float | None
    purpose: str
    whole_installation: bool
    created_at: datetime
    updated_at: datetime
    applied: bool
    """Whether all gallery rows inside are hidden. Answers follow an area at once, rows of a
    large gallery within minutes."""


class ProtectedArea(AnswerModel):
    """A protected area as a GeoJSON Feature."""

    type: str | None = None
    id: UUID
    geometry: AreaGeometry
    properties: ProtectedAreaProperties


class ProtectedAreas(AnswerModel):
    """A page of protected areas as a GeoJSON FeatureCollection."""

    type: str | None = None
    features: list[ProtectedArea]
    next: str | None
    """Path and query string of the next page; null on the last page."""


class Organization(AnswerModel):
    """An organization; its data is isolated from other organizations."""

    id: UUID
    name: str
    created_at: datetime


class Organizations(AnswerModel):
    """A page of organizations, oldest first."""

    organizations: list[Organization]
    next: str | None
    """Path and query string of the next page; null on the last page."""


class Key(AnswerModel):
    """An API key without its secret."""

    id: UUID
    organization_id: UUID
    name: str
    role: str | None
    scopes: list[str]
    """All scopes, those of the role included."""
    granularity: str
    """Finest statement about a position in a protected area."""
    min_radius_m: float
    """Minimum radius of each answer, meters."""
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    """Time of the last accepted request; updated at most once a minute."""
    rotated_at: datetime | None
    previous_secret_expires_at: datetime | None
    """From this time on the secret before the last rotation is rejected."""
    revoked_at: datetime | None


class KeySecret(AnswerModel):
    """A key with its new secret, which cannot be read again."""

    key: Key
    secret: str
    """The secret; the server stores only its hash."""


class Keys(AnswerModel):
    """A page of keys, revoked ones included, oldest first."""

    keys: list[Key]
    next: str | None
    """Path and query string of the next page; null on the last page."""


class AuditRow(AnswerModel):
    """One operation of a caller; never a photo."""

    id: UUID
    created_at: datetime
    key_id: UUID | None
    """API key of the caller; null for the operator."""
    key_name: str | None
    operation: str
    status: str
    """`abstained`: an answer without a certain point; `refused`: a rule of access forbids
    it."""
    request_id: str | None
    """Id of the request in the server's log."""
    target_id: UUID | None
    """The image, batch, source, key, kept query or organization that the operation is about."""
    photo_sha256: str | None
    """SHA-256 of the query photo, which is not stored; a query with several photos has one row
    for each."""
    bundle: str | None
    index_build: str | None
    num_rows: int | None
    """Number of rows or files that were sent, uploaded, changed or deleted."""
    image_filter: dict[str, Any] | None
    """Format and filter of an export."""
    lat: float | None
    """Latitude of the answer; null unless PINPOINT_API_AUDIT_POSITIONS is set, or if the caller
    may not see it: it is in a protected area, or the key has a minimum radius."""
    lon: float | None


class AuditLog(AnswerModel):
    """A page of the audit log, newest first."""

    rows: list[AuditRow]
    next: str | None
    """Path and query string of the next page; null on the last page."""


class Limits(AnswerModel):
    """Limits in force; 0: no limit."""

    requests_per_minute: int
    photos_per_day: int
    bytes_per_day: int
    concurrent_jobs: int


class LimitUsage(AnswerModel):
    """What is left of one limit."""

    policy: str
    quota: int
    remaining: int
    window_s: int
    """Length of the sliding window, seconds."""
    reset_s: int
    """Seconds until the window ends, or, if nothing remains, until one unit is free."""


class OwnLimits(AnswerModel):
    """Scopes and limits of the caller, and what is left of them."""

    scopes: list[str]
    """All scopes of the key, those of its role included."""
    limits: Limits
    usage: list[LimitUsage]
    """One entry for each limit that counts within a window; empty if the counters do not
    answer."""


class KeyLimitsIn(AnswerModel):
    """Limits of a key. Null or absent: the limit of the settings; 0: no limit."""

    requests_per_minute: int | None = None
    photos_per_day: int | None = None
    bytes_per_day: int | None = None
    concurrent_jobs: int | None = None


class KeyLimits(AnswerModel):
    """Limits of a key: those that were set for it, and those in force."""

    overrides: KeyLimitsIn
    limits: Limits


class Webhook(AnswerModel):
    """A URL that receives events, without its secret."""

    id: UUID
    url: str
    event_types: list[str]
    created_at: datetime
    disabled_at: datetime | None
    """Time at which deliveries were stopped, by a caller or after long failure."""
    failing_since: datetime | None
    """First failed attempt since the last successful one."""
    previous_secret_expires_at: datetime | None
    """Until then the secret before the last rotation signs as well."""


class Webhooks(AnswerModel):
    """All webhooks, oldest first."""

    webhooks: list[Webhook]


class WebhookSecret(AnswerModel):
    """A webhook with its new secret, which is shown only now."""

    webhook: Webhook
    secret: str
    """Verifies `webhook-signature`."""


class Delivery(AnswerModel):
    """An event that is sent to a webhook."""

    id: UUID
    event_id: UUID
    """`webhook-id` is `msg_` and this id without dashes."""
    event_type: str
    status: str
    attempts: int
    next_attempt_at: datetime | None
    response_status: int | None
    """HTTP status of the last answer."""
    error_message: str | None
    created_at: datetime
    finished_at: datetime | None


class Deliveries(AnswerModel):
    """A page of deliveries, newest first."""

    deliveries: list[Delivery]
    next: str | None
    """Value of `cursor` for the next page."""
