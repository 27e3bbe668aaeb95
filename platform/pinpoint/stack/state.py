"""Records of `up` in the home: API address, started processes, and the operator's key."""

from __future__ import annotations

import hmac
import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from pinpoint.atomic_files import write_atomic
from pinpoint.errors import StackError
from pinpoint.file_locks import try_lock
from pinpoint.stack.paths import StackPaths

_LOCK_WAIT_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class StackState:
    """The content of `stack.json`.

    Args:
        api_host: Address the API listens on.
        api_port: Port the API listens on; the next `up` reuses it.
        fingerprint: Hash of the settings and the code the stack runs with.
        started_at: Start time of supervisord, ISO 8601 in UTC; empty while it is down.
        supervisor_pid: Process id of supervisord, 0 while it is down.
        pids: Process id of each program at the end of `up`.
        pgdata: Data directory of the embedded PostgreSQL; empty with an external database.
        versions: Versions of the started programs.
        external: Services that are not embedded: `database`, `broker`, `index`.
        settings: Settings of the running stack, by variable; secrets as keyed hashes.
        code: Hash of the code and the Python of the running stack.
    """

    api_host: str
    api_port: int
    fingerprint: str
    started_at: str
    supervisor_pid: int
    pids: dict[str, int]
    pgdata: str
    versions: dict[str, str]
    external: list[str]
    settings: dict[str, str] = field(default_factory=dict)
    code: str = ""

    @property
    def api_url(self) -> str:
        """Base URL of the API as seen from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.api_host, self.api_host)
        return (
            f"http://[{host}]:{self.api_port}" if ":" in host else f"http://{host}:{self.api_port}"
        )


def read_state(paths: StackPaths) -> StackState | None:
    """Record of the last `up`, or None if it is missing or unreadable."""
    try:
        loaded = json.loads(paths.state_file.read_text(encoding="utf-8"))
        # The file of an older version may lack fields with a default.
        present = [
            state_field
            for state_field in fields(StackState)
            if state_field.name in loaded or _is_required(state_field)
        ]
        return StackState(**{state_field.name: loaded[state_field.name] for state_field in present})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # Its content can be determined again, so a damaged file counts as missing.
        return None


def _is_required(state_field: Field[Any]) -> bool:
    return state_field.default is MISSING and state_field.default_factory is MISSING


def write_state(paths: StackPaths, state: StackState) -> None:
    """Replace the record atomically."""
    text = json.dumps({**asdict(state), "api_url": state.api_url}, indent=2, sort_keys=True)
    # Not durable: it describes processes, which do not survive a power failure.
    write_atomic(paths.state_file, text + "\n", durable=False)


def load_operator_key(paths: StackPaths) -> str:
    """Secret key of this stack's operator, created on first use and readable only by its user."""
    path = paths.operator_key_file
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    key = secrets.token_urlsafe(32)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(key + "\n")
    return key


def compute_proof(key: str, nonce: str, port: int) -> str:
    """Response to `nonce` that only an API with the operator's key can compute.

    It covers the port, so that another process on that port cannot relay the challenge to the API.
    """
    message = f"pinpoint-live\n{port}\n{nonce}"
    return hmac.new(key.encode(), message.encode(), "sha256").hexdigest()


@contextmanager
def stack_lock(path: Path) -> Iterator[None]:
    """Hold the lock of the home; the kernel releases it when the holder ends.

    Raises:
        StackError: Another `up` or `down` holds it for too long.
    """
    with try_lock(path, timeout_s=_LOCK_WAIT_S) as is_locked:
        if not is_locked:
            raise StackError(f"another `up` or `down` holds {path}")
        yield


def choose_port(host: str, requested: int, last_port: int | None) -> int:
    """Port to listen on: the requested one, else the last one if free, else any free one.

    Raises:
        StackError: The requested port is in use.
    """
    if requested:
        if not _is_port_free(host, requested):
            raise StackError(
                f"{host}:{requested} is in use or not permitted; set PINPOINT_API_PORT "
                "to another port, or to 0 for a free one"
            )
        return requested
    if last_port and _is_port_free(host, last_port):
        return last_port
    with _open_listener(host, 0) as listener:
        return int(listener.getsockname()[1])


def _is_port_free(host: str, port: int) -> bool:
    try:
        _open_listener(host, port).close()
    except OSError:
        return False
    return True


def _open_listener(host: str, port: int) -> socket.socket:
    family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1)
    except OSError:
        listener.close()
        raise
    return listener
