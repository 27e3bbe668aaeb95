"""Names of HTTP headers and media types that the API and the Python client share."""

from __future__ import annotations

from typing import Final

ORGANIZATION_HEADER: Final = "X-Pinpoint-Organization"
"""Name of an organization, sent with the operator's key."""

JSON_TYPE: Final = "application/json"
GEOJSON_TYPE: Final = "application/geo+json"
"""RFC 7946, section 12."""
