"""Errors of texts that cannot be parsed as their type; the API answers them with 400."""

from __future__ import annotations

from pydantic_core import PydanticCustomError


def make_parsing_error(message: str) -> PydanticCustomError:
    """Make a `ValueError` whose type ends in `_parsing`, like those of pydantic's own types."""
    return PydanticCustomError("text_parsing", "{message}", {"message": message})
