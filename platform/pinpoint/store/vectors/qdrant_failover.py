"""HTTP transport that sends a request to another node if a node accepts no connection."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import httpx

from pinpoint import logs

_log = logs.get_logger(__name__)


class FailoverTransport(httpx.BaseTransport):
    """Sends requests to one of several nodes of a cluster, and remembers the one that answered.

    Only a request that no node has received is sent again: the connection was refused or not made
    in time. An answer with an error, or a connection that breaks later, is returned as it is.

    Args:
        urls: Addresses of the nodes; requests are made for the first one.
        transport: Transport of single requests; None creates one.
    """

    def __init__(self, urls: Sequence[str], transport: httpx.BaseTransport | None = None) -> None:
        self._urls = [httpx.URL(url) for url in urls]
        self._transport = transport or httpx.HTTPTransport()
        self._lock = threading.Lock()
        self._healthy = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request to the first node that accepts a connection.

        Raises:
            httpx.ConnectError: No node does.
            httpx.ConnectTimeout: No node does in time.
        """
        start = self._healthy
        for attempt in range(len(self._urls)):
            number = (start + attempt) % len(self._urls)
            try:
                response = self._transport.handle_request(_readdress(request, self._urls[number]))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if attempt + 1 == len(self._urls):
                    raise
                continue
            if number != start:
                with self._lock:
                    self._healthy = number
                _log.warning("qdrant node does not answer; another one is used", node=number)
            return response
        raise httpx.ConnectError("there is no node", request=request)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()


def _readdress(request: httpx.Request, node: httpx.URL) -> httpx.Request:
    """The request for another node; a body can be read again, because it is in memory."""
    url = request.url.copy_with(scheme=node.scheme, host=node.host, port=node.port)
    headers = httpx.Headers(request.headers)
    headers["Host"] = url.netloc.decode("ascii")
    return httpx.Request(
        request.method,
        url,
        headers=headers,
        stream=request.stream,
        extensions=request.extensions,
    )
