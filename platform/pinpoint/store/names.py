"""Which names people may give to sources and organizations."""

from __future__ import annotations

from typing import Final

from pinpoint.errors import BadRequest

ERASED_PREFIX: Final = "erased:"
"""How what is being erased is called, so that its own name is free again."""


def check_name(name: str, what: str) -> None:
    """Refuse names that cannot be told from something else, or not be put into a URL's path.

    Args:
        name: As it was given.
        what: Whose name it is, for the message: `source` or `organisation`.

    Raises:
        BadRequest: It is empty, holds a slash, or looks like something erased.
    """
    if not name.strip():
        raise BadRequest(f"the {what} needs a name")
    if "/" in name or "\\" in name or name.strip() in (".", ".."):
        raise BadRequest(f"the name of the {what} may hold no slash and not be . or ..")
    if name.casefold().startswith(ERASED_PREFIX):
        raise BadRequest(
            f"the name of the {what} may not begin with {ERASED_PREFIX!r}: what is being erased "
            "is called so"
        )
