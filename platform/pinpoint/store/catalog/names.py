"""Rules for names of sources, organizations and keys."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from pinpoint.errors import InvalidRequestError

ERASED_PREFIX: Final = "erased:"
"""Prefix of the name of a source or organization under deletion, so that its name is free again."""
MAX_LABEL_CHARS: Final = 100
"""Maximum length of a name, characters; the path parameters of the API have the same limit."""
INVALID_NAME: Final = "invalid_name"
"""Reason of a name that is rejected at creation."""


def check_name(name: str, kind: str) -> None:
    """Reject names that are ambiguous or cannot be part of a URL path.

    Args:
        name: The name.
        kind: Kind of the named object for the message: `source` or `organization`.

    Raises:
        InvalidRequestError: The name breaks a rule of `check_label`, contains a slash, is `.` or
            `..`, has the form of an id, or begins with the prefix of erased names.
    """
    check_label(name, kind)
    if "/" in name or "\\" in name or name in (".", ".."):
        raise _invalid_name(f"the name of the {kind} must not contain a slash and not be . or ..")
    if name.casefold().startswith(ERASED_PREFIX):
        raise _invalid_name(
            f"the name of the {kind} must not begin with {ERASED_PREFIX!r}: the prefix is reserved"
        )
    if _is_id(name):
        raise _invalid_name(f"the name of the {kind} must not have the form of an id")


def check_label(name: str, kind: str) -> None:
    """Reject names that lists cannot show.

    Args:
        name: The name.
        kind: Kind of the named object for the message.

    Raises:
        InvalidRequestError: The name is empty or too long, begins or ends with a space, or contains
            a control character or another character without a printable form.
    """
    if not name.strip():
        raise _invalid_name(f"the {kind} needs a name")
    if len(name) > MAX_LABEL_CHARS:
        raise _invalid_name(
            f"the name of the {kind} has {len(name)} characters; at most {MAX_LABEL_CHARS}"
        )
    if not name.isprintable():
        raise _invalid_name(f"the name of the {kind} must not contain control characters")
    if name != name.strip():
        raise _invalid_name(f"the name of the {kind} must not begin or end with a space")


def _invalid_name(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, reason=INVALID_NAME)


def _is_id(name: str) -> bool:
    try:
        return str(UUID(name)) == name.lower()
    except ValueError:
        return False
