"""The ZIP file of a dossier: the same files give the same bytes."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from io import BytesIO
from typing import Final

DOCUMENT_NAME: Final = "dossier.json"
ANSWER_NAME: Final = "answer.geojson"
PDF_NAME: Final = "dossier.pdf"
CHECKSUMS_NAME: Final = "SHA256SUMS"

_EARLIEST_TIME: Final = (1980, 1, 1, 0, 0, 0)
"""Time of all files: the earliest one that ZIP can express."""
_COMPRESSED_SUFFIXES: Final = (".json", ".geojson")
_FILE_MODE: Final = 0o100644
_UNIX: Final = 3


def write_archive(files: Mapping[str, bytes]) -> bytes:
    """Write files and their checksums to a ZIP file.

    Args:
        files: Content by path in the dossier.
    """
    checksums = format_checksums({name: compute_sha256(data) for name, data in files.items()})
    entries = {**files, CHECKSUMS_NAME: checksums.encode()}
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, _EARLIEST_TIME)
            info.create_system, info.external_attr = _UNIX, _FILE_MODE << 16
            # Images and the PDF are compressed already.
            is_text = name.endswith(_COMPRESSED_SUFFIXES)
            info.compress_type = zipfile.ZIP_DEFLATED if is_text else zipfile.ZIP_STORED
            archive.writestr(info, entries[name])
    return out.getvalue()


def compute_sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def format_checksums(checksums: Mapping[str, str]) -> str:
    """Format checksums by path as `sha256sum` does; `sha256sum -c` reads them."""
    return "".join(f"{checksums[name]}  {name}\n" for name in sorted(checksums))
