"""Object stores with the API of S3: Amazon S3, MinIO-like stores, and Google Cloud Storage.

Google's XML API accepts HMAC keys and the signatures of S3 (Signature Version 4). Requests go
through the guard to the endpoint of the settings only; a user chooses bucket and key.
Sources: Amazon S3 API reference (ListObjectsV2, GetObject), Google Cloud Storage XML API.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final, Literal
from urllib.parse import quote, unquote_plus, urlencode

from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from pinpoint.errors import ConfigurationError, RemoteFileError
from pinpoint.outgoing.connections import URL_UNAVAILABLE
from pinpoint.outgoing.guard import URL_FORBIDDEN, URL_NOT_FOUND, Guard
from pinpoint.outgoing.urls import refuse_url
from pinpoint.records import KeyPage

_SHAPE: Final = re.compile(
    r"(?P<store>s3|gs)://(?P<bucket>[a-z0-9][a-z0-9._-]{1,61}[a-z0-9])(?:/(?P<key>.*))?", re.DOTALL
)
_MAX_KEY_BYTES: Final = 1_024
_MAX_LISTING_BYTES: Final = 20_000_000
_SAFE: Final = "-_.~"
"""Characters that Signature Version 4 does not encode."""
KEYS_PER_PAGE: Final = 1_000

StoreName = Literal["s3", "gs"]


@dataclass(frozen=True, slots=True)
class ObjectUrl:
    """`s3://bucket/key` or `gs://bucket/key`; the key is plain text, not percent-encoded."""

    store: StoreName
    bucket: str
    key: str
    """Key of an object, or the prefix of a listing."""

    def __str__(self) -> str:
        return f"{self.store}://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectStore:
    """Endpoint and credentials of a store, from settings.

    Args:
        endpoint: URL without a path.
        region: Region of the signature.
        access_key: Access key id; None reads public buckets without a signature.
        secret_key: Secret of the key.
        session_token: Token of temporary credentials.
        guard: Allows the endpoint, and nothing else.
    """

    endpoint: str
    region: str
    access_key: str | None
    secret_key: str | None
    session_token: str | None = None
    guard: Guard


def parse_object_url(text: str) -> ObjectUrl:
    """Parse `s3://bucket/key`; the key may be empty.

    Raises:
        RemoteFileError: `url_refused`.
    """
    match = _SHAPE.fullmatch(text)
    if match is None:
        raise refuse_url(text, "it reads s3://bucket/key or gs://bucket/key")
    key = match["key"] or ""
    try:
        num_bytes = len(key.encode())
    except UnicodeEncodeError as error:
        raise refuse_url(ascii(text), "it contains half of a surrogate pair") from error
    if num_bytes > _MAX_KEY_BYTES:
        raise refuse_url(text, f"a key has at most {_MAX_KEY_BYTES} bytes")
    # Proxies in front of a store may resolve these segments, which would leave an allowed folder.
    if not key.isprintable() or {".", ".."} & set(key.split("/")):
        raise refuse_url(text, "its key contains control characters, . or ..")
    store: StoreName = "s3" if match["store"] == "s3" else "gs"
    return ObjectUrl(store, match["bucket"], key)


class Buckets:
    """Lists and downloads objects of allowed buckets; thread-safe.

    Args:
        stores: Store of each scheme.
        allowed: `s3://bucket` or `s3://bucket/folder`.
    """

    def __init__(self, stores: Mapping[StoreName, ObjectStore], allowed: Sequence[str]) -> None:
        self._stores = stores
        self._allowed = tuple(f"{entry.rstrip('/')}/" for entry in allowed)

    def check_object_url(self, text: str) -> ObjectUrl:
        """Parse the URL of an object or prefix and check that its bucket is allowed.

        Raises:
            RemoteFileError: `url_refused`.
        """
        url = parse_object_url(text)
        if not str(url).startswith(self._allowed):
            raise refuse_url(text, "the bucket is not in PINPOINT_REMOTE_ALLOWED_BUCKETS")
        return url

    def fetch_object(self, text: str, file: IO[bytes], *, max_bytes: int) -> None:
        """Download an object.

        Raises:
            RemoteFileError: As `Guard.fetch_to_file`.
        """
        url = self.check_object_url(text)
        if not url.key:
            raise refuse_url(text, "it names a bucket, not an object")
        store = self._stores[url.store]
        address = f"{store.endpoint}/{url.bucket}/{quote(url.key, safe=f'/{_SAFE}')}"
        store.guard.fetch_to_file(
            address, file, max_bytes=max_bytes, headers=_sign_request(store, address)
        )

    def list_keys(self, text: str, after_key: str | None) -> KeyPage:
        """List a page of keys with a prefix, in their order.

        Args:
            text: URL of a bucket or prefix.
            after_key: Last key of the previous page. The listing continues after it, also days
                later: unlike a continuation token, a key does not expire.

        Raises:
            RemoteFileError: As `Guard.fetch_to_file`.
        """
        url = self.check_object_url(text)
        store = self._stores[url.store]
        query = {
            "encoding-type": "url",
            "list-type": "2",
            "max-keys": str(KEYS_PER_PAGE),
            "prefix": url.key,
        }
        if after_key is not None:
            query["start-after"] = after_key
        encoded = urlencode(sorted(query.items()), quote_via=quote, safe=_SAFE)
        address = f"{store.endpoint}/{url.bucket}?{encoded}"
        response = store.guard.send(
            "GET", address, headers=_sign_request(store, address), max_bytes=_MAX_LISTING_BYTES
        )
        if response.status != 200:
            reasons = {401: URL_FORBIDDEN, 403: URL_FORBIDDEN, 404: URL_NOT_FOUND}
            raise RemoteFileError(
                f"{url.store}://{url.bucket} answered with status {response.status}",
                reason=reasons.get(response.status, URL_UNAVAILABLE),
            )
        return _parse_listing(response.body, url)


def _parse_listing(body: bytes, url: ObjectUrl) -> KeyPage:
    """Parse a `ListBucketResult`; keys outside the prefix are an error of the store."""
    try:
        root = ElementTree.fromstring(body)
    except (ElementTree.ParseError, DefusedXmlException) as error:
        raise RemoteFileError(
            f"{url.store}://{url.bucket} answered with an invalid listing", reason=URL_UNAVAILABLE
        ) from error
    is_encoded = _find_text(root, "EncodingType") == "url"
    contents = root.findall("{*}Contents")
    keys = tuple(_find_text(entry, "Key") for entry in contents)
    if is_encoded:
        keys = tuple(unquote_plus(key) for key in keys)
    if not all(key.startswith(url.key) for key in keys):
        raise RemoteFileError("the store lists keys outside the prefix", reason=URL_UNAVAILABLE)
    is_truncated = _find_text(root, "IsTruncated") == "true"
    return KeyPage(keys, keys[-1] if is_truncated and keys else None)


def _find_text(element: Any, name: str) -> str:
    child = element.find(f"{{*}}{name}")
    return "" if child is None else child.text or ""


def _sign_request(store: ObjectStore, address: str) -> dict[str, str]:
    """Headers that sign a GET request; empty without credentials."""
    if store.access_key is None:
        return {}
    if store.secret_key is None:
        raise ConfigurationError("an access key for object stores needs its secret key")
    # Imported here, because it takes a third of a second that most commands need not spend.
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest("GET", address)
    credentials = Credentials(store.access_key, store.secret_key, store.session_token)
    S3SigV4Auth(credentials, "s3", store.region).add_auth(request)
    return {name: str(value) for name, value in request.headers.items()}
