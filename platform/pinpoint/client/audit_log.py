"""Method of the client for the audit log."""

from __future__ import annotations

from pinpoint.client.queries import Id
from pinpoint.client.transport import HttpTransport, Json


class AuditLog:
    """Part of the client: the audit log of the key's organization."""

    _transport: HttpTransport

    def audit_rows(
        self,
        *,
        operation: str | None = None,
        key_id: Id | None = None,
        datetime: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Json:
        """List a page of the audit log, newest first: `{"rows": [...], "next": …}`.

        Args:
            operation: Only rows of this operation.
            key_id: Only rows of this API key.
            datetime: Only rows of this time interval: `start/end`, `start/..` or `../end`.
            limit: Maximum number of rows of the page.
            cursor: Value of `cursor` in the link `next` of the previous page.
        """
        query = {
            "operation": operation,
            "key_id": None if key_id is None else str(key_id),
            "datetime": datetime,
            "limit": limit,
            "cursor": cursor,
        }
        page: Json = self._transport.call("GET", "/v1/audit", query=query)
        return page
