"""Answers of uploads."""

from __future__ import annotations

from pinpoint_client.answers import Batch
from pinpoint_client.uploads import RejectedUpload


class IngestedBatch(Batch):
    """A batch after an upload."""

    not_sent: list[RejectedUpload]
    """Files that were not sent, with their errors."""
    repeated: int
    """Number of requests that were repeated because the server was unavailable."""
