"""Typed Python client of the Pinpoint API.

from pinpoint_client import connect

with connect("https://pinpoint.example", key="…") as client:
    answer = client.locate("photo.jpg")
    print(answer.point.lat, answer.point.lon)
"""

from __future__ import annotations

from pinpoint_client.async_client import AsyncClient
from pinpoint_client.client import Client
from pinpoint_client.errors import PinpointError
from pinpoint_client.local_stack import read_local_stack
from pinpoint_client.transport import AsyncHttpTransport, HttpTransport, complete_server
from pinpoint_client.uploads import Upload

__all__ = ["AsyncClient", "Client", "PinpointError", "Upload", "connect", "connect_async"]


def connect(
    server: str | None = None, key: str | None = None, *, organization: str | None = None
) -> Client:
    """Open a client.

    Args:
        server: Base URL of an API; `HOST:PORT` is completed to `http://HOST:PORT`. Without it, the
            stack of this machine is used: that of `PINPOINT_HOME`, or of `.pinpoint` in the current
            folder or the nearest one above it.
        key: API key; not needed for the stack of this machine, whose operator's key is used if
            this user can read it.
        organization: Organization that the operator acts for; only with the operator's key.

    Raises:
        BadRequestError: `server` is not the address of a server.
        StackError: No server was given and no stack is running.
    """
    if server is not None:
        return Client(HttpTransport(complete_server(server), key, organization, embedded=False))
    if key is None:
        return Client(HttpTransport.to_embedded(organization))
    stack = read_local_stack()
    return Client(HttpTransport(stack.url, key, organization, embedded=True, home=stack.home))


def connect_async(
    server: str | None = None, key: str | None = None, *, organization: str | None = None
) -> AsyncClient:
    """Open an asynchronous client; see `connect`. Nothing is sent before the first call.

    Raises:
        BadRequestError: `server` is not the address of a server.
        StackError: No server was given and no stack was started.
    """
    if server is not None:
        transport = AsyncHttpTransport(complete_server(server), key, organization)
    elif key is None:
        stack = read_local_stack()
        transport = AsyncHttpTransport(stack.url, None, organization, stack=stack)
    else:
        transport = AsyncHttpTransport(read_local_stack().url, key, organization)
    return AsyncClient(transport)
