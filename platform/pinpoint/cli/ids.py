"""Ids on the command line: complete, or at least their first six hex digits, as in git."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from pinpoint.cli.api_client import ApiClient
from pinpoint.errors import BadRequestError, ForbiddenError, NotFoundError

MIN_PREFIX_DIGITS: Final = 6
_ID_DIGITS: Final = 32
_MAX_MATCHES_SHOWN: Final = 10
"""Matches listed for an ambiguous prefix."""
_HEX: Final = re.compile(r"[0-9a-fA-F-]+")


def find_image(client: ApiClient, text: str) -> str:
    """Complete the id of an image from its first digits; other text is returned unchanged.

    Raises:
        NotFoundError: No image of the caller's organization has such an id.
        BadRequestError: Several images have such an id, or the prefix is too short.
    """
    if not _is_prefix(text):
        return text
    images = client.images(id_prefix=text, limit=_MAX_MATCHES_SHOWN + 1)["images"]
    matches = [(image["id"], f"{image['file_name']}, {image['source']}") for image in images]
    return _single_match("image", text, matches)


def find_batch(client: ApiClient, text: str) -> str:
    """Complete the id of a batch, as `find_image` does for images."""
    if not _is_prefix(text):
        return text
    batches = client.batches(_MAX_MATCHES_SHOWN + 1, id_prefix=text)["batches"]
    return _single_match("batch", text, [(batch["id"], batch["source"]) for batch in batches])


def find_source(client: ApiClient, text: str) -> str:
    """Complete the id of a source from its first digits; a name is returned unchanged.

    Raises:
        BadRequestError: Several ids start with these digits.
    """
    if not _HEX.fullmatch(text) or not MIN_PREFIX_DIGITS <= len(_hex_digits(text)) < _ID_DIGITS:
        return text
    try:
        sources: list[dict[str, Any]] = client.sources()
    except ForbiddenError:
        return text  # the key has no scope for listing; accept only a name or a complete id
    if any(source["name"] == text for source in sources):
        return text
    digits = _hex_digits(text)
    matches = [
        (source["id"], source["name"])
        for source in sources
        if _hex_digits(source["id"]).startswith(digits)
    ]
    # Without a match the text may be a name; the API reports an unknown source.
    return _single_match("source", text, matches) if matches else text


def _is_prefix(text: str) -> bool:
    """Whether the text is the first digits of an id, but not a complete id.

    Raises:
        BadRequestError: The text has too few digits.
    """
    if not _HEX.fullmatch(text) or len(_hex_digits(text)) >= _ID_DIGITS:
        return False
    if len(_hex_digits(text)) < MIN_PREFIX_DIGITS:
        raise BadRequestError(
            f"{text!r} is too short for an id: give at least {MIN_PREFIX_DIGITS} hex digits"
        )
    return True


def _hex_digits(text: str) -> str:
    return text.replace("-", "").lower()


def _single_match(noun: str, text: str, matches: Sequence[tuple[str, str]]) -> str:
    """Return the only id that matches.

    Raises:
        NotFoundError: No id matches.
        BadRequestError: Several ids match.
    """
    if not matches:
        raise NotFoundError(f"no {noun} {text}")
    if len(matches) > 1:
        listed = "; ".join(
            f"{match_id} ({label})" for match_id, label in matches[:_MAX_MATCHES_SHOWN]
        )
        more = " and more" if len(matches) > _MAX_MATCHES_SHOWN else ""
        raise BadRequestError(
            f"{text} matches several ids: {listed}{more}; give more digits",
            reason="ambiguous_id",
        )
    return matches[0][0]
