"""Files that `pinpoint locate` writes next to its answer: match picture and dossier."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pinpoint.atomic_files import write_atomic
from pinpoint.cli import output
from pinpoint.cli.api_client import ApiClient
from pinpoint.errors import BadRequestError, UnavailableError, describe_cause

LocateCall = Callable[..., dict[str, Any]]
"""`ApiClient.locate`, or `DossierWriter.locate`."""
DossierOption = Annotated[
    Path | None,
    typer.Option(
        "--dossier",
        metavar="FILE.zip",
        help="Write the dossier: the answer with PDF, evidence and checksums, which another person "
        "can check by `pinpoint verify-dossier`.",
    ),
]
IncludePhotoOption = Annotated[
    bool,
    typer.Option(
        "--include-photo", help="Put the photo itself and the match pictures into the dossier."
    ),
]
_NO_PARAMETERS: Final = ("geojson", "include")
"""Parameters of `locate` that a dossier does not have; it contains what they choose."""


class DossierWriter:
    """Locates photos as `ApiClient.locate` does, and writes the dossier of the answer.

    Args:
        client: The client.
        path: The ZIP file.
        include_photo: Whether it contains the photo.
    """

    def __init__(self, client: ApiClient, path: Path, *, include_photo: bool) -> None:
        self._client, self._path, self._include_photo = client, path, include_photo

    def locate(
        self, photos: Sequence[Path], *, geojson: bool = False, **parameters: Any
    ) -> dict[str, Any]:
        """Return the answer in the dossier, so that both are the same one.

        Raises:
            UnavailableError: The server did not send a dossier.
            BadRequestError: The file cannot be written.
        """
        query = {name: value for name, value in parameters.items() if name not in _NO_PARAMETERS}
        data = self._client.dossier(photos, include_photo=self._include_photo, **query)
        answer = _read_answer(data, geojson=geojson)
        _write_file(self._path, data)
        sha256 = hashlib.sha256(data).hexdigest()
        output.warn(f"pinpoint: dossier in {self._path}, SHA-256 {sha256}")
        return answer


def check_dossier_options(path: Path | None, include_photo: bool, *, num_queries: int) -> None:
    """Check the options of a dossier.

    Raises:
        BadRequestError: There are several queries, or the photo but no dossier.
    """
    if path is not None and num_queries > 1:
        raise BadRequestError("--dossier writes one dossier, so it needs one query")
    if include_photo and path is None:
        raise BadRequestError("--include-photo needs --dossier")


def write_match_picture(path: Path, png: bytes) -> None:
    """Write the match picture.

    Raises:
        BadRequestError: The file cannot be written.
    """
    _write_file(path, png)
    output.warn(f"pinpoint: match picture in {path}")


def _read_answer(data: bytes, *, geojson: bool) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            content = archive.read("answer.geojson" if geojson else "dossier.json")
        document: dict[str, Any] = json.loads(content)
        answer: dict[str, Any] = document if geojson else document["answer"]
    except (zipfile.BadZipFile, ValueError, KeyError) as error:
        raise UnavailableError(f"the server did not send a dossier: {error}") from error
    return answer


def _write_file(path: Path, data: bytes) -> None:
    try:
        write_atomic(path, data, durable=False)
    except OSError as error:
        raise BadRequestError(f"{path} cannot be written: {describe_cause(error)}") from error
