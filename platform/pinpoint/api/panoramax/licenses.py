"""Licenses as STAC states them: an SPDX identifier or `other`, and a link to the text."""

from __future__ import annotations

import re
from typing import Any, Final

from pinpoint.api.panoramax.links import make_link

OTHER: Final = "other"
"""Identifier in STAC of a license without an SPDX identifier, and of no stated license."""

_CREATIVE_COMMONS: Final = re.compile(
    r"cc[- ](by(?:-(?:nc|nd|sa|nc-nd|nc-sa))?)[- ](\d\.\d)", re.IGNORECASE
)
_SPDX_BY_NAME: Final = {
    "cc0": "CC0-1.0",
    "cc0 1.0": "CC0-1.0",
    "cc0-1.0": "CC0-1.0",
    "etalab-2.0": "etalab-2.0",
    "odbl": "ODbL-1.0",
    "odbl-1.0": "ODbL-1.0",
}
_URLS: Final = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "etalab-2.0": "https://spdx.org/licenses/etalab-2.0.html",
    "ODbL-1.0": "https://opendatacommons.org/licenses/odbl/1-0/",
}
_WEB_URL: Final = re.compile(r"https?://[^\s\"'<>]+")


def find_spdx_id(license: str | None) -> str:
    """SPDX identifier of a license; `other` if it has none that is known here."""
    text = (license or "").strip()
    match = _CREATIVE_COMMONS.fullmatch(text)
    if match is not None:
        return f"CC-{match[1].upper()}-{match[2]}"
    return _SPDX_BY_NAME.get(text.lower(), OTHER)


def list_license_links(license: str | None) -> list[dict[str, Any]]:
    """Link to the text of a license, if its address is known or is the license itself."""
    spdx_id = find_spdx_id(license)
    text = (license or "").strip()
    if spdx_id.startswith("CC-BY"):
        name, _, version = spdx_id.removeprefix("CC-").lower().rpartition("-")
        url = f"https://creativecommons.org/licenses/{name}/{version}/"
    elif spdx_id in _URLS:
        url = _URLS[spdx_id]
    elif _WEB_URL.fullmatch(text):
        url = text
    else:
        return []
    return [make_link("license", url, "text/html", title=text)]
