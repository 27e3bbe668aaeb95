"""Settings of requests to servers that users name, groups of `pinpoint.settings`."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Final

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_BUCKET: Final = re.compile(r"(?:s3|gs)://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](?:/.*)?")


def split_list(text: str) -> tuple[str, ...]:
    """Entries of a setting with a list, separated by commas."""
    return tuple(entry.strip() for entry in text.split(",") if entry.strip())


class RemoteSettings(BaseSettings):
    """Files that users name by URL, and the object stores that workers may read."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_REMOTE_", frozen=True)

    allowed_hosts: Annotated[
        str,
        Field(
            description="Hosts of http(s) URLs that may be ingested, separated by commas: "
            "`example.org`, `*.example.org` for all names below it, `*` for every public host. "
            "Empty: no URL is fetched."
        ),
    ] = ""
    allowed_buckets: Annotated[
        str,
        Field(
            description="Buckets that every organization may ingest, separated by commas: "
            "`s3://bucket`, `gs://bucket/folder`. Empty: no bucket is read."
        ),
    ] = ""
    allowed_networks: Annotated[
        str,
        Field(
            description="Networks that are not public but may be connected to, such as "
            "`10.1.0.0/16`, separated by commas."
        ),
    ] = ""
    allow_http: Annotated[bool, Field(description="Allow `http`, not only `https`.")] = False
    allowed_ports: Annotated[
        str, Field(description="Ports that URLs may name, separated by commas.")
    ] = "80,443"
    timeout_s: Annotated[
        float,
        Field(
            gt=0,
            le=3_600,
            description="Time limit of one download with its redirects, seconds.",
        ),
    ] = 60.0
    s3_endpoint_url: Annotated[
        str | None,
        Field(description="URL of a store with the API of S3. Default: Amazon S3 of the region."),
    ] = None
    s3_region: Annotated[str, Field(description="Region of the S3 buckets.")] = "us-east-1"
    s3_access_key: Annotated[
        str | None,
        Field(description="Access key id for S3. Without it, buckets are read unsigned."),
    ] = None
    s3_secret_key: Annotated[str | None, Field(description="Secret access key for S3.")] = None
    s3_session_token: Annotated[
        str | None, Field(description="Session token of temporary credentials for S3.")
    ] = None
    gs_endpoint_url: Annotated[
        str, Field(description="URL of the XML API of Google Cloud Storage.")
    ] = "https://storage.googleapis.com"
    gs_access_key: Annotated[
        str | None, Field(description="Access id of an HMAC key for Google Cloud Storage.")
    ] = None
    gs_secret_key: Annotated[
        str | None, Field(description="Secret of an HMAC key for Google Cloud Storage.")
    ] = None

    @field_validator("allowed_networks")
    @classmethod
    def _check_networks(cls, text: str) -> str:
        for entry in split_list(text):
            ip_network(entry)
        return text

    @field_validator("allowed_ports")
    @classmethod
    def _check_ports(cls, text: str) -> str:
        if not all(entry.isdigit() and 0 < int(entry) < 65_536 for entry in split_list(text)):
            raise ValueError("ports are numbers from 1 to 65535, separated by commas")
        return text

    @field_validator("allowed_buckets")
    @classmethod
    def _check_buckets(cls, text: str) -> str:
        for entry in split_list(text):
            if not _BUCKET.fullmatch(entry):
                raise ValueError("a bucket reads s3://bucket, gs://bucket or s3://bucket/folder")
        return text

    @property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """`allowed_networks`, parsed."""
        return tuple(ip_network(entry) for entry in split_list(self.allowed_networks))

    @property
    def ports(self) -> tuple[int, ...]:
        """`allowed_ports`, parsed."""
        return tuple(int(entry) for entry in split_list(self.allowed_ports))

    @property
    def schemes(self) -> tuple[str, ...]:
        """Allowed schemes."""
        return ("https", "http") if self.allow_http else ("https",)


class WebhookSettings(BaseSettings):
    """Delivery of webhooks."""

    model_config = SettingsConfigDict(env_prefix="PINPOINT_WEBHOOK_", frozen=True)

    allowed_hosts: Annotated[
        str,
        Field(
            description="Hosts that webhooks may be sent to, in the form of "
            "`PINPOINT_REMOTE_ALLOWED_HOSTS`. Networks, ports and `http` are those of "
            "`PINPOINT_REMOTE_…`. Empty: no webhook can be created."
        ),
    ] = ""
    timeout_s: Annotated[
        float, Field(gt=0, le=60, description="Time limit of one delivery, seconds.")
    ] = 10.0
    retry_interval_s: Annotated[
        float, Field(gt=0, description="Interval between searches for due deliveries, seconds.")
    ] = 30.0
    max_attempts: Annotated[
        int, Field(ge=1, le=20, description="Maximum number of attempts to deliver one event.")
    ] = 10
    disable_after_days: Annotated[
        float,
        Field(gt=0, description="Days without a successful delivery that disable a webhook."),
    ] = 5.0
    rotation_overlap_days: Annotated[
        float,
        Field(ge=0, le=30, description="Days that the previous secret signs too after a rotation."),
    ] = 1.0
    delivery_retention_days: Annotated[
        float, Field(gt=0, description="Retention of the list of deliveries, days.")
    ] = 30.0
