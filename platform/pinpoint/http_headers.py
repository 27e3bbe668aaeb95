"""Names of HTTP headers that the API reads and the Python client sends."""

from __future__ import annotations

from typing import Final

ORGANIZATION_HEADER: Final = "X-Pinpoint-Organization"
"""Name of an organization, sent with the operator's key."""
API_KEY_HEADER: Final = "X-API-Key"
"""Header with an API key, for clients that cannot send `Authorization: Bearer`."""
IDEMPOTENCY_KEY_HEADER: Final = "Idempotency-Key"
"""Names a creating request, so that its repetition creates nothing again."""
ROWS_HEADER: Final = "X-Pinpoint-Rows"
"""Number of rows of an export."""
