"""docs/reference/manifests.md equals the code: names, units, markers and limits."""

from __future__ import annotations

import re
from pathlib import Path

from pinpoint.media import gpx, tracks
from pinpoint.media.manifests import manifest_times
from pinpoint.media.manifests.columns import COLUMN_NAMES, UNITS, find_column
from pinpoint.media.manifests.values import MISSING
from pinpoint.media.metadata import clocks

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "manifests.md"
TEXT = PAGE.read_text(encoding="utf-8")


def columns_table() -> str:
    """The table of columns as the code has it."""
    lines = ["| column | names that are read | units in the name |", "| --- | --- | --- |"]
    for column, names in COLUMN_NAMES.items():
        units = ", ".join(f"`{unit}`" for unit in sorted(UNITS.get(column, ())))
        named = ", ".join(f"`{name}`" for name in names)
        lines.append(f"| `{column}` | {named} | {units} |")
    return "\n".join(lines)


def test_manifest_page_column_table_equals_code() -> None:
    match = re.search(r"<!-- table: columns -->\n(.*?)\n<!-- end of table -->", TEXT, re.DOTALL)
    assert match is not None
    assert match[1] == columns_table()


def test_manifest_page_names_every_missing_value_marker() -> None:
    (listed,) = re.findall(
        r"These cells hold no value, in any case: empty, (.*?)\. A missing", TEXT, re.DOTALL
    )
    assert {word.casefold() for word in re.findall(r"`([^`]+)`", listed)} == MISSING - {""}


def test_manifest_page_limits_equal_code() -> None:
    for sentence in (
        f"at most **{tracks.MAX_GAP_S:.0f} s** apart",
        f"faster than **{tracks.MAX_SPEED_M_S:,.0f} m/s**",
        f"more than {tracks.MAX_SEGMENT_DISTANCE_M:.0f} m apart there",
        f"more than {gpx.MAX_SAME_TIME_M:.0f} m apart, that moment",
        f"{manifest_times.FIRST_EPOCH_S:,} to {manifest_times.LAST_EPOCH_S:,} are seconds",
        f"Years are {manifest_times.FIRST_MANIFEST_YEAR} to {manifest_times.LAST_YEAR}",
        f"up to {clocks.MAX_OFFSET.total_seconds() / 3600:.0f} hours",
        f"`time_zone: {clocks.ASSUMED_UTC}`",
    ):
        assert sentence in " ".join(TEXT.split()), sentence


def test_readme_links_manifest_page() -> None:
    assert "(docs/reference/manifests.md)" in (PAGE.parents[2] / "README.md").read_text(
        encoding="utf-8"
    )


def test_find_column_every_listed_name_gives_its_column() -> None:
    for column, names in COLUMN_NAMES.items():
        assert names[0] == column
        for name in names:
            camel = "".join(word.title() for word in name.split("_"))
            for text in (name, name.upper(), name.replace("_", " "), camel, f"EXIF:{camel}"):
                assert find_column(text) == column
