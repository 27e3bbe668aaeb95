"""`python -m pinpoint.api`: serve the API with uvicorn."""

from __future__ import annotations

import resource
import sys

import uvicorn

from pinpoint import logs
from pinpoint.api.app import create_app
from pinpoint.api.connections import make_limited_protocol
from pinpoint.errors import PinpointError
from pinpoint.settings import Settings
from pinpoint.settings_file import load_settings
from pinpoint.stack.paths import StackPaths
from pinpoint.stack.state import read_state


def read_recorded_port(settings: Settings) -> int:
    """The API port that the embedded stack has recorded, or 0 (any free port) without a stack."""
    state = read_state(StackPaths(settings.services.home))
    return 0 if state is None else state.api_port


def _raise_file_limit() -> None:
    """Raise the file limit to the system's maximum; the usual 1,024 connections are too few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> int:
    """Serve until a stop signal arrives; return the exit code."""
    try:
        settings = load_settings()
    except PinpointError as error:
        sys.stderr.write(f"pinpoint-api: {error.message}\n")
        return 78
    logs.configure(settings.log)
    _raise_file_limit()
    uvicorn.run(
        create_app(),
        host=settings.api.host,
        port=settings.api.port or read_recorded_port(settings),
        # A proxy header must not make a remote request look like a local one.
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=10,
        http=make_limited_protocol(settings.api.header_timeout_s),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
