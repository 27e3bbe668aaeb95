"""Synchronous Python client for the HTTP API of a running Pinpoint.

    from pinpoint import connect
    p = connect()
    p.locate("photo.jpg")

Results are the API's JSON as dictionaries; methods raise the errors of `pinpoint.errors`.
"""

from __future__ import annotations

from pinpoint.client.client import Client

__all__ = ["Client"]
