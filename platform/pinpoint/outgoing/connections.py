"""Connections to verified addresses under one time limit.

httpcore asks this backend for each connection with the name of the host. The name is resolved once,
every address is checked, and the connection goes to one of them. Nothing resolves the name again,
so an answer of the DNS that changes between check and connection has no effect. TLS still
verifies the certificate of the name.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Final

import httpcore

from pinpoint.errors import RemoteFileError
from pinpoint.outgoing.addresses import IpAddress, IpNetwork, is_allowed_address
from pinpoint.outgoing.name_resolution import RESOLVE_TIMEOUT_S, Resolve, resolve_in_time
from pinpoint.outgoing.urls import URL_REFUSED, WebUrl

URL_TIMEOUT: Final = "url_timeout"
URL_UNAVAILABLE: Final = "url_unavailable"
TRANSFER_GRACE_S: Final = 10.0
"""Seconds before the minimum rate applies."""
MIN_BYTES_PER_S: Final = 1_000
_MAX_READ_PAUSE_S: Final = 15.0
"""Longest wait for the next byte."""


@dataclass(slots=True)
class TransferBudget:
    """Time limit and minimum rate of one request with its redirects and its body."""

    timeout_s: float
    started_at: float = field(default_factory=time.monotonic)
    num_bytes: int = 0

    def limit_wait_s(self) -> float:
        """Longest wait for the next step, seconds.

        Raises:
            RemoteFileError: `url_timeout`: the time is used up, or the bytes arrive too slowly.
        """
        elapsed_s = time.monotonic() - self.started_at
        if elapsed_s >= self.timeout_s:
            raise RemoteFileError(
                f"the server did not finish within {self.timeout_s:g} s", reason=URL_TIMEOUT
            )
        if elapsed_s > TRANSFER_GRACE_S and self.num_bytes < elapsed_s * MIN_BYTES_PER_S:
            raise RemoteFileError(
                f"the server sends less than {MIN_BYTES_PER_S} bytes per second",
                reason=URL_TIMEOUT,
            )
        return min(self.timeout_s - elapsed_s, _MAX_READ_PAUSE_S)


class BudgetedStream(httpcore.NetworkStream):
    """A connection on which every step is limited by the budget."""

    def __init__(self, stream: httpcore.NetworkStream, budget: TransferBudget) -> None:
        self._stream, self._budget = stream, budget

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read up to `max_bytes`."""
        data = self._stream.read(max_bytes, self._budget.limit_wait_s())
        self._budget.num_bytes += len(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all bytes."""
        self._stream.write(buffer, self._budget.limit_wait_s())

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Start TLS with the certificate of `server_hostname`."""
        stream = self._stream.start_tls(ssl_context, server_hostname, self._budget.limit_wait_s())
        return BudgetedStream(stream, self._budget)

    def get_extra_info(self, info: str) -> Any:
        """Information of the socket."""
        return self._stream.get_extra_info(info)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()


class VerifiedBackend(httpcore.NetworkBackend):
    """Opens connections of one URL, to verified addresses only.

    Args:
        url: URL whose host may be connected to.
        resolve: Resolves names.
        allowed_networks: Networks that are allowed although they are not public.
        budget: Limits of the request.
    """

    def __init__(
        self,
        url: WebUrl,
        resolve: Resolve,
        allowed_networks: Sequence[IpNetwork],
        budget: TransferBudget,
    ) -> None:
        self._url, self._resolve = url, resolve
        self._allowed_networks, self._budget = allowed_networks, budget
        self._system = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first verified address that answers.

        Raises:
            RemoteFileError: `url_refused` if any address of the name is not public, `url_timeout`
                if the name is not resolved in time, `url_unavailable` if no address answers.
        """
        if (host, port) != (self._url.host, self._url.port):
            raise RemoteFileError(f"{host}:{port} is another server", reason=URL_REFUSED)
        last_error: Exception | None = None
        for address in self._find_addresses():
            try:
                stream = self._system.connect_tcp(
                    str(address), port, timeout=self._budget.limit_wait_s()
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last_error = error
            else:
                return BudgetedStream(stream, self._budget)
        raise RemoteFileError(
            f"{host} does not accept connections", reason=URL_UNAVAILABLE
        ) from last_error

    def _find_addresses(self) -> list[IpAddress]:
        literal = self._url.address
        if literal is not None:
            addresses: list[IpAddress] = [literal]
        else:
            try:
                answers = resolve_in_time(
                    self._resolve,
                    self._url.host,
                    self._url.port,
                    min(RESOLVE_TIMEOUT_S, self._budget.limit_wait_s()),
                )
                addresses = [ip_address(answer) for answer in answers]
            except TimeoutError as error:
                raise RemoteFileError(
                    f"the name {self._url.host} was not resolved in time", reason=URL_TIMEOUT
                ) from error
            except (OSError, UnicodeError, ValueError) as error:
                raise RemoteFileError(
                    f"the name {self._url.host} cannot be resolved", reason=URL_UNAVAILABLE
                ) from error
        # One address that is not public makes all answers of this name suspicious.
        if not all(is_allowed_address(address, self._allowed_networks) for address in addresses):
            raise RemoteFileError(
                f"{self._url.host} has an address that is not public", reason=URL_REFUSED
            )
        if not addresses:
            raise RemoteFileError(f"{self._url.host} has no address", reason=URL_UNAVAILABLE)
        return addresses
