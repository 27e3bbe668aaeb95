"""Pinpoint: where was this photo taken, and what is the evidence?"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pinpoint_client import Client

__all__ = ["__version__", "connect"]
__version__ = "0.1.0"


def connect(server: str | None = None, key: str | None = None) -> Client:
    """Open a client of a running Pinpoint.

    Args:
        server: Base URL of an API; without it, the embedded stack is used: that of `PINPOINT_HOME`,
            or of `.pinpoint` in the current folder or the nearest one above it.
        key: API key; not needed for the embedded stack of this machine.

    Raises:
        StackError: No server was given and no embedded stack is running.
    """
    # Imported here so that `import pinpoint` stays light and opens nothing.
    import pinpoint_client

    return pinpoint_client.connect(server, key)
