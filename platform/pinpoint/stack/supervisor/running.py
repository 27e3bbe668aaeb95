"""Error for a missing stack, and the check that a stack is running."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

from pinpoint import homes
from pinpoint.errors import StackError
from pinpoint.settings import Settings
from pinpoint.stack.paths import POSTGRES_PORT, StackPaths

STACK_NOT_RUNNING: Final = "stack_not_running"
_ADVICE: Final = (
    "`pinpoint up` starts it; for another home set PINPOINT_HOME or give --home before the "
    "command, for an API elsewhere give --server URL"
)


def missing_stack(home: Path) -> StackError:
    """Error of all commands that need a running stack; it names the home and how it was chosen.

    Args:
        home: Home of the command.
    """
    if _belongs_to_another(home):
        return StackError(
            f"{home} belongs to another user; set PINPOINT_HOME to a folder of yours, or ask "
            "that user's stack with --server URL --key KEY"
        )
    return StackError(
        f"no stack is running in {home}{_describe_home(home)}: {_ADVICE}", reason=STACK_NOT_RUNNING
    )


def check_running(settings: Settings) -> None:
    """Raise `missing_stack` if the embedded stack is needed and does not run.

    With an external database, commands may work without a stack on this machine.

    Raises:
        StackError: No stack runs in the home.
    """
    if settings.services.database_url is None and not is_running(settings.services.home):
        raise missing_stack(settings.services.home)


def is_running(home: Path) -> bool:
    """Whether supervisor or PostgreSQL of this home accept connections."""
    paths = StackPaths(home)
    server = paths.postgres_socket_dir / f".s.PGSQL.{POSTGRES_PORT}"
    return accepts_connections(paths.supervisor_socket) or accepts_connections(server)


def accepts_connections(path: Path) -> bool:
    """Whether a Unix socket accepts connections."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(path))
        except OSError:
            return False
    return True


def _describe_home(home: Path) -> str:
    """How the home was chosen, and its state."""
    if homes.is_home(home):
        return " (it is down)"
    if "PINPOINT_HOME" in os.environ:
        return " (the folder holds no stack yet)" if home.is_dir() else " (no such folder yet)"
    foreign = homes.list_foreign_homes()
    suffix = f"; {foreign[0]} belongs to another user" if foreign else ""
    return f" (looked for {homes.HOME_NAME} here and in the folders above{suffix})"


def _belongs_to_another(home: Path) -> bool:
    try:
        return home.is_dir() and not os.access(home, os.R_OK | os.W_OK | os.X_OK)
    except OSError:
        return True
