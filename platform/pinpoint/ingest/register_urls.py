"""Makes items of a batch from URLs of files and from the keys of buckets."""

from __future__ import annotations

from typing import Final

from pinpoint import logs
from pinpoint.errors import RemoteFileError, UnavailableError
from pinpoint.media.checks import rejected
from pinpoint.media.files import is_photo_name
from pinpoint.ports import BucketListings, RemoteFileSource
from pinpoint.records import BucketListing, MetadataOverride, NewItem
from pinpoint.records.limits import UnstorableError, check_item

MAX_LISTING_ATTEMPTS: Final = 20
"""Attempts to read a page of a bucket before the listing is given up."""
_PAGES_PER_TASK: Final = 10
"""Pages that one task adds, so that ingest and listing alternate."""
_MAX_SHOWN: Final = 500

_log = logs.get_logger(__name__)


def make_url_item(
    url: str,
    remote_files: RemoteFileSource,
    external_id: str | None = None,
    metadata_override: MetadataOverride | None = None,
) -> NewItem:
    """Make an item from the URL of a file; a URL that is refused gives a rejected item.

    Args:
        url: `https://…`, `s3://bucket/key` or `gs://bucket/key`.
        remote_files: Checks the URL; no request is sent.
        external_id: Id in the source; default: the URL.
        metadata_override: Known metadata of the file.
    """
    identity = external_id or url
    try:
        locator = remote_files.check_locator(url)
        check_item(identity, locator, locator, metadata_override)
    except RemoteFileError as error:
        return _reject_url(identity, url, error.reason, error.message)
    except UnstorableError as error:
        return _reject_url(identity, url, error.reason, error.detail)
    return NewItem(
        external_id=external_id or locator,
        file=locator,
        uri=locator,
        metadata_override=metadata_override,
    )


def add_bucket_pages(
    listing: BucketListing, listings: BucketListings, remote_files: RemoteFileSource
) -> int:
    """Add pages of a bucket to a batch, from the stored position; returns the number of items.

    Keys that are no image names are skipped. An interrupted call continues after the last page:
    items and position are stored in one transaction.

    Args:
        listing: The listing.
        listings: Stores items and position.
        remote_files: Lists the keys.

    Raises:
        UnavailableError: The store does not answer; another call continues.
    """
    if listing.attempts > MAX_LISTING_ATTEMPTS:
        detail = "the listing failed too often; the workers' log contains the errors"
        listings.fail(listing, rejected(listing.url, "url_unavailable", detail))
        return 0
    num_items = 0
    bucket = "/".join(listing.url.split("/")[:3])
    after_key = listing.after_key
    for number in range(1, _PAGES_PER_TASK + 1):
        try:
            page = remote_files.list_keys(listing.url, after_key)
        except RemoteFileError as error:
            _handle_listing_error(listing, listings, error)
            return num_items
        items = [
            make_url_item(f"{bucket}/{key}", remote_files)
            for key in page.keys
            if is_photo_name(key)
        ]
        is_last = number == _PAGES_PER_TASK
        added = listings.add_page(listing, after_key, items, page.last_key, send_next=is_last)
        if not added or page.last_key is None:
            break
        num_items, after_key = num_items + len(items), page.last_key
    return num_items


def _handle_listing_error(
    listing: BucketListing, listings: BucketListings, error: RemoteFileError
) -> None:
    """Give up a listing after a permanent error or too many attempts.

    Raises:
        UnavailableError: Another attempt may succeed.
    """
    is_transient = error.reason in ("url_timeout", "url_unavailable")
    if is_transient and listing.attempts < MAX_LISTING_ATTEMPTS:
        raise UnavailableError(error.message, reason=error.reason) from error
    _log.warning("bucket not listed", url=listing.url, reason=error.reason)
    listings.fail(listing, rejected(listing.url, error.reason, error.message))


def _reject_url(identity: str, url: str, reason: str, detail: str) -> NewItem:
    rejection = rejected(url[:_MAX_SHOWN], reason, detail)
    short_id = rejected(identity[:_MAX_SHOWN], reason, "").file
    return NewItem(external_id=short_id, file=rejection.file, uri="", rejected=rejection)
