"""Chooses the manifest of a folder if none is named."""

from __future__ import annotations

from pathlib import Path

from pinpoint.errors import BadRequestError
from pinpoint.media.manifests.manifest_files import find_manifests


def find_one_manifest(folder: Path) -> Path | None:
    """The manifest of a folder, or None.

    Raises:
        BadRequestError: The folder has several manifests, so the choice is ambiguous.
    """
    try:
        manifests = find_manifests(folder)
    except OSError as error:
        raise BadRequestError(
            f"cannot open {folder}: {error.strerror}", reason="no_files"
        ) from error
    if len(manifests) > 1:
        names = ", ".join(path.name for path in manifests[:12])
        raise BadRequestError(
            f"{folder} holds several manifests: {names}; choose one with --manifest, or read the "
            "files without any by --no-manifest"
        )
    return manifests[0] if manifests else None
