"""The C2PA child: `python -m pinpoint.media.c2pa.child LIMITS`.

Reads C2PA manifests with the C2PA library (Rust) in the sandbox of the decoding child. It is not
the decoding child, because the library calls Python through `ctypes`: libffi keeps one page of
memory that is writable and executable, which the decoding child must not have. The page is made by
reading one image before the confinement; afterwards the sandbox denies new ones.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import c2pa
from PIL import Image

from pinpoint.media.c2pa.manifest_claim import ManifestClaim, encode_claim
from pinpoint.media.c2pa.manifest_store import MAX_STORE_CHARS, read_manifest_store
from pinpoint.media.decoding.child_start import confine_child, set_cpu_limit, write_ready
from pinpoint.media.decoding.pipe import Header, read_header, write_all
from pinpoint.media.metadata.raw_metadata import clean_metadata_text

MEDIA_TYPES: Final[Mapping[str, str]] = {
    kind: f"image/{kind}" for kind in ("avif", "heic", "jpeg", "png", "tiff", "webp")
}
READER_SETTINGS: Final[Mapping[str, Mapping[str, object]]] = {
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_trust": True},
    "core": {
        "allowed_network_hosts": [],
        "allow_redirects": False,
        "max_decompressed_manifest_size_in_mb": 16,
    },
}
"""Nothing is requested: no remote manifest, no certificate status. The sandbox has no sockets."""
_REMOTE: Final = "Remote"
"""Start of the library's error for a manifest that it was not allowed to fetch; it has no class."""


def main(argv: list[str]) -> int:
    """Serve files from stdin to stdout until the parent closes."""
    limits = json.loads(argv[1])
    readers: list[ManifestReader] = []
    stream_in, stream_out, measures = confine_child(
        limits, lambda: readers.append(load_reader(limits["c2pa_trust_list"]))
    )
    write_ready(stream_out, measures)
    while (header := read_header(stream_in)) is not None:
        size, kind, cpu_s = _read_request(header)
        data = stream_in.read(size)
        if len(data) < size:
            break
        set_cpu_limit(cpu_s)
        try:
            answer: Header = {"claim": encode_claim(readers[0].read(data, MEDIA_TYPES[kind]))}
        except MemoryError:
            answer = {"reason": "out_of_memory", "detail": "over the memory limit"}
        write_all(stream_out, answer, ())
        del data
    return 0


class ManifestReader:
    """Reads manifests with the settings of this installation.

    Args:
        trust_list: Certificates of the trust list, PEM; None without one.
    """

    def __init__(self, trust_list: str | None) -> None:
        self._has_trust_list = trust_list is not None
        settings: dict[str, Any] = dict(READER_SETTINGS)
        if trust_list is not None:
            settings["trust"] = {"user_anchors": trust_list}
        self._context = c2pa.Context.from_dict(settings)

    def read(self, data: bytes, media_type: str) -> ManifestClaim:
        """The claim of an image; a damaged manifest is `invalid`, with the library's reason."""
        try:
            with c2pa.Reader(media_type, BytesIO(data), context=self._context) as reader:
                text = reader.json()
            if len(text) > MAX_STORE_CHARS:
                return _refuse(f"the manifest has {len(text)} characters as JSON")
            return read_manifest_store(text, has_trust_list=self._has_trust_list)
        except c2pa.C2paError.ManifestNotFound:
            return ManifestClaim(state="absent")
        except (c2pa.C2paError, ValueError) as error:
            if str(error).startswith(_REMOTE):
                return ManifestClaim(
                    state="remote", state_reason="the manifest is at a URL, which is not requested"
                )
            return _refuse(str(error))


def load_reader(trust_list: str | None) -> ManifestReader:
    """Load what reading needs from files, and read one image without a manifest."""
    for name in ("ascii", "latin_1", "utf_8"):
        importlib.import_module(f"encodings.{name}")
    importlib.import_module("_strptime")
    pem = None if trust_list is None else Path(trust_list).read_text(encoding="ascii")
    reader = ManifestReader(pem)
    blank = BytesIO()
    Image.new("L", (8, 8)).save(blank, "JPEG")
    reader.read(blank.getvalue(), MEDIA_TYPES["jpeg"])
    return reader


def _read_request(header: Header) -> tuple[int, str, float]:
    """Size, format and CPU seconds of the next file; the parent is trusted."""
    return int(str(header["size"])), str(header["format"]), float(str(header["cpu_s"]))


def _refuse(reason: str) -> ManifestClaim:
    return ManifestClaim(state="invalid", state_reason=clean_metadata_text(reason))


if __name__ == "__main__":
    sys.exit(main(sys.argv))
