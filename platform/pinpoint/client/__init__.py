"""The Python door: a synchronous client of a running Pinpoint, over HTTP.

    from pinpoint import connect
    p = connect()
    p.locate("photo.jpg")

Results are the API's JSON as dictionaries; errors are those of `pinpoint.errors`.
"""

from __future__ import annotations

from pinpoint.client.client import Client

__all__ = ["Client"]
