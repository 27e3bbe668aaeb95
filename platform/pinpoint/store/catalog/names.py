"""Rules for names of sources and organizations."""

from __future__ import annotations

from typing import Final

from pinpoint.errors import InvalidRequestError

ERASED_PREFIX: Final = "erased:"
"""Prefix of the name of a source or organization under deletion, so that its name is free again."""


def check_name(name: str, kind: str) -> None:
    """Reject names that are ambiguous or cannot be part of a URL path.

    Args:
        name: The name.
        kind: Kind of the named object for the message: `source` or `organization`.

    Raises:
        InvalidRequestError: The name is empty, contains a slash, or begins with the prefix of
            erased names.
    """
    if not name.strip():
        raise InvalidRequestError(f"the {kind} needs a name")
    if "/" in name or "\\" in name or name.strip() in (".", ".."):
        raise InvalidRequestError(
            f"the name of the {kind} must not contain a slash and not be . or .."
        )
    if name.casefold().startswith(ERASED_PREFIX):
        raise InvalidRequestError(
            f"the name of the {kind} must not begin with {ERASED_PREFIX!r}: the prefix is reserved"
        )
