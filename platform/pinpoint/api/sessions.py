"""Sessions of browsers that signed in on this machine: kept in memory, ended by a restart."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

PREFIX: Final = "ps_"
LASTS_S: Final = 12 * 3600.0
MOST: Final = 64
"""Sessions at once; the oldest ends where there are more."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session as it is handed out, once.

    Args:
        secret: What the browser sends as a bearer token.
        expires_at: When it ends.
    """

    secret: str
    expires_at: datetime


class Sessions:
    """The sessions of this process, by the hash of their secret. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._expires_at_s: dict[bytes, float] = {}

    def open(self) -> Session:
        """Begin a session with the operator's rights on this machine."""
        secret = PREFIX + secrets.token_urlsafe(32)
        expires_at_s = time.time() + LASTS_S
        with self._lock:
            while len(self._expires_at_s) >= MOST:
                self._expires_at_s.pop(next(iter(self._expires_at_s)))
            self._expires_at_s[_hash_secret(secret)] = expires_at_s
        return Session(secret=secret, expires_at=datetime.fromtimestamp(expires_at_s, UTC))

    def is_valid(self, secret: str) -> bool:
        """Whether a secret is that of a session that has not ended."""
        if not secret.startswith(PREFIX):
            return False
        with self._lock:
            return self._expires_at_s.get(_hash_secret(secret), 0.0) > time.time()


def _hash_secret(secret: str) -> bytes:
    # Looked up by hash, so that how long a look-up takes says nothing of the secret.
    return hashlib.sha256(secret.encode()).digest()
