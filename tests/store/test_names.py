"""Ambiguous source names are rejected."""

from __future__ import annotations

import pytest

from pinpoint.errors import BadRequestError
from pinpoint.store.catalog.names import check_name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "  ",
        "a/b",
        "/",
        "a\\b",
        ".",
        "..",
        "erased:7fcfefbb-6cf6-48f0-8d5d-853426d0ee9f",
        "Erased:x",
    ],
)
def test_check_name_ambiguous_raises(name):
    with pytest.raises(BadRequestError, match="source"):
        check_name(name, "source")


@pytest.mark.parametrize("name", ["walk", "paris walk 2024", "été", "erased", "a:b", "..."])
def test_check_name_of_plain_words_passes(name):
    check_name(name, "source")
