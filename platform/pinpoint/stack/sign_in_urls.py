"""Sign-in URLs with a one-time token that a browser on this machine exchanges for a session.

The token is in the fragment of the URL, which browsers send to no server and no proxy logs. The
web page takes it out of the address bar and sends it in a header.

A token is a file below the home, named by the token's hash. Use deletes the file, so the token
works only once, across all processes, and only with the stack of this home.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from pathlib import Path
from typing import Final

from pinpoint.settings import Settings
from pinpoint.stack.paths import StackPaths

SIGN_IN_PATH: Final = "/sign-in"
TOKEN_TTL_S: Final = 600.0
"""Lifetime of a token, seconds: long enough to copy it from a terminal."""
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")


def make_sign_in_url(paths: StackPaths, api_url: str, *, lasts_s: float = TOKEN_TTL_S) -> str:
    """Make a URL that signs in one browser on this machine, once.

    Args:
        paths: Paths of the stack.
        api_url: Base URL of its API as seen from this machine, without a trailing slash.
        lasts_s: Lifetime of the token, seconds.
    """
    folder = _token_folder(paths)
    folder.mkdir(mode=0o700, exist_ok=True)
    _remove_expired(folder)
    token = secrets.token_urlsafe(32)
    handle = os.open(folder / _token_file_name(token), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(str(time.time() + lasts_s))
    return f"{api_url}/#sign-in={token}"


def use_token(home: Path, token: str) -> bool:
    """Consume a token; return whether it belongs to this home, is unused and not expired."""
    if not _TOKEN.fullmatch(token):
        return False
    path = _token_folder(StackPaths(home)) / _token_file_name(token)
    try:
        expires_at = float(path.read_text(encoding="ascii"))
        path.unlink()
    except (FileNotFoundError, ValueError):
        return False
    return time.time() < expires_at


def keyless_warning(settings: Settings) -> str | None:
    """Warning for the operator if the API serves loopback without a key; else None."""
    if not settings.api.allow_keyless:
        return None
    return (
        "PINPOINT_API_ALLOW_KEYLESS is set: while there are no keys, every program and user on "
        "this machine may do everything, and so may every client of a proxy on it"
    )


def _token_folder(paths: StackPaths) -> Path:
    return paths.home / "sign-in"


def _token_file_name(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _remove_expired(folder: Path) -> None:
    for path in folder.iterdir():
        try:
            if float(path.read_text(encoding="ascii")) < time.time():
                path.unlink()
        except (FileNotFoundError, ValueError):
            continue  # used, or not completely written
