"""What `up` wrote down in the home: where the API is, what was started, and the operator's key."""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from pinpoint.errors import StackError
from pinpoint.stack.places import StackPlaces

_LOCK_WAIT_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class StackState:
    """The content of `stack.json`.

    Args:
        api_host: Address the API listens on.
        api_port: Port the API listens on; kept from one `up` to the next.
        fingerprint: Hash of the settings and the code the stack runs with.
        started_at: When supervisord was started, ISO 8601 in UTC; empty while it is down.
        supervisor_pid: Its process id, 0 while it is down.
        pids: Process id of each program when `up` was done.
        pgdata: Data directory of the embedded PostgreSQL; empty with another database.
        versions: Of the programs that were started.
        external: Services that are not embedded: `database`, `broker`, `index`.
        settings: The settings it runs with, by variable; secrets as keyed hashes.
        code: Hash of the code and the Python it runs with.
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


def read_state(paths: StackPlaces) -> StackState | None:
    """The last `up`'s record, or None if there never was one or it cannot be read."""
    try:
        loaded = json.loads(paths.state_file.read_text(encoding="utf-8"))
        # A field with a default is missing in the file of an older version.
        present = [
            state_field
            for state_field in fields(StackState)
            if state_field.name in loaded or _is_required(state_field)
        ]
        return StackState(**{state_field.name: loaded[state_field.name] for state_field in present})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # Everything in it can be worked out again, so a damaged file is as good as none.
        return None


def _is_required(state_field: Field[Any]) -> bool:
    return state_field.default is MISSING and state_field.default_factory is MISSING


def write_state(paths: StackPlaces, state: StackState) -> None:
    """Replace the record in one step."""
    text = json.dumps({**asdict(state), "api_url": state.api_url}, indent=2, sort_keys=True)
    draft = paths.state_file.with_suffix(".new")
    draft.write_text(text + "\n", encoding="utf-8")
    draft.replace(paths.state_file)


def operator_key(paths: StackPlaces) -> str:
    """The secret of this stack's operator, made on first use; only its user can read it."""
    path = paths.operator_key_file
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    key = secrets.token_urlsafe(32)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(key + "\n")
    return key


def proof(key: str, nonce: str, port: int) -> str:
    """What only an API that knows the operator's key can answer to `nonce`.

    The port is in it, so that whoever listens in its place cannot pass the question on to it.
    """
    message = f"pinpoint-live\n{port}\n{nonce}"
    return hmac.new(key.encode(), message.encode(), "sha256").hexdigest()


@contextmanager
def stack_lock(path: Path) -> Iterator[None]:
    """Hold the home's lock; the kernel gives it back when the holder dies.

    Raises:
        StackError: Another `up` or `down` holds it for too long.
    """
    with path.open("a") as file:
        until = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise StackError(f"another `up` or `down` holds {path}") from None
                time.sleep(0.1)
        yield


def choose_port(host: str, requested: int, last_port: int | None) -> int:
    """The port to listen on: the one asked for, else the last one, else a free one.

    Raises:
        StackError: The port that was asked for is taken.
    """
    if requested:
        if not _is_port_free(host, requested):
            raise StackError(
                f"{host}:{requested} is in use or not ours to listen on; set PINPOINT_API_PORT "
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
