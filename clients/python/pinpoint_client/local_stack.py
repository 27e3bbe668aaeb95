"""Finds the stack of this machine and proves that an API is that stack.

The operator's key is sent only to an API that answers a challenge with the key, bound to the port:
another process on that port can neither receive the key nor relay the challenge.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pinpoint_client.errors import StackError

HOME_VARIABLE: Final = "PINPOINT_HOME"
HOME_NAME: Final = ".pinpoint"
_STATE_FILE: Final = "stack.json"
_KEY_FILE: Final = "operator.key"
_HOME_ENTRIES: Final = ("settings.toml", _STATE_FILE, "stack.lock", _KEY_FILE, "bundles")
"""A folder named `.pinpoint` is a home if it contains one of these."""


@dataclass(frozen=True, slots=True)
class LocalStack:
    """The stack of a home.

    Args:
        home: Its folder.
        url: Base URL of its API.
        port: Port of its API.
        key: The operator's key; None if this user cannot read it.
    """

    home: Path
    url: str
    port: int
    key: str | None


def read_local_stack(home: Path | None = None) -> LocalStack:
    """Read the address and the key of the stack of a home.

    Args:
        home: Home of the stack; default: `PINPOINT_HOME`, or `.pinpoint` in the current folder or
            the nearest one above it.

    Raises:
        StackError: No stack was started in this home, or it belongs to another user.
    """
    variable = os.environ.get(HOME_VARIABLE)
    home = home or (Path(variable).expanduser().absolute() if variable else find_home(Path.cwd()))
    try:
        state = json.loads((home / _STATE_FILE).read_text(encoding="utf-8"))
        url, port = str(state["api_url"]), int(state["api_port"])
    except PermissionError as error:
        raise StackError(
            f"{home} belongs to another user; connect to that user's stack with its address and "
            "an API key"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StackError(
            f"no stack is running in {home}: `pinpoint up` starts it; for another home set "
            f'{HOME_VARIABLE}, for an API elsewhere use connect("https://HOST", key="…")',
            reason="stack_not_running",
        ) from error
    try:
        key = (home / _KEY_FILE).read_text(encoding="ascii").strip() or None
    except OSError:
        key = None
    return LocalStack(home, url, port, key)


def compute_proof(key: str, nonce: str, port: int) -> str:
    """Response to `nonce` that only an API with the operator's key can compute.

    It covers the port, so that another process on that port cannot relay the challenge to the API.
    """
    message = f"pinpoint-live\n{port}\n{nonce}"
    return hmac.new(key.encode(), message.encode(), "sha256").hexdigest()


def is_proven(stack: LocalStack, nonce: str, answer: object) -> bool:
    """Whether an answer of `/health/live` proves that the API knows the operator's key."""
    proof = answer.get("proof") if isinstance(answer, dict) else None
    expected = compute_proof(stack.key or "", nonce, stack.port)
    return stack.key is not None and hmac.compare_digest(str(proof).encode(), expected.encode())


def unproven_error(url: str) -> StackError:
    """Error for a server that is not the stack that its home names."""
    return StackError(
        f"the server at {url} does not prove that it is this stack; nothing was sent to it; "
        "`pinpoint up` starts the stack, also after a change of its files"
    )


def find_home(start: Path) -> Path:
    """Find the home for a program that runs in `start`.

    It is `.pinpoint` in `start` or in the nearest parent folder. A folder of another user is
    skipped, and the search does not leave the file system of `start`.
    """
    for above in _list_parents(start):
        candidate = above / HOME_NAME
        if _is_home(candidate):
            return candidate
    return start / HOME_NAME


def _list_parents(folder: Path) -> Iterator[Path]:
    device = folder.stat().st_dev
    for above in (folder, *folder.parents):
        try:
            if above.stat().st_dev != device:
                return
        except OSError:
            return
        yield above


def _is_home(folder: Path) -> bool:
    try:
        is_home = any((folder / entry).exists() for entry in _HOME_ENTRIES)
        return is_home and folder.stat().st_uid == os.geteuid()
    except OSError:
        return False
