"""In-memory sessions of browsers that signed in on this machine; a restart ends them."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

SESSION_PREFIX: Final = "ps_"
SESSION_LIFETIME_S: Final = 12 * 3600.0
MAX_SESSIONS: Final = 64
"""Maximum number of sessions; a new one replaces the oldest."""


@dataclass(frozen=True, slots=True)
class BrowserSession:
    """A new session, which is returned only once.

    Args:
        secret: Bearer token for the browser.
        expires_at: End of the session.
    """

    secret: str
    expires_at: datetime


class Sessions:
    """The sessions of this process by the hash of their secret. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._expires_at_s: dict[bytes, float] = {}

    def open(self) -> BrowserSession:
        """Start a session with the operator's rights on this machine."""
        secret = SESSION_PREFIX + secrets.token_urlsafe(32)
        expires_at_s = time.time() + SESSION_LIFETIME_S
        with self._lock:
            while len(self._expires_at_s) >= MAX_SESSIONS:
                self._expires_at_s.pop(next(iter(self._expires_at_s)))
            self._expires_at_s[_hash_secret(secret)] = expires_at_s
        return BrowserSession(secret=secret, expires_at=datetime.fromtimestamp(expires_at_s, UTC))

    def is_valid(self, secret: str) -> bool:
        """Whether a secret belongs to an unexpired session."""
        if not secret.startswith(SESSION_PREFIX):
            return False
        with self._lock:
            return self._expires_at_s.get(_hash_secret(secret), 0.0) > time.time()


def _hash_secret(secret: str) -> bytes:
    # A lookup by hash prevents timing attacks on the secret.
    return hashlib.sha256(secret.encode()).digest()
