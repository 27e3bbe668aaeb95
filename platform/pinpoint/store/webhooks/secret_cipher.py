"""Encrypts the secrets of webhooks with a key of the home.

A webhook needs its secret for each delivery, so a hash is not enough. A copy of the database alone
(a dump, a replica) does not reveal the secrets: the key is a file (0600) in the home.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from pinpoint.errors import ConfigurationError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


class SecretCipher:
    """Encrypts and decrypts texts (AES-128-CBC with HMAC-SHA256, Fernet).

    Args:
        key_file: File of the key; created at the first encryption.
    """

    def __init__(self, key_file: Path) -> None:
        self._key_file = key_file

    def encrypt(self, text: str) -> bytes:
        """Encrypt a text."""
        if not self._key_file.exists():
            self._create_key()
        return self._open_key().encrypt(text.encode())

    def decrypt(self, data: bytes) -> str:
        """Decrypt a text.

        Raises:
            ConfigurationError: The key is missing, readable for others, or another one.
        """
        from cryptography.fernet import InvalidToken

        try:
            return self._open_key().decrypt(data).decode()
        except InvalidToken as error:
            raise ConfigurationError(
                f"the secrets of webhooks were encrypted with another key than {self._key_file}; "
                "restore that file, or rotate the secrets"
            ) from error

    def _open_key(self) -> Fernet:
        # Imported here, because most commands open no secret.
        from cryptography.fernet import Fernet

        try:
            if self._key_file.stat().st_mode & 0o077:
                raise ConfigurationError(f"others can read {self._key_file}; chmod 600")
            return Fernet(self._key_file.read_bytes())
        except (FileNotFoundError, ValueError) as error:
            raise ConfigurationError(
                f"{self._key_file} has no key for the secrets of webhooks; restore the file, or "
                "delete the webhooks and create them again"
            ) from error

    def _create_key(self) -> None:
        """Create the key; of several processes one creates it, and the others read it."""
        from cryptography.fernet import Fernet

        self._key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = self._key_file.with_name(f".{self._key_file.name}.{secrets.token_hex(8)}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(Fernet.generate_key())
                file.flush()
                os.fsync(file.fileno())
            # A link fails if the file exists, so no key that is in use is replaced.
            os.link(partial, self._key_file)
        except FileExistsError:
            pass
        finally:
            partial.unlink()
