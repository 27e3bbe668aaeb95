"""Port of files that batches name by URL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from pinpoint.records import BucketListing, KeyPage, NewItem, Rejected

REMOTE_SCHEMES = ("http://", "https://", "s3://", "gs://")
"""Prefixes of the URIs of files that are not on this machine."""


class RemoteFileSource(Protocol):
    """Checks, lists and downloads files that users name by URL.

    Every method with a URI raises `RemoteFileError`; its reason is the error code of the file.
    """

    def check_locator(self, uri: str) -> str:
        """Check the URL of a file without a request; returns its normalized form."""
        ...

    def check_prefix(self, uri: str) -> str:
        """Check the URL of a bucket or prefix without a request; returns its normalized form."""
        ...

    def list_keys(self, uri: str, after_key: str | None) -> KeyPage:
        """A page of the keys with a prefix that follow `after_key`, in their order."""
        ...

    def path(self, uri: str) -> str:
        """Path of a local copy, downloaded if there is none."""
        ...

    def discard(self, uri: str) -> None:
        """Delete the local copy, if there is one."""
        ...

    def discard_older_than(self, older_than_s: float) -> int:
        """Delete local copies that are older than this; returns their number."""
        ...


class BucketListings(Protocol):
    """Listings of all organizations, for workers; each call is one transaction."""

    def start(self, listing_id: UUID) -> BucketListing | None:
        """Count an attempt and return the listing; None if it is finished or does not exist."""
        ...

    def add_page(
        self,
        listing: BucketListing,
        after_key: str | None,
        items: Sequence[NewItem],
        last_key: str | None,
        *,
        send_next: bool,
    ) -> bool:
        """Add a page of items to the batch and store the position.

        Args:
            listing: The listing.
            after_key: Position before the page.
            items: Items of the page.
            last_key: Position after the page; None ends the listing.
            send_next: Whether to send a task for the following pages.

        Returns:
            False if another worker has added the page, or the batch does not accept items.
        """
        ...

    def fail(self, listing: BucketListing, rejection: Rejected) -> None:
        """End a listing with an item that states the error."""
        ...

    def unfinished(self, limit: int) -> list[UUID]:
        """Listings that are not finished, oldest first."""
        ...
