"""Images of a folder, decoded in the restricted child."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pinpoint.errors import BadRequestError
from pinpoint.ports import Decoder
from pinpoint.records import Pixels, Rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderImages:
    """The files of a folder that are images; they are decoded again at each pass."""

    files: tuple[Path, ...]
    rejected: Mapping[str, int]
    """Number of other files, by reason."""
    decoder: Decoder

    @classmethod
    def scan(cls, folder: Path, decoder: Decoder, max_images: int) -> FolderImages:
        """Decode the files of a folder and its subfolders, ordered by path, up to a number.

        Raises:
            BadRequestError: The folder does not exist or has no readable image.
        """
        if not folder.is_dir():
            raise BadRequestError(f"{folder} is not a folder")
        files: list[Path] = []
        rejected: Counter[str] = Counter()
        for path in sorted(folder.rglob("*")):
            if len(files) == max_images:
                break
            if not path.is_file():
                continue
            reading = decoder.read(path.name, str(path), query=True)
            if isinstance(reading, Rejected):
                rejected[reading.error_code] += 1
            else:
                files.append(path)
        if not files:
            reasons = ", ".join(f"{reason} {count}" for reason, count in rejected.items())
            raise BadRequestError(f"{folder} has no readable image: {reasons or 'it is empty'}")
        return cls(files=tuple(files), rejected=dict(rejected), decoder=decoder)

    def load(self) -> Iterator[Pixels]:
        """Pixels of each image, of the first face of a panorama.

        Raises:
            BadRequestError: A file changed since the scan.
        """
        for path in self.files:
            reading = self.decoder.read(path.name, str(path), query=True)
            if isinstance(reading, Rejected):
                raise BadRequestError(f"{path} can no longer be read: {reading.error_message}")
            yield reading.faces[0].pixels
